"""How the shipped micro weights are made; nothing here is needed to use them."""
