"""Its tasks: every module directly in here is found."""
