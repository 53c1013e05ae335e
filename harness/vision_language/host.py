"""A LLaVA held in memory, into which one tower after another is put; its language model is loaded once."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch.nn import Module

from harness.types import Encoder, Place, Spec
from harness.vision_language import (
    fits,
    identity,
    inference,
    preprocess,
    swap,
    template,
    tokens,
    unusual,
    yes_no_tokens,
)
from harness.vision_language.align import closed as closed_forms
from harness.vision_language.layouts import checkpoint
from harness.vision_language.part_digest import PartDigest
from harness.vision_language.speaker import Speaker, View


class Host:
    """Called with an encoder, gives the LVLM that sees through that encoder's tower."""

    def __init__(self, spec: Spec, place: Place) -> None:
        self.spec, self.place = spec, place
        self._language = PartDigest(spec, place)
        loaded = checkpoint.load(spec, place)
        self.model, self.processor, self.notes = loaded.model, loaded.processor, loaded.notes
        self.laid = [kind for kind, _ in checkpoint.overlays(spec)]
        fits.require_layer(self.model.config.vision_feature_layer, self.model.config.vision_config, spec.text)
        identity.check_finite(self.model, spec.text)
        tokens.require_known(self.processor.tokenizer, self.model.get_input_embeddings().num_embeddings, spec.text)
        self.image_token = self.processor.tokenizer.convert_ids_to_tokens(self.model.config.image_token_id)
        self.asked = template.asked(spec.options, self.model.config)
        self.template = template.named(self.asked["template"], self.processor, self.image_token)
        self.render = self.template.render
        self.pixels = preprocess.pipeline(self.processor.image_processor, self.asked["pad"])
        size = self.model.config.vision_config.image_size
        preprocess.require_read(self.pixels(preprocess.ordinary()), size, spec.text)
        self.yes_no = yes_no_tokens.of_tokenizer(self.processor.tokenizer)
        self.own: Any = self.model.model.vision_tower
        self.own_digest = identity.tower_digest(self.own)
        self.own_projector: Any = self.projector

    @property
    def projector(self) -> Any:
        """The projector that is in use."""
        return self.model.model.multi_modal_projector

    def __call__(self, encoder: Encoder | None) -> Speaker:
        """The LVLM with this encoder's tower, or as it came; ModelError where the tower does not fit."""
        self.put(self.own)
        if encoder is None:
            return Speaker(
                self,
                View(
                    self.own, self.own_projector, {"tower": self.own_digest}, {"tower": "own", "align": self._rungs()}
                ),
            )
        asked = swap.fitting(encoder.tower(), self.own)
        about = encoder.describe()
        fits.require(encoder.spec, asked, about, self.model.config.vision_config, self.processor.image_processor)
        tower, digests = self._carried(encoder.spec, asked)
        swapped = digests["tower"] != self.own_digest
        told = {"tower": "swapped" if swapped else "own tower", "align": self._rungs(self.closed)}
        return Speaker(self, View(tower, self._aligned(tower) if swapped else self.own_projector, digests, told))

    @property
    def closed(self) -> str:
        """The closed form that is to be folded into the projector of every swapped tower; empty where none is."""
        how = self.spec.options.get("align", "none")
        return how if how in closed_forms.CLOSED else ""

    def _rungs(self, closed: str = "") -> str:
        """The rungs of the alignment ladder under a tower: what was laid over, and what is computed."""
        return "+".join(dict.fromkeys([*self.laid, *filter(None, [closed])])) or "none"

    def _aligned(self, tower: Module) -> Module:
        """The projector for this tower: the own one, or one into which a closed-form map was folded."""
        if not self.closed:
            return self.own_projector  # type: ignore[no-any-return]
        projector = copy.deepcopy(self.own_projector)
        images = closed_forms.unlabelled(self.spec.options.get("images", ""))
        projector.load_state_dict(closed_forms.closed(self, tower, self.closed, images))
        return projector  # type: ignore[no-any-return]

    def _carried(self, spec: str, asked: Module) -> tuple[Module, dict[str, str]]:
        """A copy of the asked tower in this LVLM's precision, put in, and the digests of both."""
        tower = swap.copy_like(asked, self.own)
        self.put(tower)
        return tower, swap.proven(self.model.model.vision_tower, asked, spec)

    def put(self, tower: Module, projector: Module | None = None) -> None:
        """Makes this the tower that the LVLM sees through, and this the projector (the own one where none is given)."""
        self.model.model.vision_tower = tower
        self.model.model.multi_modal_projector = projector or self.own_projector

    @functools.cached_property
    def part_digests(self) -> dict[str, str]:
        """SHA-256 of what no swap changes; a large language model's may be an earlier one until ``confirm``."""
        inner = self.model.model
        language = torch.nn.ModuleDict({"language_model": inner.language_model, "lm_head": self.model.lm_head})
        return {
            "language_model": unusual.folded(
                self._language.told(language), unusual.of_config(self.model.config.text_config)
            ),
            "tokenizer": identity.text_digest(self.processor.tokenizer),
        }

    def confirm(self) -> None:
        """Returns once the weights are known to be those that were told; ModelError where they are others."""
        self._language.confirm()

    def describe(self) -> dict[str, Any]:
        """What else decides the answers: template, pixels, precision, layer of the tower that is read."""
        config, processor = self.model.config, self.processor.image_processor
        return {
            **self.asked,
            "tokenised": self.template.way,
            "mean": list(processor.image_mean),
            "std": list(processor.image_std),
            "resolution": config.vision_config.image_size,
            "tower_layer": config.vision_feature_layer,
            "tower_tokens": config.vision_feature_select_strategy,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "decoding": "greedy",
            "inference": inference.way(self.model, self.spec),
            **self._unusual(),
            **self.notes,
        }

    def _unusual(self) -> dict[str, Any]:
        """Settings that are told where they are others than nearly every LLaVA has."""
        processor, side = self.processor.image_processor, self.model.config.vision_config.image_size
        said = unusual.said_of_llava(processor, side, self.asked["pad"] == "pad")
        found: dict[str, Any] = {"pixels": unusual.of_pixels(processor, said)}
        seen, blind = (self.render("?", picture) for picture in (True, False))
        if blind not in (
            seen.replace(f"{token}{gap}", "") for token in (tokens.IMAGE, self.image_token) for gap in "\n "
        ):
            found["without_a_picture"] = blind
        # A chat template is tokenised with this token in the picture's place.
        found |= {"image_token": self.image_token} if self.image_token != tokens.IMAGE else {}
        return {name: value for name, value in found.items() if value}
