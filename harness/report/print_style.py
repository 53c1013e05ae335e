"""How a figure fits into a printed paper: the widths of columns, the sizes of letters, a font for every letter."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from harness.errors import UsageError

POINTS = 72.27
"""TeX's points in an inch."""
COLUMNS = {
    "neurips": 5.5,  # neurips_2026.sty: textwidth=5.5in
    "acl": 7.7 / 2.54,  # acl-org/acl-style-files latex/acl.sty: A4, margin=2.5cm, columnsep 0.6cm, two columns
    "cvpr": (6.875 - 0.3125) / 2,  # cvpr-org/author-kit cvpr.sty at 1a9acb7: textwidth 6.875in, columnsep 0.3125in
}
"""The width of one column in inches, by venue."""
NARROWEST, WIDEST = 100.0, 2000.0
PRINTED: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.handlelength": 1.4,
    "axes.linewidth": 0.6,
    "lines.markersize": 4,
    "lines.linewidth": 1.2,
}
"""What a figure has otherwise in print, beside body text of nine or ten points."""
LOWEST = 2.1
"""Inches: the least height of a figure, however narrow its column is."""
_LACKS = re.compile(r"Glyph (\d+) .*missing from font")


def width_of(told: str) -> float:
    """The width in inches of ``neurips``, ``acl``, ``cvpr`` or so many points; UsageError where it is none."""
    if told in COLUMNS:
        return COLUMNS[told]
    try:
        points = float(told)
    except ValueError:
        points = 0.0
    if not NARROWEST <= points <= WIDEST:
        raise UsageError(
            f"--width {told}: there is {', '.join(COLUMNS)}, or points from {NARROWEST:g} to {WIDEST:g}, "
            r"as \the\columnwidth prints them"
        )
    return points / POINTS


def fit(figure: Figure, width: float) -> None:
    """Make a figure exactly so wide, in inches, and lower by less: letters do not shrink."""
    was_wide, was_high = figure.get_size_inches()
    figure.set_size_inches(width, max(LOWEST, float(was_high * (width / was_wide) ** 0.75)))


def with_every_letter(draw: Callable[[], bytes]) -> bytes:
    """What ``draw`` gives, drawn in fonts of this machine that have what the usual one lacks, as Chinese; no warnings.

    A letter that no font here has is drawn as a box.
    """
    with _lacking() as letters:
        drawn = draw()
    if not letters:
        return drawn
    # Of each family one font is taken, so of "sans-serif" the usual one alone, whatever stands behind it there.
    families = [*matplotlib.rcParams["font.family"], *_having(tuple(sorted(letters)))]
    with matplotlib.rc_context({"font.family": families}), _lacking(), _without_remarks():
        return draw()


@contextmanager
def _lacking() -> Iterator[set[str]]:
    """The letters that the fonts in use do not have; every other warning goes on its way."""
    letters: set[str] = set()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield letters
    for one in told:
        if found := _LACKS.match(str(one.message)):
            letters.add(chr(int(found[1])))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Without the log's lines on fonts that have no bold face."""
    log = logging.getLogger(font_manager.__name__)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@cache
def _having(letters: Sequence[str]) -> list[str]:
    """The names of as few fonts of this machine as have all of these letters that any of them has."""
    found, left = [], {ord(letter) for letter in letters}
    by_name = {font.name: font for font in font_manager.fontManager.ttflist if "Last Resort" not in font.name}
    for name in sorted(by_name):
        if not left:
            break
        try:
            has = left & set(font_manager.get_font(by_name[name].fname).get_charmap())
        except (OSError, RuntimeError):  # a font file that is damaged, or gone since the list was made
            continue
        if has:
            found.append(name)
            left -= has
    return found
