"""The reference way to ask: ``generate``, one question at a time or the questions on one image together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from harness.vision_language.greedy import greedily
from harness.vision_language.packed.requests import Completion, ImageRequest, Prompt

Finished = Callable[[Sequence[int], Prompt], bool]


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
                stopping_criteria=StoppingCriteriaList([_AllFinished(prompts, width, self.finished)]),
            )
        for row, prompt in enumerate(prompts):
            yield Completion(
                prompt, self._until_finished(out.sequences[row, width:].tolist(), prompt), out.logits[0][row]
            )

    def _until_finished(self, tokens: list[int], prompt: Prompt) -> tuple[int, ...]:
        for end in range(1, len(tokens) + 1):
            if self.finished(tokens[:end], prompt):
                return tuple(tokens[:end])
        return tuple(tokens)


class _AllFinished(StoppingCriteria):  # type: ignore[misc]
    """Each row ends where its own answer does."""

    def __init__(self, prompts: Sequence[Prompt], width: int, finished: Finished) -> None:
        self.prompts, self.width, self.finished = prompts, width, finished

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        rows = zip(input_ids[:, self.width :].tolist(), self.prompts, strict=True)
        return torch.tensor([self.finished(tokens, prompt) for tokens, prompt in rows], device=input_ids.device)
