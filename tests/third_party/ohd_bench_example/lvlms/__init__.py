"""Its lvlms: every module directly in here is found."""
