"""What one can ask of a run, and every default of it: the command and ``ohd_bench.run`` read both here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness import kinds
from harness.asking.shards import Shard
from harness.errors import UsageError
from harness.types import Place

ALIGNMENTS = ("none", "stats", "ridge", "projector", "lora")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Which models are asked which tasks over which data, and how. ``ohd-bench run --help`` has a word on each.

    Models and tasks are specs, ``NAME[:LOCATION][?key=value]``; the first encoder is the base of the comparison.
    ``limit`` is in images a task (0: all), ``verify`` a share from 0 to 1, ``batch_size`` in images (0: what fits),
    ``shard`` a share of the batches, I/N from 1/N to N/N, that is kept apart until a command without it reads it back.
    ``workers`` is how many processes ask, each with its own copy of the models: None is this one, or, with ``ray`` (the
    address of a cluster, or ``auto``), one for each GPU of the cluster and where it has none for each machine.
    ``available`` asks about the images that are there, and marks the run as that part of its tasks.
    """

    encoders: tuple[str, ...] = ()
    lvlm: str = ""
    tasks: tuple[str, ...] = ()
    data: str = "micro"
    results: Path = Path("results")
    align: str = ""
    control: str = "none"
    limit: int = 0
    seed: int = 0
    batch_size: int = 0
    dtype: str = "auto"
    device: str = "auto"
    workers: int | None = None
    ray: str = ""
    shard: str = ""
    verify: float = 0.0
    include: tuple[Path, ...] = ()
    allow_outside: bool = False
    available: bool = False

    def __post_init__(self) -> None:
        kinds.require(self)
        least = {"limit": 0, "batch_size": 0, "workers": 1, "verify": 0}
        for name, lowest in least.items():
            if (told := getattr(self, name)) is not None and not told >= lowest:
                raise UsageError(f"{name} is {told}; it starts at {lowest}")
        if self.shard:
            Shard.parse(self.shard)
        if self.shard and self.verify:
            raise UsageError("verify asks answers of the whole run again: give it to the command that reads the shards")
        if self.verify > 1:
            raise UsageError(f"verify is {self.verify}; it is a share, from 0 to 1")

    @classmethod
    def of(cls, **told: Any) -> RunOptions:
        """These options, one text or path standing for a list of one, and None for the default.

        UsageError names an option there is not, and one that is told what it cannot be.
        """
        known = [field.name for field in fields(cls)]
        for name in told:
            if name not in known:
                raise UsageError(f"run has no option '{name}'; it has {', '.join(known)}")
        told = {name: value for name, value in told.items() if value is not None}
        for name in told.keys() & {"encoders", "tasks", "include"}:
            told[name] = kinds.several(name, told[name])
        if "include" in told:
            told["include"] = tuple(kinds.path("include", folder) for folder in told["include"])
        if "results" in told:
            told["results"] = kinds.path("results", told["results"])
        if isinstance(told.get("data"), Path):
            told["data"] = str(told["data"])
        return cls(**told)

    @property
    def place(self) -> Place:
        """Where the models compute."""
        return Place(self.device, self.dtype, self.batch_size)

    @property
    def spread(self) -> bool:
        """Whether other processes than this one ask."""
        return bool(self.ray) or (self.workers or 1) > 1

    @property
    def host(self) -> str:
        """The LVLM's spec with ``align`` as its keys: ``stats:IMAGES``, ``projector:DIR`` and their like."""
        if not self.align:
            return self.lvlm
        how, _, where = self.align.partition(":")
        if not self.lvlm or how not in ALIGNMENTS or bool(where) != (how != "none"):
            choices = ", ".join(f"{name}:DIR" for name in ALIGNMENTS[1:])
            raise UsageError(f"--align {self.align}: with an --lvlm, one of none, {choices}")
        keys = {"align": how, "images": where} if how in ("stats", "ridge") else {"align": self.align}
        return self.lvlm + ("&" if "?" in self.lvlm else "?") + urlencode(keys, safe="/:~")
