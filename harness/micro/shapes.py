"""How each class looks: filled outlines on a 16 x 16 grid, back to front."""

from __future__ import annotations

from math import cos, pi, sin

Part = tuple[str, str, tuple[float, ...]]
"""What to draw (poly, oval, rect, line), in which paint (main, dark, light), and its coordinates."""


def _arc(x: float, y: float, radius: float, start: float, end: float, steps: int = 14) -> tuple[float, ...]:
    angles = [pi * (start + (end - start) * step / steps) for step in range(steps + 1)]
    return tuple(value for angle in angles for value in (x + radius * cos(angle), y + radius * sin(angle)))


def _star() -> tuple[float, ...]:
    points = [(8 if tip % 2 == 0 else 3.2, pi * (tip / 5 - 0.5)) for tip in range(10)]
    return tuple(value for radius, angle in points for value in (8 + radius * cos(angle), 8.5 + radius * sin(angle)))


_WHEELS: tuple[Part, ...] = (("oval", "dark", (2, 10, 6, 15)), ("oval", "dark", (10, 10, 14, 15)))
_ROCKET: tuple[Part, ...] = (
    ("poly", "main", (8, 0, 11, 5, 11, 12, 5, 12, 5, 5)),
    ("oval", "light", (6.5, 5, 9.5, 8)),
)

