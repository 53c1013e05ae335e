"""Begin something new: one file that works and one that tests it, to be filled in."""
