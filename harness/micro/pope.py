"""The POPE files of the micro world: for each image three questions on present and three on absent classes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from harness.micro.classes import CLASSES, article
from harness.micro.scene import Scene, census

SAMPLINGS = ("random", "popular", "adversarial")
EACH = 3


def rows(scenes: Sequence[Scene], sampling: str) -> list[dict[str, Any]]:
    """One sampling's questions; the present classes are the same in all three."""
    found: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        present = Random(f"pope/{scene.key}").sample(scene.names(), EACH)
        for yes, no in zip(present, _absent(scene, sampling), strict=True):
            for name, label in ((yes, "yes"), (no, "no")):
                found.append(
                    {
                        "question_id": len(found) + 1,
                        "image": image_name(number),
                        "text": f"Is there {article(name)} in the image?",
                        "label": label,
                    }
                )
    return found


def image_name(number: int) -> str:
    """The name of the n-th POPE image, in COCO's manner."""
    return f"MICRO_pope_{number:06d}.jpg"


def _absent(scene: Scene, sampling: str) -> list[str]:
    absent = [name for name in CLASSES if not scene.number(name)]
    if sampling == "random":
        return Random(f"pope/random/{scene.key}").sample(absent, EACH)
    if sampling == "popular":
        return census().popular(absent)[:EACH]
    return census().likely(scene.names(), absent)[:EACH]
