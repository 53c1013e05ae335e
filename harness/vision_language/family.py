"""LVLMs of other families, asked one question at a time through their own processor and ``generate``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from PIL.Image import new as new_image
from safetensors import SafetensorError
from torch.nn import Module
from transformers import AutoModelForImageTextToText, CLIPVisionModel, GenerationConfig, StoppingCriteria
from transformers import StoppingCriteriaList as Criteria

from harness import registry, traces
from harness.compute import devices, weights
from harness.errors import ModelError, UsageError
from harness.types import Answer, Asked, Encoder, Failure, Place, Reply, Sample, Spec
from harness.vision_language import fits, identity, swap, template, unusual, yes_no_tokens
from harness.vision_language.inference import greedily
from harness.vision_language.layouts import checkpoint, floats, original
from harness.vision_language.layouts.folder import first_line, local, require_in_memory
from harness.vision_language.part_digest import PartDigest
from harness.vision_language.tokens import NOT_ITS_PICTURE, spoken

MARKS = ("image_token", "boi_token")
"""Where a processor says what stands for a picture in a text."""


class Family:
    """Any transformers LVLM; called with an encoder it carries that tower where its own is a CLIP ViT."""

    def __init__(self, spec: Spec, place: Place) -> None:
        weights.quietly()
        self.spec, self.tokens = spec, registry.whole_number(spec, "tokens")
        self._whole = PartDigest(spec, place)
        folder = local(spec.location)
        self.how = checkpoint.loading(spec, place, folder)
        self.model = self._loaded(folder)
        require_in_memory(self.model, spec.text)
        if "device_map" not in self.how and "quantization_config" not in self.how:
            self.model.to(devices.device(place))
        self.model.eval()
        identity.check_finite(self.model, spec.text)
        self.processor = checkpoint.processor_of(folder)
        self.bare = self._is_bare()
        self.render: template.Render = (lambda prompt, picture: prompt) if self.bare else template.chat(self.processor)
        self._require_place_for_a_picture()
        self.yes_no = yes_no_tokens.of_tokenizer(self.processor.tokenizer)
        self.own: Any = getattr(getattr(self.model, "model", None), "vision_tower", None)

    def _loaded(self, folder: Any) -> Any:
        try:
            model, told = AutoModelForImageTextToText.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, trust_remote_code=False, **self.how
            )
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise ModelError(f"{folder} cannot be loaded as an LVLM: {first_line(error)}") from error
        missing = {name for name in told["missing_keys"] if "position_ids" not in name}
        weights.require_shapes(str(folder), told)
        floats.require_loaded(str(folder), model)
        original.check_names(str(folder), missing, set())
        return model

    def _is_bare(self) -> bool:
        """Whether questions are asked without a template; UsageError or ModelError where there is no such template."""
        name = self.spec.options.get("template", "chat")
        if name not in ("chat", "bare"):
            raise UsageError(f"?template={name}: there is chat (the model's own) and bare (the question alone)")
        if name == "chat" and template.own_chat(self.processor) is None:
            raise ModelError(f"{self.spec.text}: the model's folder holds no chat template; ?template=bare needs none")
        return name == "bare"

    def read(self, prompt: str, image: Image | None) -> Any:
        """A question as the model's own processor gives it to the model; ValueError where it cannot."""
        # Processors that look for the picture of each mark end in whatever way where there are more than pictures.
        for mark in () if self.bare else filter(None, (getattr(self.processor, name, None) for name in MARKS)):
            if str(mark) in prompt:
                raise ValueError(NOT_ITS_PICTURE.format(mark))
        inputs = self._bare(prompt, image) if self.bare else template.read(self.processor, prompt, image)
        return inputs.to(self.model.device, self.model.dtype)

    def _bare(self, prompt: str, image: Image | None) -> Any:
        pictures = {"images": [image]} if image is not None else {}
        return self.processor(text=[prompt], return_tensors="pt", **pictures)

    def _require_place_for_a_picture(self) -> None:
        try:
            ids = self.read("?", new_image("RGB", (64, 64)))["input_ids"]
        except (ValueError, TypeError) as error:
            raise ModelError(f"{self.spec.text}: its processor cannot read a picture: {first_line(error)}") from error
        token = getattr(self.model.config, "image_token_id", None)
        if token is not None and not (ids == token).any():
            raise ModelError(
                f"{self.spec.text}: the prompt has no place for the picture; use the model's chat template"
            )

    def __call__(self, encoder: Encoder | None) -> FamilySpeaker:
        """The LVLM as it came, or with this encoder's tower; ModelError where the tower does not fit."""
        if encoder is None:
            self.put(self.own)
            return FamilySpeaker(self, self.own, {})
        kind = self.model.config.model_type
        if not isinstance(self.own, CLIPVisionModel):
            raise ModelError(
                f"{self.spec.text} is a {kind} without a CLIP ViT: it is evaluated as it is, without --encoder"
            )
        asked, images = encoder.tower(), self.processor.image_processor
        fits.require(encoder.spec, asked, encoder.describe(), self.own.config, images)
        tower = swap.copy_like(asked, self.own)
        self.put(tower)
        return FamilySpeaker(self, tower, swap.proven(self.model.model.vision_tower, asked, encoder.spec))

    def put(self, tower: Module | None) -> None:
        """Makes this the tower that the LVLM sees through."""
        if tower is not None:
            self.model.model.vision_tower = tower

    @functools.cached_property
    def own_digests(self) -> dict[str, str]:
        """SHA-256 of the whole as it came (an earlier one until ``confirm``), and of a tower that can be swapped."""
        self.put(self.own)
        whole = unusual.folded(self._whole.told(self.model), unusual.of_family(self.model.config))
        found = {"model": whole, "tokenizer": identity.text_digest(self.processor.tokenizer)}
        return found | ({"tower": identity.tower_digest(self.own)} if self.own is not None else {})

    def confirm(self) -> None:
        """Returns once the weights are known to be those that were told; ModelError where they are others."""
        self._whole.confirm()


