"""``counter``: counts the bright columns of a picture."""

from ohd_bench import Answer, lvlm


@lvlm("counter")
def counter(spec, place):
    """Says how many bright columns there are."""
    return lambda encoder: Counter(spec.text)


class Counter:
    """A model that looks."""

    def __init__(self, spec):
        self.spec = spec

    def answers(self, asked):
        """A number for every question."""
        for one in asked:
            row = one.image.convert("L").crop((0, 0, one.image.width, 1))
            bright = sum(row.getpixel((x, 0)) > 127 for x in range(row.width))
            for sample in one.samples:
                yield sample, Answer(str(bright))

    def render(self, prompt):
        """The prompt as it is."""
        return prompt

    def digests(self):
        """Its rule, by name."""
        return {"language_model": "counter-1"}

    def describe(self):
        """Nothing else decides its answers."""
        return {}
