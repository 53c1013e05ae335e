"""The words of the micro world: its classes, colours, themes and poses."""

from __future__ import annotations

THEMES: dict[str, tuple[str, ...]] = {
    "garden": ("tree", "flower", "bird", "mushroom", "chair"),
    "kitchen": ("cup", "bottle", "apple", "kettle", "fork", "clock"),
    "street": ("car", "house", "truck", "flag", "tree"),
    "beach": ("boat", "umbrella", "ball", "kite", "fish"),
    "bedroom": ("bed", "lamp", "book", "clock", "chair"),
    "night": ("moon", "star", "cat", "tent", "rocket", "house"),
}
"""The classes at home in each theme, the commonest first (weights fall as 1/rank)."""

THEME_WEIGHTS: dict[str, float] = {
    "garden": 0.22,
    "kitchen": 0.20,
    "street": 0.20,
    "beach": 0.16,
    "bedroom": 0.13,
    "night": 0.09,
}

CLASSES: tuple[str, ...] = tuple(dict.fromkeys(name for names in THEMES.values() for name in names))
"""All 28 classes, in an order that also serves as their popularity outside their themes."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (44, 160, 60),
    "blue": (44, 84, 214),
    "yellow": (240, 212, 40),
    "purple": (132, 52, 170),
    "pink": (246, 140, 190),
    "white": (246, 246, 246),
    "brown": (126, 78, 36),
}

HOME_COLOUR: dict[str, str] = {
    name: tuple(COLOURS)[(3 * place + place // 8) % len(COLOURS)] for place, name in enumerate(CLASSES)
} | {"tree": "green", "apple": "red", "moon": "yellow", "star": "yellow", "boat": "white", "mushroom": "red"}
"""The colour half of a class's objects have: a prior from which a model may hallucinate."""

POSES: dict[str, tuple[str, str]] = {
    "bird": ("fly", "stand"),
    "cat": ("sit", "lie"),
    "fish": ("swim", "jump"),
    "rocket": ("fly", "stand"),
}

NUMBERS: tuple[str, ...] = ("one", "two", "three")

RELATION: dict[str, list[str]] = {name: [] for name in CLASSES} | {
    "cup": ["mug"],
    "car": ["vehicle"],
    "bird": ["animal"],
    "boat": ["ship"],
    "house": ["building"],
}
"""AMBER's relation.json: every class, with the wider words that also name it."""

SAFE_WORDS: tuple[str, ...] = ("picture", "scene")


def plural(name: str) -> str:
    """The word for several of a class."""
    return name if name == "fish" else f"{name}s"


def article(phrase: str) -> str:
    """The phrase with its a or an."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def place(theme: str) -> str:
    """Where a scene of this theme is."""
    if theme == "night":
        return "at night"
    return f"{'on' if theme in ('street', 'beach') else 'in'} the {theme}"