class FamilySpeaker:
    """A family's model, seeing through one tower."""

    def __init__(self, host: Family, tower: Module | None, swapped: Mapping[str, str]) -> None:
        self.host, self.tower, self.swapped = host, tower, swapped
        self.spec = host.spec.text
        self.tokenizer = host.processor.tokenizer

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, each by a ``generate`` of its own."""
        self.host.put(self.tower)
        for one in asked:
            for sample in one.samples:
                reply = self._answer(one, sample)
                self.host.confirm()
                yield sample, reply

    @torch.inference_mode()
    def _answer(self, one: Asked, sample: Sample) -> Answer | Failure:
        model = self.host.model
        if one.image is None and not _answers_blind(model):
            raise ModelError(f"{self.spec}: {model.config.model_type} answers nothing without a picture")
        try:
            inputs = self.host.read(sample.prompt, one.image)
        except ValueError as error:
            return Failure(first_line(error))
        opened = traces.opened(self.host.render(sample.prompt, one.image is not None))
        tokens = self.host.tokens or sample.tokens
        with greedily(model):
            out = model.generate(
                **inputs,
                generation_config=_settings(model, tokens),
                stopping_criteria=Criteria([_Until(self.tokenizer, sample.until, opened)]) if sample.until else None,
            )
        first = identity.finite(out.logits[0][0], self.spec)
        words = opened + spoken(self.tokenizer, out.sequences[0, -len(out.logits) :].tolist())
        if traces.answer_of(words) is None:
            return Failure(traces.no_answer(words, tokens))
        # The first token of a trace is no word of the answer.
        p_yes = None if traces.has_trace(words) else self.host.yes_no.p_yes(first)
        return Answer(traces.cut(words, sample.until), p_yes)

    def prompt_ids(self, one: Asked) -> list[int] | None:
        """Token ids of the first of these questions as the model reads them; None where it cannot be read."""
        try:
            ids: list[int] = self.host.read(one.samples[0].prompt, one.image)["input_ids"][0].tolist()
        except ValueError:
            return None
        return ids

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it."""
        return self.host.render(prompt, True)

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the model as it came, and of the towers in memory and asked for."""
        return {**self.host.own_digests, **self.swapped}

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""
        model, told = self.host.model, self.host.model.generation_config.eos_token_id
        pixels = unusual.of_pixels_of_class(self.host.processor.image_processor)
        return {
            "family": model.config.model_type,
            "template": self.host.spec.options.get("template", "chat"),
            "dtype": str(model.dtype).removeprefix("torch."),
            "decoding": "greedy",
            "tower": "swapped" if self.swapped else "own",
            **({"tokens": self.host.tokens} if self.host.tokens else {}),
            **({"pixels": pixels} if pixels else {}),
            **unusual.of_ends({*(told if isinstance(told, list) else [told])} - {None}, self.tokenizer),
        }


def _answers_blind(model: Any) -> bool:
    """Whether this family takes a question without a picture; the BLIPs do not."""
    asked = inspect.signature(model.generate).parameters.get("pixel_values")
    return asked is None or asked.default is not asked.empty


def _settings(model: Any, tokens: int) -> GenerationConfig:
    told = model.generation_config
    return GenerationConfig(
        max_new_tokens=tokens,
        output_logits=True,
        return_dict_in_generate=True,
        eos_token_id=told.eos_token_id,
        pad_token_id=told.pad_token_id if told.pad_token_id is not None else 0,
    )


class _Until(StoppingCriteria):  # type: ignore[misc]
    """Ends an answer with the text that ends it, looked for when it is among the last token; a trace is not ended."""

    def __init__(self, tokenizer: Any, until: str, opened: str) -> None:
        self.tokenizer, self.until, self.opened = tokenizer, until, opened
        self.new = 0

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        self.new += 1
        last = self.tokenizer.decode(input_ids[0, -1:], skip_special_tokens=True)
        over = self.until in last and self._answered(input_ids[0, -self.new :].tolist())
        return torch.tensor([over], device=input_ids.device)

    def _answered(self, ids: Sequence[int]) -> bool:
        return traces.ended(self.opened + spoken(self.tokenizer, ids), self.until)
