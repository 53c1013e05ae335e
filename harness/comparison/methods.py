"""Is one way of training better than another? Intervals over trainings and images, both random and crossed.

Obuchowski and Rockette's analysis of several readers of the same cases (1995), readers being trainings and cases being
images, with the degrees of freedom of Hillis (2007) and a floor: trainings cannot differ less than the noise of their
answers makes them. K trainings of an arm, N images; s a training, i an image.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from harness.errors import UsageError
from harness.stats import LEVEL

Totals = Mapping[str, Any]
Metric = Callable[[Totals], Any]
Seeds = Literal["paired", "independent", "borrowed"]
Table = NDArray[np.float64]

POWER = 0.8
FOR_PAIRS = 4
"""From so many trainings on, pairing by seed is worth the degrees of freedom it costs."""
_ROUNDING = 1e-11
"""Below this share of the values, a spread is what sums in another order make."""


@dataclass(frozen=True, slots=True)
class Source:
    """A set of trainings that the result is random by: how many, how they spread, how noisy their answers are."""

    trainings: int
    images: int
    observed: float
    """S²: variance of the metric over trainings."""
    noise: float
    """E: training × image variance of the influences; E/N is what it adds to S²."""
    borrowed: bool = False
    """Whether a single training of the other arm is taken to spread alike."""

    @property
    def between(self) -> float:
        """The variance of trainings themselves, the noise of their answers taken off."""
        return max(self.observed - self.noise / self.images, 0.0)

    def shared(self, variance: float, trainings: int = 0) -> float:
        """What a variance of one training comes to in the mean of them."""
        return variance * (1 / (trainings or self.trainings) + self.borrowed)

    @property
    def seen(self) -> float:
        """A: what the trainings show."""
        return self.shared(self.observed)

    @property
    def answers(self) -> float:
        """I: what noise of the answers alone would make them show."""
        return self.shared(self.noise / self.images)


@dataclass(frozen=True)
class Figures:
    """What the data say of a mean or a difference, in the metric's unit; also read by name, ``figures["se"]``.

    ``var_seeds`` + ``var_images`` = ``se``²; ``seeds_observed``, ``seeds_noise`` and ``var_training`` say what
    ``var_seeds`` is made of; ``var_images_alone`` and ``half_images_alone`` are for these very trainings. Half widths:
    ``half_one_more_seed`` with one more training an arm, ``half_1000_more_images``. ``detectable`` is the smallest
    true difference found in four of five cases. ``seeds`` are the values by training (paired: the differences). Where
    the metric has no value without some image, that image's place is ``undefined`` and there is no interval.
    """

    value: float
    se: float = np.nan
    df: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    var_seeds: float = np.nan
    var_images: float = np.nan
    seeds_observed: float = np.nan
    seeds_noise: float = np.nan
    var_training: float = np.nan
    var_images_alone: float = np.nan
    half_images_alone: float = np.nan
    detectable: float = np.nan
    half_one_more_seed: float = np.nan
    half_1000_more_images: float = np.nan
    seeds: tuple[float, ...] = ()
    images: int = 0
    undefined: int | None = None
    sources: tuple[Source, ...] = ()
    base: Figures | None = field(default=None, repr=False)
    candidate: Figures | None = field(default=None, repr=False)

    def __getitem__(self, name: str) -> Any:
        """The figure of this name; KeyError where there is none."""
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The names of the figures."""
        return [one.name for one in fields(self)]

    def half(self, more_trainings: int = 0, more_images: int = 0) -> float:
        """Half the width of the interval that this many more trainings an arm and images would be expected to give."""
        images = self.images + more_images
        parts = [
            (one.shared(one.between + one.noise / images, one.trainings + more_trainings), one.trainings - 1)
            for one in self.sources
        ]
        freedom = [(part, df + more_trainings) for part, df in parts]
        return _half(freedom, self.var_images * self.images / images, images)


