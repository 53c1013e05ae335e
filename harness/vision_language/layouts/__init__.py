"""Layouts in which an LVLM lies on disk: read, laid over one another, and written."""
