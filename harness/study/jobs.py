"""The work of a study as a plain list of jobs in order, each with an address: what is done once is never done again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness import digest, registry
from harness.data import Data
from harness.store import write_json
from harness.study.identity import identity, rows_digest
from harness.study.schema import BASE, Alignment, Arm, Study, assigned
from harness.sweep import with_settings
from harness.types import OF_ENCODERS, Mode, Recipe


@dataclass(frozen=True)
class Cell:
    """What a run is a run of: an arm at a share of the data, behind an alignment (none for the encoder alone)."""

    arm: str
    fraction: float = 1.0
    rung: str = ""
    control: str = "none"

    def __str__(self) -> str:
        share = "" if self.fraction == 1 else f" {100 * self.fraction:g} %"
        control = "" if self.control == "none" else f" ({self.control})"
        return f"{self.arm}{share}" + (f" · {self.rung}" if self.rung else "") + control


@dataclass(frozen=True)
class Place:
    """Where a study keeps what it makes: trainings, alignments and answers under addresses, shared by all studies."""

    root: Path

    def trained(self, address: str) -> Path:
        """The folder of a trained encoder."""
        return self.root / "trainings" / address

    def aligned(self, address: str) -> Path:
        """The folder of an aligned LVLM."""
        return self.root / "alignments" / address

    @property
    def results(self) -> Path:
        """Where answers are kept, as ``ohd-bench run`` keeps them."""
        return self.root / "results"

    def asked(self, address: str) -> Path:
        """The note that says which run holds the answers of this job."""
        return self.root / "asked" / f"{address}.json"


@dataclass(frozen=True)
class Sort:
    """Jobs that cost alike: they differ in their seed, or in which tower of one shape they are about."""

    says: str
    digest: str


@dataclass(frozen=True)
class Train:
    """Train an encoder by a recipe."""

    says: str
    address: Path
    sort: Sort
    recipe: Recipe

    @property
    def done(self) -> bool:
        """Whether its folder holds an encoder that was trained to its end."""
        return "measured" in _json(self.address / "recipe.json")

    @property
    def spec(self) -> str:
        """The encoder."""
        return f"clip:{self.address}"


@dataclass(frozen=True)
class Align:
    """Grow a tower into the LVLM by training."""

    says: str
    address: Path
    sort: Sort
    encoder: str
    lvlm: str
    how: Alignment
    seed: int

    @property
    def done(self) -> bool:
        """Whether its folder holds an LVLM that was aligned to the end."""
        return bool(_json(self.address / "align.json"))

    @property
    def spec(self) -> str:
        """The LVLM; known when it is done."""
        return str(_json(self.address / "align.json").get("spec", self.lvlm))


@dataclass(frozen=True)
class Ask:
    """Ask an encoder, or the LVLM that carries its tower, every question of the tasks."""

    says: str
    address: Path
    sort: Sort
    cell: Cell
    seed: int
    encoder: str
    lvlm: str
    after: Align | None
    limit: int

    @property
    def run(self) -> str:
        """The id of the run that holds its answers; empty where there is none yet."""
        return str(_json(self.address).get("run", ""))

    @property
    def done(self) -> bool:
        """Whether every question has an answer."""
        return bool(self.run)

    def keep(self, run: str) -> None:
        """Notes which run holds the answers, once all are there."""
        write_json(self.address, {"run": run, "job": self.says})


Job = Train | Align | Ask


def _json(path: Path) -> dict[str, Any]:
    """The object of a file, empty where there is none or it is half written."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