def difference(
    base: Mapping[str, ArrayLike],
    candidate: Mapping[str, ArrayLike],
    metric: Metric,
    base_units: Sequence[Hashable],
    candidate_units: Sequence[Hashable],
    seeds: Seeds = "independent",
) -> Figures:
    """Candidate minus base over trainings nobody has made yet, on images nobody has taken yet.

    ``base`` and ``candidate`` are totals as arrays [runs, images] over the same images, ``metric`` a function of
    totals. Units name the training behind each run; runs of one training are averaged first. ``paired``: a unit of
    both arms shares data order and initialisation. An arm of one training is taken as given and adds no uncertainty of
    training, unless that of the other arm is ``borrowed``. UsageError where the arms do not fit together.
    """
    if seeds not in ("paired", "independent", "borrowed"):
        raise UsageError(f"seeds are 'paired', 'independent' or 'borrowed', not '{seeds}'")
    arms = [_arm(base, metric, base_units), _arm(candidate, metric, candidate_units)]
    if arms[0].images != arms[1].images:
        raise UsageError(f"the arms have {arms[0].images} and {arms[1].images} images; compare on the same ones")
    first, second = arms
    sets = [one for one in arms if one.trainings > 1]
    if seeds == "borrowed":
        sets = [_lender(arms)]
    elif seeds == "paired":
        sets = [one for one in [second.minus(first)] if one.trainings > 1]
    sources = tuple(one.source(borrowed=seeds == "borrowed") for one in sets)
    by_pair = sets[0].values if seeds == "paired" and sets else ()
    gap = Arm((), second.mean() - first.mean(), np.array([second.value - first.value]), first.images)
    found = _figures(gap, sources, _undefined(arms))
    alone = [_figures(one, (one.source(),) if one.trainings > 1 else (), _undefined([one])) for one in arms]
    shown = [replace(figures, seeds=tuple(map(float, one.values))) for figures, one in zip(alone, arms, strict=True)]
    return replace(found, seeds=tuple(map(float, by_pair)), base=shown[0], candidate=shown[1])


def mean(totals: Mapping[str, ArrayLike], metric: Metric, units: Sequence[Hashable]) -> Figures:
    """One arm's mean over its trainings, with the uncertainty of trainings and images; totals as arrays [runs, images].

    One training is taken as given: its interval is that of the images.
    """
    arm = _arm(totals, metric, units)
    sources = (arm.source(),) if arm.trainings > 1 else ()
    return replace(_figures(arm, sources, _undefined([arm])), seeds=tuple(map(float, arm.values)))


def crossed(each: Sequence[Figures]) -> Figures:
    """Of the same difference by one random thing (seeds of towers) and by another (of LVLMs), the wider interval."""
    return max(each, key=lambda one: one.high - one.low if one.low == one.low else np.inf)


def seeds_of(base_units: Sequence[Hashable], candidate_units: Sequence[Hashable]) -> Seeds:
    """Whether trainings under these names are to be paired: the same names in both arms, and four or more of them."""
    names = set(base_units)
    return "paired" if names == set(candidate_units) and len(names) >= FOR_PAIRS else "independent"


@dataclass(frozen=True)
class Arm:
    """An arm by training: its metric [K], and the same without each image [K, N] (or their mean [N])."""

    units: tuple[Hashable, ...]
    without: Table
    values: Table
    images: int

    @property
    def trainings(self) -> int:
        """How many."""
        return len(self.values)

    @property
    def value(self) -> float:
        """The expected score of one training."""
        return float(np.mean(self.values))

    def mean(self) -> Table:
        """The mean over trainings without each image [N]."""
        return np.asarray(np.atleast_2d(self.without).mean(axis=0))

    def minus(self, base: Arm) -> Arm:
        """The differences of the same trainings; UsageError where they are not the same."""
        if set(self.units) != set(base.units):
            told = [", ".join(map(str, one.units)) for one in (base, self)]
            raise UsageError(f"paired trainings have the same names in both arms, not {told[0]} and {told[1]}")
        at = [base.units.index(unit) for unit in self.units]
        return Arm(self.units, self.without - base.without[at], self.values - base.values[at], self.images)

    def source(self, borrowed: bool = False) -> Source:
        """How these trainings spread."""
        influence = (self.images - 1) * (self.without.mean(axis=1, keepdims=True) - self.without)
        apart = influence - influence.mean(axis=0)
        noise = float((apart**2).sum()) / ((self.trainings - 1) * max(self.images - 1, 1))
        return Source(self.trainings, self.images, float(np.var(self.values, ddof=1)), noise, borrowed)


