"""Data sets by name: their files put in place from a server or a folder, and checked."""
