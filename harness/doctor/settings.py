"""The environment variables that change what a command does, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.doctor.looked import Looked

BEGIN = "OHD_BENCH_"
SWITCHES = (BEGIN, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class Settings:
    """By variable, why no command can read what it holds; and of those that none reads, that it is so."""

    wrong: Mapping[str, str]
    unread: Mapping[str, str]

    def looked(self) -> Iterator[Looked]:
        """Each variable that is set; no secret among them is shown."""
        for name in sorted(os.environ):
            if name.startswith(SWITCHES):
                told = "(set)" if any(word in name for word in SECRET) else os.environ[name]
                advice = f"set it anew or unset it: {self.wrong[name]}" if name in self.wrong else ""
                yield Looked(name, told, advice or self.unread.get(name, ""), name in self.wrong)
