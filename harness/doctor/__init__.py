"""Doctor: what of this machine and installation matters to a run, looked at piece by piece, and what is to do."""
