"""Object finders that are networks: panoptic segmentation, and detection of whatever is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from harness import digest, registry
from harness.building.finders import Found, finder
from harness.building.lexicon import read_words
from harness.data import cache_dir
from harness.errors import ModelError, UsageError
from harness.images import ImageError, image_digest, open_image
from harness.kept_rows import KeptRows
from harness.types import Spec

See = Callable[[Image.Image], Mapping[str, float]]
"""What a network finds in a picture: objects with their area, in any unit."""
VERSION = 1
"""Changes whenever what is made of a network's output does: part of the key under which it is kept."""
AT_ONCE = 40
"""How many names a detector is asked about at once: Grounding DINO reads 256 tokens."""


@finder("segmenter")
def segmented(location: str, pictures: Sequence[Path]) -> Found:
    """Panoptic segmentation by a Mask2Former, OneFormer or MaskFormer: ``segmenter:MODEL[?threshold=0.9]``."""
    spec = _spec(location, "threshold")
    threshold = _number(spec, "threshold", 0.9)
    with registry.loading(f"segmenter:{spec.location}"):
        from transformers import pipeline

        network = pipeline("image-segmentation", model=spec.location)
    labels = sorted({_plain(name) for name in network.model.config.id2label.values()})

    def see(image: Image.Image) -> Mapping[str, float]:
        areas: dict[str, float] = {}
        for one in network(image, subtask="panoptic", threshold=threshold):
            name = _plain(one["label"])
            areas[name] = areas.get(name, 0.0) + one["mask"].histogram()[-1]
        return areas

    return Found(_seen(["segmenter", VERSION, _identity(spec.location), threshold], see, pictures), names=labels)


@finder("detector")
def detected(location: str, pictures: Sequence[Path]) -> Found:
    """Detection by an OWLv2 or Grounding DINO of what a file names: ``detector:MODEL?words=FILE[&threshold=0.25]``."""
    spec = _spec(location, "words", "threshold")
    if "words" not in spec.options:
        raise UsageError(
            f"detector:{location}: it must be told what to look for, ?words=FILE (objects and their words)"
        )
    names, threshold = list(read_words(Path(spec.options["words"]))), _number(spec, "threshold", 0.25)
    with registry.loading(f"detector:{spec.location}"):
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        processor = AutoProcessor.from_pretrained(spec.location)
        network = AutoModelForZeroShotObjectDetection.from_pretrained(spec.location).eval()

    def see(image: Image.Image) -> Mapping[str, float]:
        areas: dict[str, float] = {}
        for at in range(0, len(names), AT_ONCE):
            for name, area in _boxes(processor, network, image, names[at : at + AT_ONCE], threshold):
                areas[name] = max(areas.get(name, 0.0), area)
        return areas

    return Found(_seen(["detector", VERSION, _identity(spec.location), names, threshold], see, pictures), names=names)


def _boxes(
    processor: Any, network: Any, image: Image.Image, names: list[str], threshold: float
) -> Iterable[tuple[str, float]]:
    """The objects found and the area of their box; a label may hold several names (Grounding DINO's)."""
    import torch

    inputs = processor(images=image, text=[names], return_tensors="pt", padding=True)
    with torch.inference_mode():
        outputs = network(**inputs)
    sizes = [(image.height, image.width)]
    [found] = processor.post_process_grounded_object_detection(
        outputs, threshold=threshold, target_sizes=sizes, text_labels=[names]
    )
    for label, (left, top, right, bottom) in zip(found["text_labels"], found["boxes"].tolist(), strict=True):
        said = " ".join(re.findall(r"\w+", label.lower()))
        for name in names:
            if f" {name.lower()} " in f" {said} ":
                yield name, max(0.0, right - left) * max(0.0, bottom - top)


def _seen(identity: Sequence[Any], see: See, pictures: Sequence[Path]) -> dict[str, Sequence[str]]:
    """The objects of each picture, the biggest first; a picture seen before by the same network is not looked at."""
    kept = KeptRows(cache_dir() / "objects" / f"{digest.of_json(list(identity))[:32]}.sqlite", "objects in pictures")
    found: dict[str, Sequence[str]] = {}
    for picture in pictures:
        key = image_digest(picture)
        known = kept.known([key]).get(key)
        if known is None:
            try:
                areas = see(open_image(picture))
            except ImageError:
                continue
            known = json.dumps(sorted(areas, key=lambda name: (-areas[name], name))).encode()
            kept.keep({key: known})
        found[picture.name] = json.loads(known)
    return found


def _identity(location: str) -> Any:
    """What tells one network from another: the digests of its weights, or where it is not a folder its name."""
    files = sorted(Path(location).glob("*.safetensors")) if Path(location).is_dir() else []
    return [digest.of_file(path) for path in files] or location


def _plain(label: str) -> str:
    """COCO's panoptic labels end in -merged, -other, -stuff."""
    for end in ("-merged", "-other", "-stuff"):
        label = label.removesuffix(end)
    return label.replace("_", " ").replace("-", " ")


def _spec(location: str, *known: str) -> Spec:
    spec = registry.parse_spec(f"finder:{location}")
    registry.no_more_options(spec, *known)
    if not spec.location:
        raise ModelError("a finder that is a network needs a model: a folder, or a name on the hub")
    return spec


def _number(spec: Spec, name: str, otherwise: float) -> float:
    try:
        return float(spec.options.get(name, otherwise))
    except ValueError as error:
        raise UsageError(f"?{name}={spec.options[name]} is no number") from error
