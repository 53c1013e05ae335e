"""Draw a scene: 64 x 64 pixels, drawn at twice the size and reduced."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from harness.micro.classes import COLOURS
from harness.micro.scene import SIDE, Scene, Thing
from harness.micro.shapes import SHAPES

PIXELS = 64
_CELL = 2 * PIXELS // SIDE
_DARK, _LIGHT = (36, 36, 44), (250, 236, 200)

GROUNDS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "garden": ((168, 214, 240), (136, 188, 110)),
    "kitchen": ((236, 222, 196), (200, 176, 140)),
    "street": ((190, 204, 220), (120, 122, 130)),
    "beach": ((150, 206, 236), (232, 210, 150)),
    "bedroom": ((222, 200, 222), (172, 150, 130)),
    "night": ((40, 44, 92), (48, 70, 60)),
}
"""Each theme's upper and lower half."""


def draw(scene: Scene) -> Image.Image:
    """The scene's picture; the same scene gives the same pixels."""
    rng = Random(f"draw/{scene.key}")
    canvas = Image.new("RGB", (2 * PIXELS, 2 * PIXELS), GROUNDS[scene.theme][0])
    brush = ImageDraw.Draw(canvas)
    horizon = PIXELS + rng.randint(-24, 24)
    brush.rectangle((0, horizon, 2 * PIXELS, 2 * PIXELS), fill=GROUNDS[scene.theme][1])
    _clutter(brush, rng, scene)
    for thing in scene.things:
        sprite = _sprite(thing.name, thing.pose, thing.colour, rng.choice((28, 30, 32)), rng.random() < 0.5)
        spare = _CELL - sprite.width
        left = thing.cell % SIDE * _CELL + spare // 2 + rng.randint(-2, 2)
        top = thing.cell // SIDE * _CELL + spare // 2 + rng.randint(-2, 2)
        canvas.paste(sprite, (left, top), sprite)
    return _noisy(canvas.reduce(2), rng)


def _clutter(brush: ImageDraw.ImageDraw, rng: Random, scene: Scene) -> None:
    free = sorted(set(range(SIDE * SIDE)) - {thing.cell for thing in scene.things})
    for cell in rng.sample(free, min(len(free), rng.randint(0, 5))):
        x, y = cell % SIDE * _CELL + rng.randint(4, 16), cell // SIDE * _CELL + rng.randint(4, 16)
        paint = rng.choice((*COLOURS.values(), _DARK))
        wide, high = rng.randint(4, 12), rng.randint(4, 12)
        rng.choice((brush.ellipse, brush.rectangle))((x, y, x + wide, y + high), fill=paint)


def _noisy(image: Image.Image, rng: Random) -> Image.Image:
    size = PIXELS * PIXELS * 3
    noise = np.frombuffer(rng.randbytes(size), np.uint8).reshape(PIXELS, PIXELS, 3).astype(np.int16) // 10 - 13
    light = rng.randint(-14, 14)
    return Image.fromarray(np.clip(np.asarray(image, np.int16) + noise + light, 0, 255).astype(np.uint8))


@lru_cache(maxsize=4096)
def _sprite(name: str, pose: str, colour: str, size: int, mirrored: bool) -> Image.Image:
    sprite = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    brush = ImageDraw.Draw(sprite)
    paints = {"main": COLOURS[colour], "dark": _DARK, "light": _LIGHT}
    for kind, paint, numbers in SHAPES[f"{name} {pose}".strip()]:
        at = [round(value * (size - 1) / 16, 2) for value in numbers]
        _part(brush, kind, at, paints[paint])
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else sprite


def _part(brush: ImageDraw.ImageDraw, kind: str, at: list[float], paint: tuple[int, int, int]) -> None:
    if kind == "oval":
        brush.ellipse(at, fill=paint, outline=_DARK)
    elif kind == "rect":
        brush.rectangle(at, fill=paint, outline=_DARK)
    elif kind == "line":
        brush.line(at, fill=paint, width=2)
    else:
        brush.polygon(at, fill=paint, outline=_DARK)


def picture_of(thing: Thing, theme: str, key: str) -> Image.Image:
    """One thing alone in a theme."""
    return draw(Scene(key, theme, (thing,)))
