"""MMHal-Bench: open questions whose answers a judge rates; asked and kept here, rated elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.images import find
from harness.metrics import Metric, divide
from harness.registry import task
from harness.rows import Row, rows
from harness.types import Answer, Counts, Sample, Task


@task("mmhal")
class MmHal(Task):
    """96 open questions in eight kinds (arXiv 2309.14525), for an external judge: nothing is scored here but length.

    ``export --to judge`` writes the answers as the authors' script reads them (llava-rlhf/LLaVA-RLHF @ 830a083,
    Eval/eval_gpt_mmhal.py): their rows in their order, each with its ``model_answer``. ``tokens`` is the most new
    tokens of an answer.
    """

    mode, headline = "generate", "words"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "words": Metric(lambda totals: divide(totals["words"], totals["n"]), better="neither", scale=1.0)
    }

    def __init__(self, data: Path, tokens: str = "512") -> None:
        super().__init__(data)
        if not tokens.isascii() or not tokens.isdecimal() or not 0 < int(tokens) < 100_000:
            raise UsageError(f"mmhal?tokens={tokens}: a number of tokens, 1 or more")
        self._tokens = int(tokens)

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        return {str(n): row for n, row in enumerate(rows(self.data / "mmhal" / "response_template.json"))}

    def samples(self) -> Iterator[Sample]:
        """Every question, in the authors' order: their script tells kinds by it."""
        root = self.data / "mmhal"
        for id, row in self._rows.items():
            name = PurePosixPath(urlsplit(row.text("image_src")).path).name
            image = find(name, root / "images", root)
            group = row.text("question_type")
            yield Sample(
                id, image, row.text("gt_answer"), prompt=row.text("question"), group=group, tokens=self._tokens
            )

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """How many words the answer has."""
        return {"n": 1.0, "words": float(len((answer.text or "").split()))}

    def to_judge(self, sample: Sample, answer: str) -> Mapping[str, Any]:
        """The authors' row of this question with the model's answer."""
        return {**self._rows[sample.id].fields, "model_answer": answer}