SHAPES: dict[str, tuple[Part, ...]] = {
    "tree": (("rect", "dark", (7, 9, 9, 16)), ("oval", "main", (2, 0, 14, 11))),
    "flower": (
        ("line", "dark", (8, 7, 8, 16)),
        *(("oval", "main", (x, y, x + 5, y + 5)) for x, y in ((5.5, 0), (5.5, 6), (2.2, 3), (8.8, 3))),
        ("oval", "light", (6, 4, 10, 8)),
    ),
    "bird stand": (
        ("line", "dark", (6, 11, 6, 16)),
        ("line", "dark", (9, 11, 9, 16)),
        ("oval", "main", (2, 5, 13, 12)),
        ("oval", "main", (9, 1, 15, 7)),
        ("poly", "light", (14, 3, 16, 4.5, 14, 5.5)),
    ),
    "bird fly": (
        ("poly", "main", (0, 2, 8, 7, 16, 2, 11, 10, 5, 10)),
        ("oval", "main", (6, 6, 10, 15)),
        ("poly", "light", (7, 13, 9, 13, 8, 16)),
    ),
    "mushroom": (("rect", "light", (6, 8, 10, 16)), ("poly", "main", _arc(8, 9, 7.5, 1, 2))),
    "cup": (("oval", "dark", (9, 5, 15, 12)), ("rect", "main", (3, 3, 12, 14))),
    "bottle": (
        ("rect", "dark", (6.5, 0, 9.5, 2)),
        ("rect", "main", (7, 2, 9, 7)),
        ("rect", "main", (5, 6, 11, 16)),
        ("rect", "light", (5, 9, 11, 12)),
    ),
    "apple": (
        ("oval", "main", (1.5, 4, 14.5, 16)),
        ("line", "dark", (8, 6, 9, 1)),
        ("poly", "light", (9, 3, 13, 0, 13, 3)),
    ),
    "fork": (
        *(("rect", "main", (x, 0, x + 2, 6)) for x in (3, 7, 11)),
        ("rect", "main", (3, 5, 13, 8)),
        ("rect", "main", (6.5, 7, 9.5, 16)),
    ),
    "kettle": (
        ("oval", "dark", (4, 1, 12, 9)),
        ("poly", "main", (12, 9, 16, 5, 16, 7, 12, 13)),
        ("poly", "main", (4, 6, 11, 6, 14, 15, 1, 15)),
    ),
    "car": (
        ("poly", "light", (3, 8, 5, 3, 11, 3, 13, 8)),
        ("rect", "main", (0, 7, 16, 12)),
        *_WHEELS,
    ),
    "house": (
        ("rect", "main", (2, 7, 14, 16)),
        ("poly", "dark", (0, 7.5, 8, 0, 16, 7.5)),
        ("rect", "light", (6, 10, 10, 16)),
    ),
    "truck": (("rect", "main", (0, 2, 10, 12)), ("rect", "light", (10, 6, 16, 12)), *_WHEELS),
    "flag": (("rect", "dark", (2, 0, 4, 16)), ("poly", "main", (4, 1, 16, 1, 12, 5, 16, 9, 4, 9))),
    "boat": (
        ("line", "dark", (8, 1, 8, 11)),
        ("poly", "light", (9, 1, 14, 9, 9, 9)),
        ("poly", "main", (0, 10, 16, 10, 12, 16, 4, 16)),
    ),
    "umbrella": (
        ("line", "dark", (8, 7, 8, 15)),
        ("line", "dark", (8, 15, 11, 15)),
        ("poly", "main", _arc(8, 8, 8, 1, 2)),
        ("line", "light", (8, 1, 8, 7)),
    ),
    "ball": (("oval", "main", (1, 1, 15, 15)), ("poly", "light", (2, 6, 14, 6, 14, 9, 2, 9))),
    "kite": (
        ("line", "dark", (8, 11, 3, 16)),
        ("poly", "main", (8, 0, 15, 6, 8, 13, 1, 6)),
        ("line", "light", (8, 1, 8, 12)),
        ("line", "light", (2, 6, 14, 6)),
    ),
    "fish swim": (
        ("poly", "main", (0, 3, 6, 8, 0, 13)),
        ("oval", "main", (4, 3, 16, 13)),
        ("oval", "dark", (11.5, 6, 13.5, 8)),
    ),
    "fish jump": (
        ("poly", "main", (3, 16, 8, 10, 13, 16)),
        ("oval", "main", (3, 0, 13, 12)),
        ("oval", "dark", (6, 2.5, 8, 4.5)),
    ),
    "bed": (
        ("rect", "dark", (0, 3, 2, 15)),
        ("rect", "dark", (14, 9, 16, 15)),
        ("rect", "light", (2, 6, 6, 9)),
        ("rect", "main", (2, 8, 15, 13)),
    ),
    "lamp": (
        ("rect", "dark", (7, 7, 9, 15)),
        ("rect", "dark", (4, 14, 12, 16)),
        ("poly", "main", (5, 0, 11, 0, 15, 8, 1, 8)),
    ),
    "book": (
        ("poly", "main", (0, 3, 8, 5, 8, 15, 0, 13)),
        ("poly", "main", (16, 3, 8, 5, 8, 15, 16, 13)),
        ("line", "light", (2, 6, 6, 7)),
        ("line", "light", (10, 7, 14, 6)),
    ),
    "clock": (
        ("oval", "main", (0.5, 0.5, 15.5, 15.5)),
        ("oval", "light", (3.5, 3.5, 12.5, 12.5)),
        ("line", "dark", (8, 8, 8, 3)),
        ("line", "dark", (8, 8, 12, 9)),
    ),
    "chair": (
        ("rect", "dark", (2, 9, 4, 16)),
        ("rect", "dark", (11, 9, 13, 16)),
        ("rect", "main", (2, 0, 5, 10)),
        ("rect", "main", (2, 8, 14, 11)),
    ),
    "moon": (("poly", "main", _arc(7, 8, 7.5, 0.35, 1.65) + _arc(11, 8, 6.2, 1.6, 0.4)),),
    "star": (("poly", "main", _star()),),
    "cat sit": (
        ("poly", "main", (8, 6, 14, 16, 2, 16)),
        ("poly", "main", (4, 0, 7, 3, 3, 5)),
        ("poly", "main", (12, 0, 9, 3, 13, 5)),
        ("oval", "main", (3.5, 1.5, 12.5, 9)),
        ("oval", "dark", (5.5, 4, 7, 5.5)),
        ("oval", "dark", (9, 4, 10.5, 5.5)),
    ),
    "cat lie": (
        ("oval", "main", (4, 8, 16, 16)),
        ("poly", "main", (0.5, 4, 3, 6, 0, 8)),
        ("poly", "main", (8, 4, 5.5, 6, 9, 8)),
        ("oval", "main", (0, 5, 8.5, 13)),
        ("oval", "dark", (1.5, 8, 3, 9.5)),
        ("oval", "dark", (5, 8, 6.5, 9.5)),
    ),
    "tent": (("poly", "main", (8, 1, 16, 15, 0, 15)), ("poly", "dark", (8, 7, 11, 15, 5, 15))),
    "rocket stand": (*_ROCKET, ("poly", "dark", (5, 9, 1, 16, 5, 13)), ("poly", "dark", (11, 9, 15, 16, 11, 13))),
    "rocket fly": (*_ROCKET, ("poly", "light", (5, 12, 11, 12, 8, 16)), ("poly", "dark", (5, 9, 3, 12, 5, 12))),
}
