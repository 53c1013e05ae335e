"""Its encoders: every module directly in here is found."""
