"""Zero-shot classifiers: a row for each class, the mean over its captions, kept by digest between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import digest, sealed
from harness.data import cache_dir

if TYPE_CHECKING:
    from torch import Tensor

    from harness.types import Encoder

CAPTIONS_AT_ONCE = 2048


class Classifiers:
    """One encoder's classifiers; each is made once, and read from the cache folder by every later run."""

    def __init__(self, encoder: Encoder, folder: Path | None = None) -> None:
        self.encoder, self.folder = encoder, folder or cache_dir() / "classifiers"
        self._made: dict[tuple[tuple[str, ...], tuple[str, ...]], Tensor] = {}

    def of(self, classes: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
        """Unit rows [C, D]: for each class the mean of its captions' unit rows (OpenAI's CLIP, prompt ensembles)."""
        import torch

        key = (classes, templates)
        if key not in self._made:
            told = [self.encoder.digest(), dict(self.encoder.describe()), classes, templates]
            path = self.folder / f"{digest.of_json(told)[:32]}.npy"
            rows = sealed.recall_array(path)
            if rows is None:
                rows = self._encoded(classes, templates).numpy()
                sealed.keep_array(path, rows)
            self._made[key] = torch.from_numpy(rows)
        return self._made[key]

    def _encoded(self, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
        import torch

        rows, step = [], max(1, CAPTIONS_AT_ONCE // len(templates))
        for n in range(0, len(classes), step):
            some = classes[n : n + step]
            captions = [template.replace("{}", name) for name in some for template in templates]
            row_CTD = self.encoder.encode_texts(captions).float().cpu().reshape(len(some), len(templates), -1)
            rows.append(torch.nn.functional.normalize(row_CTD.mean(1), dim=-1))
        return torch.cat(rows)
