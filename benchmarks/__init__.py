"""How much faster the product's ways are than the reference ways, each measured beside the other in one run."""
