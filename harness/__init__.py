"""The harness: asks a model every question of a task, keeps each answer, measures and compares."""
