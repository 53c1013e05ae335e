"""Asking: every question of a task put to a model once, and each answer kept."""
