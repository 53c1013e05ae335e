"""An LVLM that answers: samples in, rendered and tokenised; new tokens out, read as words and as p(yes)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from harness import traces
from harness.prefetch import prefetched
from harness.types import Answer, Asked, Failure, Reply, Sample
from harness.vision_language import fits, identity, inference, unusual
from harness.vision_language.inference import GenerateDecoder
from harness.vision_language.packed.decode import PackedDecoder
from harness.vision_language.packed.requests import Completion, ImageRequest, Prompt
from harness.vision_language.tokens import IMAGE, NOT_ITS_PICTURE, spoken

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
        failed: deque[Reply] = deque()
        for said in decoder.answers(self._requests(asked, failed)):
            self.host.confirm()
            yield said.prompt.key, self.answer(said)
            yield from _emptied(failed)
        yield from _emptied(failed)

    def _requests(self, asked: Iterable[Asked], failed: deque[Reply]) -> Iterator[ImageRequest]:
        """What is asked of the model; into ``failed`` goes what it cannot be asked."""
        for request, unread in prefetched(self._read, asked):
            failed.extend(unread)
            if request.prompts:
                yield request

    def look(self) -> None:
        """Puts this tower and this projector into the host, where another speaker's may be."""
        self.host.put(self.view.tower, self.view.projector)

    def request(self, one: Asked) -> ImageRequest:
        """An image and those of its questions that can be asked, as the model reads them."""
        return self._read(one)[0]

    def _read(self, one: Asked) -> tuple[ImageRequest, list[Reply]]:
        """The request, and a Failure for each question that cannot be asked; made in threads, ahead of the model."""
        pixels = None if one.image is None else self.host.pixels(one.image)
        places = 0 if one.image is None else patch_tokens(self.host.model.config)
        prompts: list[Prompt] = []
        unread: list[Reply] = []
        for sample in one.samples:
            with self.tokenising:
                ids = self.prompt_ids(replace(one, samples=(sample,)))
            if ids.count(self.host.model.config.image_token_id) == places:
                prompts.append(Prompt(sample, ids, sample.tokens, sample.until))
            else:
                unread.append((sample, Failure(NOT_ITS_PICTURE.format(self._mark(sample)))))
        return ImageRequest(pixels, tuple(prompts)), unread

    def _mark(self, sample: Sample) -> str:
        """What a question writes in which this LVLM reads a picture."""
        return IMAGE if IMAGE in sample.prompt else str(self.host.image_token)

    def tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of a rendered prompt, one image token for each patch token of the tower."""
        config = self.host.model.config
        return tuple(self.host.template.ids(text, [config.image_token_id] * patch_tokens(config)))

    def prompt_ids(self, one: Asked) -> tuple[int, ...]:
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


def _emptied(failed: deque[Reply]) -> Iterator[Reply]:
    while failed:
        yield failed.popleft()


def patch_tokens(config: Any) -> int:
    """How many tokens an image takes in the prompt."""
    return fits.image_tokens(config)


def ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the model's generation settings and its tokenizer."""
    told = model.generation_config.eos_token_id
    listed = told if isinstance(told, list) else [told]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)
