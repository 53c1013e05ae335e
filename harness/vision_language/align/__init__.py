"""Grow an eye in: a projector and an adapter trained behind any tower, as LLaVA-1.5 was, or found in closed form."""
