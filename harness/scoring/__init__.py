"""Scoring: answers that any tool has written, counted by the task's own rules, without a model."""
