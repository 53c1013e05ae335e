"""An LVLM that answers: samples in, rendered and tokenised; new tokens out, read as words and as p(yes)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from harness import traces
from harness.prefetch import prefetched
from harness.types import Answer, Asked, Failure, Reply
from harness.vision_language import fits, identity, inference, unusual
from harness.vision_language.inference import GenerateDecoder
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.requests import Completion, ImageRequest, Prompt
from harness.vision_language.tokens import spoken

if TYPE_CHECKING:
    from harness.vision_language.host import Host


@dataclass(frozen=True)
class View:
    """What a host's language model sees through: a tower and a projector, and how they came to be there."""

    tower: Module
    projector: Module
    digests: Mapping[str, str]
    about: Mapping[str, Any]


class Speaker:
    """A host's language model, seeing through one tower and projector."""

    def __init__(self, host: Host, view: View) -> None:
        self.host, self.view = host, view
        self.spec = host.spec.text
        self.tokenizer = host.processor.tokenizer
        self.ends = ends(host.model, self.tokenizer)
        self.tokenising = threading.Lock()  # a fast tokenizer that is set up anew while it is read raises

    @property
    def batch(self) -> int:
        """How many images are computed together; 0 where each answer stands alone."""
        return inference.batch(self.host.model, self.host.spec, self.host.place)

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, as they come."""
        self.look()
        host = self.host
        packed = inference.decoder(host.model, self.finished, host.spec, host.place, host.yes_no.of_all)
        yield from self._answers(packed, asked)

    def one_by_one(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, each by a ``generate`` of its own: what other ways are verified against."""
        self.look()
        yield from self._answers(GenerateDecoder(self.host.model, self.finished), asked)

    def _answers(self, decoder: PackedDecoder | GenerateDecoder, asked: Iterable[Asked]) -> Iterator[Reply]:
        for said in decoder.answers(prefetched(self.request, asked)):
            self.host.confirm()
            yield said.prompt.key, self.answer(said)

    def look(self) -> None:
        """Puts this tower and this projector into the host, where another speaker's may be."""
        self.host.put(self.view.tower, self.view.projector)

    def request(self, one: Asked) -> ImageRequest:
        """An image and its questions as the model reads them; made in threads, ahead of the model."""
        picture = one.image is not None
        pixels = None if one.image is None else self.host.pixels(one.image)
        with self.tokenising:
            prompts = tuple(
                Prompt(sample, self.tokens(self.host.render(sample.prompt, picture)), sample.tokens, sample.until)
                for sample in one.samples
            )
        return ImageRequest(pixels, prompts)

    def tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of a rendered prompt, one image token for each patch token of the tower."""
        config = self.host.model.config
        return tuple(self.host.template.ids(text, [config.image_token_id] * patch_tokens(config)))

    def prompt_ids(self, one: Asked) -> Sequence[int]:
        """Token ids of the first of these questions as the model reads them, image tokens included."""
        return self.tokens(self.host.render(one.samples[0].prompt, one.image is not None))

    def finished(self, tokens: Sequence[int], prompt: Prompt) -> bool:
        """Whether an answer ends with these tokens."""
        if tokens and tokens[-1] in self.ends:
            return True
        return bool(prompt.until) and traces.ended(self.text(tokens), prompt.until)

    def text(self, tokens: Sequence[int]) -> str:
        """The words of these tokens."""
        return spoken(self.tokenizer, tokens)

    def answer(self, said: Completion) -> Answer | Failure:
        """What was said, up to and with the text that ends it; a Failure where the tokens ended within a trace."""
        if said.read is None:
            identity.finite(said.first, self.spec)
        words = self.text(said.tokens)
        if traces.answer_of(words) is None:
            return Failure(traces.no_answer(words, said.prompt.limit))
        p_yes = self.host.yes_no.p_yes(said.first) if said.read is None else said.read
        p_yes = None if traces.has_trace(words) else p_yes
        return Answer(traces.cut(words, said.prompt.until), p_yes)

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it, template and image placeholder included."""
        return self.host.render(prompt, True)

    def digests(self) -> Mapping[str, str]:
        """SHA-256 by part, of what is in memory; ``tower_asked`` is the encoder's own.

        A large language model's may be that of its last run: no answer is given before it is known to be the same.
        """
        projector = unusual.projector_digest(self.view.projector, self.host.model.config)
        return {**self.view.digests, "projector": projector, **self.host.part_digests}

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""
        return {**self.host.describe(), **unusual.of_ends(self.ends, self.tokenizer), **self.view.about}


def patch_tokens(config: Any) -> int:
    """How many tokens an image takes in the prompt."""
    return fits.image_tokens(config)


def ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the model's generation settings and its tokenizer."""
    told = model.generation_config.eos_token_id
    listed = told if isinstance(told, list) else [told]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)
