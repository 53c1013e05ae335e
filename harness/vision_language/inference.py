"""How an LVLM's questions are computed: packed into trees, or by transformers' ``generate``, the reference way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from harness.errors import UsageError
from harness.types import Place, Spec
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.forward import why_not_packed
from harness.vision_language.packed.kv_cache import full_batch
from harness.vision_language.packed.requests import Completion, ImageRequest, Prompt

Finished = Callable[[Sequence[int], Prompt], bool]
WAYS = ("packed", "plain")


def way(model: Any, spec: Spec) -> str:
    """``packed``, or ``plain`` where the spec asks for it, or ``plain: `` and why this model cannot be packed."""
    asked = spec.options.get("inference", "packed")
    if asked not in WAYS:
        raise UsageError(f"?inference={asked}: there is packed (trees of questions) and plain (one by one)")
    if asked == "plain":
        return "plain"
    why = why_not_packed(model)
    return f"plain: {why}" if why else "packed"


def batch(model: Any, spec: Spec, place: Place) -> int:
    """How many images are computed together; 0 where every question is asked by itself."""
    if way(model, spec) == "packed":
        return full_batch(model.device, place.batch_size)
    return int(place.batch_size > 1)


def decoder(
    model: Any, finished: Finished, spec: Spec, place: Place, read: Callable[[Tensor], Tensor | None]
) -> PackedDecoder | GenerateDecoder:
    """What answers this model's prompts, the way that suits it; ``read`` is what to read of first tokens' logits."""
    if way(model, spec) == "packed":
        return PackedDecoder(model, finished, place.batch_size, read)
    return GenerateDecoder(model, finished, max(1, place.batch_size))


class GenerateDecoder:
    """Greedy answers by ``generate``; ``together`` is how many questions on an image share a call."""

    def __init__(self, model: Any, finished: Finished, together: int = 1) -> None:
        self.model, self.finished, self.together = model, finished, together

    def answers(self, requests: Iterable[ImageRequest]) -> Iterator[Completion]:
        """What was said to every prompt, in order."""
        for request in requests:
            for start in range(0, len(request.prompts), self.together):
                yield from self._batch(request.pixels, request.prompts[start : start + self.together])

    @torch.inference_mode()
    def _batch(self, pixels: Tensor | None, prompts: Sequence[Prompt]) -> Iterator[Completion]:
        model = self.model
        width = max(len(prompt.tokens) for prompt in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt.tokens) :] = torch.tensor(prompt.tokens)
            mask[row, width - len(prompt.tokens) :] = 1
        inputs: dict[str, Any] = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
        if pixels is not None:
            inputs["pixel_values"] = pixels[None].expand(len(prompts), *pixels.shape).to(model.device, model.dtype)
        limit = max(prompt.limit for prompt in prompts)
        with greedily(model):
            out = model.generate(
                **inputs,
                generation_config=GenerationConfig(
                    max_new_tokens=limit, output_logits=True, return_dict_in_generate=True, pad_token_id=0
                ),
                stopping_criteria=StoppingCriteriaList([_AllFinished(prompts, width, self._ended)]),
            )
        for row, prompt in enumerate(prompts):
            yield Completion(prompt, self._until_ended(out.sequences[row, width:].tolist(), prompt), out.logits[0][row])

    def _until_ended(self, tokens: list[int], prompt: Prompt) -> tuple[int, ...]:
        ends = (end for end in range(1, len(tokens) + 1) if self._ended(tokens[:end], prompt))
        return tuple(tokens[: next(ends, len(tokens))])

    def _ended(self, tokens: Sequence[int], prompt: Prompt) -> bool:
        """Whether an answer is over, if only at its own limit: others of its call may have a higher one."""
        return len(tokens) >= prompt.limit or self.finished(tokens, prompt)


class _AllFinished(StoppingCriteria):  # type: ignore[misc]
    """Each row ends where its own answer does."""

    def __init__(self, prompts: Sequence[Prompt], width: int, finished: Finished) -> None:
        self.prompts, self.width, self.finished = prompts, width, finished

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        rows = zip(input_ids[:, self.width :].tolist(), self.prompts, strict=True)
        return torch.tensor([self.finished(tokens, prompt) for tokens, prompt in rows], device=input_ids.device)


_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


@contextmanager
def greedily(model: Any) -> Iterator[None]:
    """While this is open, ``generate`` knows of the model's own settings only which tokens begin and end a text.

    ``generate`` fills what a call leaves open from the model: a repetition penalty (Qwen2.5-VL), beams, a shortest
    length. They are part of no prompt and would make other answers than the likeliest ones.
    """
    told = {part: part.generation_config for part in model.modules() if _has_settings(part)}
    try:
        for part, settings in told.items():
            part.generation_config = GenerationConfig(**{name: getattr(settings, name) for name in _KEPT})
        yield
    finally:
        for part, settings in told.items():
            part.generation_config = settings


def _has_settings(part: Any) -> bool:
    return isinstance(getattr(part, "generation_config", None), GenerationConfig)
