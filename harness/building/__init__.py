"""Building OHD-Caps rows for any pictures: objects found, absent ones sampled, captions written, checked, de-leaked."""
