"""Counting: how many dots are there?"""

from ohd_bench import Answer, Sample, Task, ratio, rows, task


@task("dots")
class Dots(Task):
    """The share of pictures whose dots are counted right."""

    mode, headline = "generate", "accuracy"
    metrics = {"accuracy": ratio("right", "n")}  # noqa: RUF012

    def samples(self):
        """A question for each line of DATA/dots/questions.jsonl."""
        for n, row in enumerate(rows.rows(self.data / "dots" / "questions.jsonl")):
            image = self.data / "dots" / row["image"]
            yield Sample(f"dots-{n}", image, str(row["count"]), prompt="How many dots are there?", group=row["size"])

    def count(self, sample, answer):
        """What one answer adds to the totals."""
        return {"n": 1, "right": float(sample.target in (answer.text or "").split())}

    def floors(self):
        """What an answer that never looks scores."""
        return {"always 3": Answer("3")}