def _arm(totals: Mapping[str, ArrayLike], metric: Metric, units: Sequence[Hashable]) -> Arm:
    """The metric of each training, whole and without each image; runs of one training averaged."""
    tables = {name: np.asarray(table, float) for name, table in totals.items()}
    shapes = {table.shape for table in tables.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        raise UsageError(f"totals are arrays [runs, images], all of one shape, not {sorted(shapes)}")
    if shape[0] != len(units) or 0 in shape:
        raise UsageError(f"{len(units)} units for totals of {shape[0]} runs on {shape[1]} images")
    values = np.array([_of(metric, {n: t[run].sum() for n, t in tables.items()}) for run in range(shape[0])])
    without = np.array(
        [np.broadcast_to(_of(metric, {n: t[run].sum() - t[run] for n, t in tables.items()}), shape[1])
         for run in range(shape[0])]
    )  # fmt: skip
    names = tuple(dict.fromkeys(units))
    members = [[n for n, unit in enumerate(units) if unit == name] for name in names]
    return Arm(
        names,
        np.stack([without[at].mean(axis=0) for at in members]),
        np.array([values[at].mean() for at in members]),
        shape[1],
    )


def _of(metric: Metric, totals: Totals) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(metric(totals), float)


def _lender(arms: Sequence[Arm]) -> Arm:
    several = [one for one in arms if one.trainings > 1]
    if len(several) != 1:
        counts = " and ".join(str(one.trainings) for one in arms)
        raise UsageError(f"a spread is borrowed by one training from several of the other arm; here are {counts}")
    return several[0]


def _undefined(arms: Sequence[Arm]) -> int | None:
    """The place of the first image without which the metric of some training has no value."""
    if not all(np.isfinite(one.values).all() for one in arms):
        return None
    at = np.flatnonzero(np.any([~np.isfinite(one.without).all(axis=0) for one in arms], axis=0))
    return int(at[0]) if len(at) else None


def _figures(arm: Arm, sources: tuple[Source, ...], undefined: int | None) -> Figures:
    """Every figure of this mean (or difference), random by these sources and by images."""
    value, n = arm.value, arm.images
    if undefined is not None or n < 2 or not np.isfinite(value):
        return Figures(value, images=n, undefined=undefined, sources=sources)
    without = arm.mean()
    alone = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    answers = sum(one.answers for one in sources)
    images = max(alone - answers, 0.0)
    parts = [(max(one.seen, one.answers), one.trainings - 1) for one in sources]
    seeds = sum(part for part, _ in parts)
    se, df = float(np.sqrt(seeds + images)), _freedom(parts, images, n)
    if se <= _ROUNDING * max(float(np.abs(arm.without).max()), abs(value)):
        se = 0.0
    half = float(_t(LEVEL, df)) * se
    found = Figures(
        value,
        se,
        df,
        value - half,
        value + half,
        float(2 * stdtr(df, -abs(value) / se)) if se else np.nan,
        var_seeds=seeds,
        var_images=images,
        seeds_observed=sum(one.seen for one in sources),
        seeds_noise=answers,
        var_training=sum(one.shared(one.between) for one in sources),
        var_images_alone=alone,
        half_images_alone=float(_t(LEVEL, n - 1) * np.sqrt(alone)),
        detectable=float(_t(LEVEL, df) + stdtrit(df, POWER)) * se,
        images=n,
        sources=sources,
    )
    return replace(found, half_one_more_seed=found.half(1), half_1000_more_images=found.half(0, 1000))


def _half(parts: Sequence[tuple[float, int]], images: float, n: int) -> float:
    """Half the interval's width from (variance, degrees of freedom) of each source, and the images' variance."""
    return float(_t(LEVEL, _freedom(parts, images, n)) * np.sqrt(sum(part for part, _ in parts) + images))


def _freedom(parts: Sequence[tuple[float, int]], images: float, n: int) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances."""
    below = sum(part**2 / df for part, df in parts) + images**2 / (n - 1)
    return float((sum(part for part, _ in parts) + images) ** 2 / below) if below else float(n - 1)


def _t(level: float, df: float) -> float:
    return float(stdtrit(df, (1 + level) / 2))
