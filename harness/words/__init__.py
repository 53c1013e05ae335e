"""Words: parts of speech and likeness, as the official scorers see them."""
