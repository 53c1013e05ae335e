"""One HTML page of a comparison that opens from disk, shows its pictures and asks the network for nothing."""
