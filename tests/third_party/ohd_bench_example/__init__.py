"""What a package of its own gives to ohd-bench."""
