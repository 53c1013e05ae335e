"""What an encoder sees, as numbers: similarities to the names of objects, and the patch tokens that an LVLM reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import class_folders
from harness.asking import evaluate
from harness.comparison.answer_sets import title
from harness.comparison.attribution import Attribution, auroc, probe, records
from harness.comparison.existence import Claim, claims, labels
from harness.data import Data
from harness.errors import DataError, ModelError, UsageError
from harness.images import check, open_image
from harness.registry import make_encoder
from harness.store import Run
from harness.types import Encoder, Place, Sample
from harness.vision_language.preprocess import expand_to_square

AT_ONCE = 32


def attribution(run: Run, data: Data, place: Place) -> Attribution:
    """The run's encoder looks again at every image asked about; crossed with the LVLM's kept answers."""
    manifest = run.manifest()
    if not manifest.get("encoder") or not manifest.get("lvlm"):
        raise UsageError(f"{run.id} has no answers of an LVLM through an encoder; run one with --encoder and --lvlm")
    found, told = _claims(run, data)
    if not any(claim.said is not None for claim in found):
        raise UsageError(f"{run.id} holds no question whether an object is there; AMBER existence and POPE ask that")
    images = list(dict.fromkeys(claim.image for claim in found))
    check(set(images), run.id, data.fence)
    encoder = make_encoder(manifest["encoder"]["spec"], place)
    _require_same(encoder, manifest, run)
    template = _template(data.root)
    zero_shot = _margins(encoder, images, found, template)
    probed = probe(tokens(encoder, images, manifest["lvlm"]["describe"]), told, found)
    kept, ranks = [], {}
    for eye, score in (("zero-shot", zero_shot), ("probe", probed)):
        kept += records(found, score, eye)
        ranks[eye] = auroc(found, score)
    return Attribution(title(manifest), tuple(kept), ranks)


def _claims(run: Run, data: Data) -> tuple[list[Claim], dict[tuple[Path, str], bool]]:
    found: list[Claim] = []
    every: list[Sample] = []
    for name, entry in run.manifest().get("tasks", {}).items():
        task = evaluate.open_task(entry.get("spec") or name, data.root)
        if task.mode == "generate":
            samples = list(task.samples())
            kept = {record.id: record for record in run.records(name)}
            found += claims(name, (sample for sample in samples if sample.id in kept), kept)
            every += samples
    return found, labels(every)


def _require_same(encoder: Encoder, manifest: Mapping[str, Any], run: Run) -> None:
    if encoder.digest() != manifest["encoder"]["digest"]:
        raise ModelError(f"{encoder.spec} is not the encoder of {run.id} any more: its weights have another digest")


def _template(root: Path) -> str:
    """How the data words a caption of one object, if it says so."""
    return class_folders.template_of(root / "zero_shot")


def _margins(encoder: Encoder, images: Sequence[Path], found: Sequence[Claim], template: str) -> NDArray[np.float64]:
    """Each claim's similarity of image and object's name, less the object's mean over the images."""
    names = sorted({claim.object for claim in found})
    with torch.inference_mode():
        image_ND = torch.cat([encoder.encode_images(batch).float().cpu() for batch in _opened(images)])
        text_TD = encoder.encode_texts([template.replace("{}", name) for name in names]).float().cpu()
        score_NT = (image_ND @ text_TD.T).double().numpy()
    score_NT -= score_NT.mean(0)
    row, column = {image: i for i, image in enumerate(images)}, {name: i for i, name in enumerate(names)}
    return np.array([score_NT[row[claim.image], column[claim.object]] for claim in found])


def _opened(images: Sequence[Path], square: tuple[int, ...] | None = None) -> Iterator[list[Any]]:
    for i in range(0, len(images), AT_ONCE):
        batch = [open_image(path) for path in images[i : i + AT_ONCE]]
        yield [expand_to_square(image, square) for image in batch] if square else batch


def tokens(encoder: Encoder, images: Sequence[Path], describe: Mapping[str, Any]) -> dict[Path, NDArray[np.float64]]:
    """Each image's patch tokens at the layer the LVLM reads, as their mean and their maximum over the patches."""
    tower, square = encoder.tower(), _padding(encoder) if describe.get("pad", "pad") == "pad" else None
    whole = describe.get("tower_tokens", "default") == "full"
    found: list[NDArray[np.float64]] = []
    with torch.inference_mode(), _reading(tower, int(describe.get("tower_layer", -2))) as caught:
        for batch in _opened(images, square):
            caught.clear()
            encoder.encode_images(batch)
            if not caught:
                raise ModelError(
                    f"{encoder.spec}: encode_images does not go through tower(); its tokens cannot be read"
                )
            token_NPD = torch.cat(caught)[:, 0 if whole else 1 :].float().cpu()
            pooled = torch.cat([token_NPD.mean(1), token_NPD.amax(1)], dim=1)
            found += list(pooled.double().numpy())
    return dict(zip(images, found, strict=True))


def _padding(encoder: Encoder) -> tuple[int, ...]:
    """The colour that LLaVA pads pictures with: the encoder's own mean."""
    mean = encoder.describe().get("mean")
    if mean is None:
        raise ModelError(f"{encoder.spec}: describe() gives no 'mean', the colour that pictures are padded with")
    return tuple(int(channel * 255) for channel in mean)


@contextmanager
def _reading(tower: Any, layer: int) -> Iterator[list[torch.Tensor]]:
    """Catches ``hidden_states[layer]`` of every forward pass of the tower."""
    inner = getattr(tower, "vision_model", tower)
    layers = inner.encoder.layers
    if not -len(layers) - 1 <= layer <= -2:
        raise DataError(f"cannot read layer {layer} of a tower with {len(layers)} layers")
    caught: list[torch.Tensor] = []

    def catch(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        caught.append((args[0] if args else kwargs["hidden_states"]).detach())

    # hidden_states[-2] is what the last layer is given
    handle = layers[layer + 1].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        yield caught
    finally:
        handle.remove()


def each(runs: Sequence[Run], data: Data, place: Place) -> list[Attribution]:
    """The attribution of each run, the base first."""
    return [attribution(run, data, place) for run in runs]
