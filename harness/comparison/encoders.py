"""Two encoders side by side, and one encoder before and after it is written: identity, rows, weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import durable, images, registry
from harness.abilities import Convertible, Engined
from harness.errors import DataError, ModelError, UsageError
from harness.types import Encoder, Place
from harness.vision_language import drift
from harness.vision_language.layouts.merge import require_new

if TYPE_CHECKING:
    from PIL.Image import Image

TEXTS = (
    "A photo of a cat.",
    "Two people ride bicycles past a red bus on a wet street.",
    "there is no dog in the picture, but a pizza & 3 forks!",
    "A group of people standing around a kitchen preparing food while a small brown dog waits next to the open door.",
)
PREFIX = {"hf": "clip", "open-clip": "open-clip"}


def sample_images(folder: Path | None, count: int) -> list[Image]:
    """The first so many images of this folder; bundled patterns where none is named."""
    if folder is None:
        return patterns(count)
    paths = sorted(path for path in folder.glob("**/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise DataError(f"there is no .jpg or .png under {folder}")
    return [images.open_image(path) for path in paths[:count]]


def patterns(count: int) -> list[Image]:
    """Smooth coloured patterns of several shapes, the same on every machine."""
    import numpy as np
    from PIL import Image as pil

    rng = np.random.default_rng(0)
    sizes = ((640, 480), (480, 640), (500, 375), (512, 512))
    grids = [pil.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(count)]
    return [grid.resize(sizes[n % len(sizes)], pil.Resampling.BICUBIC) for n, grid in enumerate(grids)]


def inspect(encoder: Encoder) -> dict[str, Any]:
    """What an encoder is: digests, shape of its tower, and everything that decides its rows."""
    found: dict[str, Any] = {"spec": encoder.spec, "digest": encoder.digest()}
    try:
        tower: Any = encoder.tower()
    except ModelError as error:
        found["tower"] = str(error)
    else:
        from harness.vision_language import identity

        config = tower.config
        found |= {
            "tower": identity.tower_digest(tower),
            "width": config.hidden_size,
            "blocks": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "patches": (config.image_size // config.patch_size) ** 2,
            "tower_parameters": sum(weight.numel() for weight in tower.parameters()),
        }
    return found | dict(encoder.describe())


def convert(encoder: Encoder, to: str, out: Path, place: Place) -> dict[str, Any]:
    """Writes the encoder in another layout, loads it again, and says how equal the two are."""
    convertible, found = as_convertible(encoder), {"digest": encoder.digest()}
    require_new(out)

    def write(draft: Path) -> None:
        convertible.save(draft, to)
        again = registry.make_encoder(f"{PREFIX[to]}:{draft}", place)
        found.update({"digest_after": again.digest(), **parity(encoder, again)})
        if found["digest"] != found["digest_after"]:
            raise ModelError(f"what was written holds other weights ({found['digest_after'][:12]}) than {encoder.spec}")

    durable.new_folder(out, write)
    return {"spec": f"{PREFIX[to]}:{out}", **found}


def as_convertible(encoder: Encoder) -> Convertible:
    """The encoder as one that can be written and read weight by weight; ModelError where it cannot."""
    if not isinstance(encoder, Convertible):
        raise ModelError(f"{encoder.spec} is no standard CLIP: it can be evaluated, and neither converted nor compared")
    return encoder


def parity(one: Encoder, other: Encoder) -> dict[str, Any]:
    """The largest difference between two encoders' rows, of images and of texts."""
    pictures = patterns(4)
    found = {"max_image_difference": _apart(one.encode_images(pictures), other.encode_images(pictures))}
    with contextlib.suppress(ModelError):  # a lone vision tower has no texts to compare
        found["max_text_difference"] = _apart(one.encode_texts(TEXTS), other.encode_texts(TEXTS))
    return found


def _apart(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


def diff(one: Encoder, other: Encoder, pictures: Sequence[Image]) -> dict[str, Any]:
    """How two encoders differ: settings, weights by part, and the cosine of their rows of the same images and texts."""
    told = [dict(encoder.describe()) for encoder in (one, other)]
    settings = {
        key: [side.get(key) for side in told]
        for key in sorted(told[0].keys() | told[1].keys())
        if told[0].get(key) != told[1].get(key)
    }
    found: dict[str, Any] = {
        "same": one.digest() == other.digest(),
        "digests": [one.digest(), other.digest()],
        "settings": settings,
    }
    weights = [as_convertible(encoder).tensors() for encoder in (one, other)]
    if misfit := _misfit(*weights):
        return found | {"weights": misfit}
    return found | {
        "weights": drift.by_part(*weights),
        "image_cosine": drift.quantiles((one.encode_images(pictures) * other.encode_images(pictures)).sum(-1)),
        "text_cosine": drift.quantiles((one.encode_texts(TEXTS) * other.encode_texts(TEXTS)).sum(-1)),
    }


def _misfit(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    for name in sorted(one.keys() | other.keys()):
        shapes = [tuple(side[name].shape) if name in side else "missing" for side in (one, other)]
        if shapes[0] != shapes[1]:
            return f"other architectures: '{name}' is {shapes[0]} and {shapes[1]}"
    return ""


def _aligned(host: Any, encoder: Encoder) -> dict[str, Any]:
    """What an eye of this encoder's tower would cost behind this LVLM, trained as LLaVA-1.5 was."""
    from harness.abilities import SeesPixels
    from harness.vision_language.align import cost, eye

    images = encoder.image_processor() if isinstance(encoder, SeesPixels) else host.processor.image_processor
    found = eye.of(encoder.spec, encoder.tower(), images)
    return cost.told(host.model.config, found.config, found.tokens)


def _in_words(aligned: Mapping[str, Any]) -> str:
    stage = aligned["pretrain"]
    return (
        f"ohd-bench align --stage pretrain would train a projector of {aligned['projector_parameters']:,} parameters "
        f"for it: {aligned['image_tokens']} image tokens, about {stage['estimated_memory_gb']} GB and "
        f"{stage['estimated_a100_hours']} A100-hours on LLaVA-1.5's data (estimates)"
    )


def check(host: Any, encoder: Encoder, pictures: Sequence[Image]) -> dict[str, Any]:
    """Whether the encoder's tower fits the LVLM (ModelError where not), and how far it is from the LVLM's own."""
    from harness.vision_language.host import Host

    if isinstance(host, Engined):
        raise UsageError(f"nothing is asked here: leave the engine out of the spec: --lvlm '{host.own}'")
    if not isinstance(host, Host):
        raise ModelError("this LVLM carries no tower that could be swapped")
    aligned = _aligned(host, encoder)
    try:
        speaker = host(encoder)
    except ModelError as error:
        raise ModelError(f"{error}. {_in_words(aligned)}") from error
    about = speaker.describe()
    return {
        "aligned_eye": aligned,
        "fits": True,
        "swap": about["tower"],
        "tower": speaker.digests()["tower"],
        "own_tower": host.own_digest,
        **drift.report(host, speaker.view.tower, pictures),
    }
