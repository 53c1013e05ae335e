"""The large models that carry a tower: loading, swapping, asking. Everything here may import torch."""
