"""The folder of a trained encoder: weights, processor, tokenizer, recipe with digests, and a card of measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from encoders.towers.clip_encoder import ClipEncoder, digest_of
from encoders.training import checkpoint, towers
from encoders.training.evaluation import Check
from harness import durable
from harness.store import write_json

if TYPE_CHECKING:
    from encoders.training.evaluation import Looks
    from encoders.training.material import Material
    from encoders.training.settings import Training


@dataclass(frozen=True)
class Made:
    """A training that has come to its end."""

    recipe: Training
    identity: dict[str, Any]
    encoder: ClipEncoder
    looks: Looks
    progress: checkpoint.Progress
    weights: dict[str, Tensor]


def plain_fields(recipe: Training) -> dict[str, Any]:
    """The recipe's fields, tuples as text, for trackers that know only plain values."""
    return {name: str(value) if isinstance(value, tuple) else value for name, value in asdict(recipe).items()}


def identity(recipe: Training, base: ClipEncoder, found: Material) -> dict[str, Any]:
    """What makes this training this one: every field that shapes it, the base's digest, a digest of all it reads."""
    fields = {name: value for name, value in asdict(recipe).items() if name != "allow_outside"}
    return {"recipe": fields, "base_digest": base.digest(), "data": found.told}


def finished(out: Path) -> bool:
    """Whether the folder holds an encoder that was trained to its end; DataError where its recipe.json is damaged."""
    return "measured" in checkpoint.recipe_of(out)


def write(out: Path, made: Made, circumstances: dict[str, Any], go_on: Check) -> None:
    """Writes the folder, its measurements last, so that they say it is whole; ``go_on`` may break it off before."""
    front = [{"interpolate": alpha, **_measured(made, alpha, go_on)} for alpha in made.recipe.front]
    before, after = made.progress.looks[0], _measured(made, made.recipe.interpolate, go_on)
    made.encoder.save(out, "hf")
    told = {
        **made.identity,
        **circumstances,
        "digest": digest_of(made.encoder.model),
        "steps": made.progress.step,
        "resumed": made.progress.resumed,
        "looks": made.progress.looks,
        "measured": {"before": before, "after": after, "front": front},
    }
    durable.output(out / "README.md", card(out.name, told))
    write_json(out / checkpoint.RECIPE, told)


def _measured(made: Made, alpha: float, go_on: Check) -> dict[str, float]:
    """What the encoder measures with its weights at base + alpha x (tuned - base), which it then has."""
    weights = made.weights
    if alpha != 1:
        weights = towers.interpolated(towers.base(made.recipe.base).model.state_dict(), weights, alpha)
    made.encoder.model.load_state_dict(weights, strict=False)
    return made.looks(made.encoder, go_on)


def card(name: str, told: dict[str, Any]) -> str:
    """The model card: where it comes from, how it was trained, what was measured."""
    before, after, recipe = told["measured"]["before"], told["measured"]["after"], told["recipe"]
    names = {
        "ohd_dev": "OHD-Caps dev, top-1 %",
        "zero_shot": "zero-shot, top-1 %",
        "drift_cosine": "patch tokens, cosine to the base",
        "drift_l2": "patch tokens, relative distance from the base",
    }
    rows = [f"| {names[key]} | {before[key]:.3g} | {after[key]:.3g} |" for key in names if key in after]
    fields = [f"| {key} | `{value}` |" for key, value in recipe.items()]
    chosen = "" if recipe["keep"] == "last" else f" The weights are those of the look best by `{recipe['keep']}`."
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: zero-shot-image-classification",
            "tags: [clip, ohd-bench]",
            "---",
            f"# {name}",
            "",
            f"A CLIP fine-tuned from `{recipe['base']}` with ohd-bench: {told['steps']} steps on "
            f"{told['data']['rows']} rows.",
            f"`ohd-bench run --encoder clip:{name}` evaluates it on the test rows.{chosen}",
            "",
            "## Measured on the dev rows while training, not on the test rows",
            "| | base | this |",
            "|---|---|---|",
            *rows,
            "",
            "## Recipe",
            "| field | value |",
            "|---|---|",
            *fields,
            "",
            f"base digest `{told['base_digest']}`  \ndata digest `{told['data']['digest']}`",
            "",
        ]
    )