@dataclass(frozen=True)
class Planner:
    """Makes the list of jobs of a study over this data."""

    study: Study
    data: Data
    place: Place
    seeds: tuple[int, ...]
    modes: frozenset[Mode] = frozenset({"rank", "generate"})
    """How the tasks of the study ask."""
    quick: bool = False

    def jobs(self) -> list[Job]:
        """Every job, in an order in which each comes after those it needs; seed after seed, so that pages grow."""
        return [job for n, seed in enumerate(self.seeds) for job in self._of_seed(seed, n == 0)]

    def _of_seed(self, seed: int, first: bool) -> Iterator[Job]:
        alone = any(answers(mode, "") for mode in self.modes)
        if first and alone:
            yield self._ask(Cell(BASE), seed, self.study.base)
        yield from self._grown(BASE, Cell(BASE), self.study.base, seed, first)
        for name, arm in self.study.arms.items():
            for fraction in arm.fractions:
                cell = Cell(name, fraction)
                made = self._train(cell, arm, seed)
                yield made
                if alone:
                    yield self._ask(cell, seed, made.spec)
                if arm.lvlm and fraction == max(arm.fractions):
                    yield from self._grown(name, cell, made.spec, seed, True)

    def _train(self, cell: Cell, arm: Arm, seed: int) -> Train:
        words = assigned({**arm.set, **(self.study.quick.set if self.quick else {})})
        words |= {"fraction": str(cell.fraction), "seed": str(seed)}
        recipe = with_settings(registry.find(registry.recipes, arm.recipe, "recipe")(), words)
        fields = dataclasses.asdict(recipe)  # type: ignore[call-overload]
        made = {"recipe": fields, "base": identity(str(fields.get("base", ""))), "data": rows_digest(self.data)}
        address = f"{arm.recipe}-{digest.of_json(json.loads(json.dumps(made)))[:10]}"
        sort = _sort(f"train {cell}", made | {"recipe": fields | {"seed": None}})
        return Train(f"train {cell}, seed {seed}", self.place.trained(address), sort, recipe)

    def _grown(self, name: str, cell: Cell, encoder: str, seed: int, given: bool) -> Iterator[Job]:
        """The tower on every rung; a given tower is the same with every seed where nothing is trained."""
        spoken = any(answers(mode, self.study.lvlm) for mode in self.modes)
        if not spoken or not any(arm.lvlm for arm in self.study.arms.values()):
            return
        for rung, how in self.study.alignments.items():
            if not how.trained and not given:
                continue
            at = dataclasses.replace(cell, rung=rung)
            align = self._align(at, how, encoder, seed) if how.trained else None
            if align:
                yield align
            lvlm = align.lvlm if align else self._behind(how)
            yield self._ask(at, seed, encoder, lvlm, align)
            if given and seed == self.seeds[0]:
                for control in self.study.controls:
                    yield self._ask(dataclasses.replace(at, control=control), seed, encoder, lvlm, align)

    def _behind(self, how: Alignment) -> str:
        """The LVLM's spec with a rung that needs no training."""
        if how.how == "none":
            return self.study.lvlm
        keys = urlencode({"align": how.how, "images": str(self.data.root / how.images)}, safe="/:~")
        return self.study.lvlm + ("&" if "?" in self.study.lvlm else "?") + keys

    def _align(self, cell: Cell, how: Alignment, encoder: str, seed: int) -> Align:
        words = {**how.set, **(self.study.quick.align if self.quick else {})}
        how = dataclasses.replace(how, set=words, data=self._rows(how))
        made = {
            "stages": how.how,
            "set": assigned(how.set),
            "rows": [Path(one).name for one in how.data.split(",")],
            "data": [self.data.name, self.data.place()],
            "seed": seed,
            "encoder": identity(encoder),
            "lvlm": identity(self.study.lvlm),
        }
        address = f"{how.how.replace(',', '+')}-{digest.of_json(made)[:10]}"
        sort = _sort(f"align {cell.rung}", made | {"seed": None, "encoder": identity(self.study.base)})
        told = f"align {cell}, seed {seed}"
        return Align(told, self.place.aligned(address), sort, encoder, self.study.lvlm, how, seed)

    def _rows(self, how: Alignment) -> str:
        """The data of each stage, below the data folder."""
        return ",".join(one if one == "micro" else str(self.data.root / one) for one in how.data.split(","))

    def _ask(self, cell: Cell, seed: int, encoder: str, lvlm: str = "", after: Align | None = None) -> Ask:
        limit = self.study.quick.limit if self.quick else 0
        made = {
            "encoder": identity(encoder),
            "lvlm": identity(lvlm) if lvlm else "",
            "aligned": after.address.name if after else "",
            "tasks": list(self.study.tasks),
            "data": [self.data.name, self.data.place()],
            "control": cell.control,
            "limit": limit,
        }
        if not lvlm and "retrieve" in self.modes:
            made["galleries"] = True  # what was noted before encoders were asked for these is not all
        note = self.place.asked(digest.of_json(made)[:16])
        control = "" if cell.control == "none" else f" ({cell.control})"
        laid = f", {cell.rung}" if lvlm != self.study.lvlm else ""
        who = f"the LVLM{laid}" if lvlm else "an encoder"
        # Once it is aligned an LVLM costs what it cost before, and a trained tower what its base costs.
        sort = _sort(f"ask {who}{control}", made | {"encoder": identity(self.study.base), "aligned": ""})
        return Ask(f"ask {cell}, seed {seed}", note, sort, cell, seed, encoder, lvlm, after, limit)


def _sort(says: str, made: dict[str, Any]) -> Sort:
    return Sort(says, digest.of_json(json.loads(json.dumps(made)))[:16])


def answers(mode: Mode, lvlm: str) -> bool:
    """Whether a study puts a task of this mode to the LVLM of this spec; with none, to the encoder alone."""
    return (mode not in OF_ENCODERS) == bool(lvlm)


def once(jobs: Sequence[Job]) -> list[Job]:
    """Each job once; one that several arms share says so."""
    shared: dict[Path, list[Job]] = {}
    for job in jobs:
        shared.setdefault(job.address, []).append(job)
    return [
        dataclasses.replace(
            same[0],
            says=_all_of(job.says for job in same),
            sort=dataclasses.replace(same[0].sort, says=_all_of(job.sort.says for job in same)),
        )
        for same in shared.values()
    ]


def _all_of(names: Iterable[str]) -> str:
    return " = ".join(dict.fromkeys(names))


def left(jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are still to be done, each once."""
    return [job for job in once(jobs) if not job.done]


def counted(jobs: list[Job]) -> Mapping[str, int]:
    """How many jobs there are of each kind."""
    kinds = [type(job).__name__.lower() for job in jobs]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
