"""``colours``: pictures by their mean colour, texts by the colours they name."""

from ohd_bench import ModelError, encoder

NAMES = ("red", "green", "blue")


@encoder("colours")
def colours(spec, place):
    """Mean colours, and the colours a text names."""
    return Colours(spec.text)


class Colours:
    """Unit rows in the space of red, green and blue."""

    def __init__(self, spec):
        self.spec = spec

    def encode_images(self, images):
        """Mean colours [N, 3]."""
        return _unit([image.convert("RGB").resize((1, 1)).getpixel((0, 0)) for image in images])

    def encode_texts(self, texts):
        """Which colours are named [N, 3]."""
        return _unit([[text.lower().count(name) for name in NAMES] for text in texts])

    def tower(self):
        """It has none."""
        raise ModelError("colours has no vision tower for an LVLM to carry")

    def digest(self):
        """Its rule, by name."""
        return "colours-1"

    def describe(self):
        """Its width."""
        return {"width": 3}


def _unit(rows):
    import torch

    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32).reshape(-1, 3) + 1e-3, dim=-1)
