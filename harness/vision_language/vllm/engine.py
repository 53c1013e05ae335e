"""A LLaVA whose questions vLLM answers: merged with the tower under test, served beside, asked as any server is."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from harness import registry
from harness.compute import memory
from harness.console import say
from harness.errors import ModelError, UsageError
from harness.prefetch import prefetched
from harness.types import Asked, Encoder, LvlmHost, Place, Reply, Spec
from harness.vision_language import preprocess
from harness.vision_language.layouts import checkpoint, merged
from harness.vision_language.layouts.folder import local
from harness.vision_language.remote import Remote
from harness.vision_language.speaker import Speaker, patch_tokens
from harness.vision_language.vllm import install
from harness.vision_language.vllm.launch import FLAGS, launch
from harness.vision_language.vllm.server import NAME, Server

MODEL = ("template", "pad", "dtype", "projector", "lora", "base", "tower", "align", "images")
"""The options of ``llava`` that say what is merged and how it is asked; the others say how this process computes."""
OWN = ("engine", "concurrency", *FLAGS)
AT_ONCE = {"cpu": 16, "gpu": 64}
"""Questions under way at a time: vLLM 0.32 takes up to 128 on a CPU and 256 or more on a GPU."""
TIMEOUT, RETRIES = 300.0, 2

Make = Callable[[Spec, Place], LvlmHost]


class Engine:
    """Called with an encoder, gives the LVLM that sees through its tower, answered by vLLM; one server at a time.

    ``make`` makes the host that answers in this process; ``settings`` are vLLM's variables, where the user sets none.
    """

    def __init__(
        self, spec: Spec, place: Place, make: Make, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        if spec.options["engine"] != "vllm":
            raise UsageError(f"?engine={spec.options['engine']}: there is vllm; without it this process answers")
        registry.no_more_options(spec, *MODEL, *OWN)
        self.spec, self.place, self.make = spec, place, make
        self.plain = replace(spec, options={key: value for key, value in spec.options.items() if key not in OWN})
        self.found = install.found()
        self.launch = launch(spec, place, self.found, settings)
        self.at_once = registry.whole_number(spec, "concurrency") or AT_ONCE["cpu" if self.found.on_cpu else "gpu"]
        self.server: Server | None = None
        self.held: tuple[Path, Any] | None = None

    def __call__(self, encoder: Encoder | None) -> ServedLlava:
        """The LVLM with this encoder's tower, or as it came; ModelError where the tower does not fit."""
        self.end()
        # on the CPU, whatever vLLM computes on: it needs a GPU's memory for itself
        speaker = self.make(self.plain, Place("cpu", self.dtype))(encoder)
        assert isinstance(speaker, Speaker)
        return ServedLlava(self, speaker, lambda: self.make(self.plain, self.place)(encoder))

    @property
    def own(self) -> str:
        """The spec of the same LVLM answered by this process."""
        options = self.plain.options
        return self.spec.text.partition("?")[0] + (f"?{urlencode(options, safe='/:~')}" if options else "")

    @property
    def dtype(self) -> str:
        """The precision: what is asked for, else as this process would choose on what vLLM computes on."""
        told = self.spec.options.get("dtype", self.place.dtype)
        if told != "auto":
            return told
        stored = checkpoint.stored_dtype(local(self.spec.location))
        return "float32" if self.found.on_cpu else str(stored).removeprefix("torch.")

    def about(self) -> dict[str, Any]:
        """What of vLLM may change the last digits of an answer."""
        return {
            "inference": f"vllm {self.found.version}",
            "kernels": "vLLM's own: last digits are others than this process computes",
            "tensor_parallel": int(self.spec.options.get("tensor_parallel", 1)),
        }

    def serving(self, folder: Path, dtype: str) -> tuple[Server, Remote]:
        """A server of this folder that answers, and the connection to it; the one of another folder is ended."""
        if self.server is None or self.server.folder != folder or not self.server.end.alive:
            self.end()
            say(f"{self.spec.text}: vLLM {self.found.version} starts, its log is {folder.with_suffix('.log')}")
            self.server = Server(self.found, folder, ["--dtype", dtype, *self.launch.words], self.launch.settings)
            self.server.wait()
        there = Spec("openai", self.server.url, {"model": NAME, "folder": str(folder)}, self.spec.text)
        remote = Remote(there, self.server.key, self.at_once, RETRIES, TIMEOUT, 1)
        remote.abandoned = self.server.abandon
        remote.compression = 0  # a picture of a tower's size; the server unpacks it once for each question
        return self.server, remote

    def here(self, folder: Path, load: Callable[[], Any]) -> Any:
        """The LVLM of this folder in this process, loaded when it is first asked for; the server is ended."""
        if self.held is None or self.held[0] != folder:
            self.end()
            self.held = folder, load()
        return self.held[1]

    def end(self) -> None:
        """Ends the server and lets go of the model here, whichever there is: each may need all of the memory."""
        if self.server is not None:
            self.server.end()
            self.server = None
        if self.held is not None:
            self.held = None
            gc.collect()
            memory.let_go()


class ServedLlava:
    """A LLaVA, merged and let go of here, that a server of its engine answers for."""

    def __init__(self, engine: Engine, speaker: Speaker, again: Callable[[], Any]) -> None:
        self.engine, self.spec, self.at_once = engine, engine.spec.text, engine.at_once
        host, config = speaker.host, speaker.host.model.config
        self.folder = merged.folder(speaker)
        self._digests = dict(speaker.digests())
        self._about = {**speaker.describe(), **engine.about()}
        # none of these holds the model, which is let go of
        self._template, self._picture = host.template, [config.image_token_id] * patch_tokens(config)
        self._seen = preprocess.as_read(host.processor.image_processor, host.asked["pad"])
        self._again = again

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, in the order asked."""
        server, remote = self._serving()
        try:
            yield from remote.answers(prefetched(self._shown, asked))
        except ModelError as error:
            if server.died:
                raise server.ended("ended amid the questions (the same command goes on where it stopped)") from error
            raise

    def one_by_one(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample, by this process and a ``generate`` each; vLLM ends, whose memory it may need."""
        yield from self.engine.here(self.folder, self._again).one_by_one(asked)

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it, template and image placeholder included."""
        return self._template.render(prompt, True)

    def prompt_ids(self, one: Asked) -> Sequence[int]:
        """Token ids of the first of these questions as this process makes them, image tokens included."""
        return self._template.ids(self._template.render(one.samples[0].prompt, one.image is not None), self._picture)

    def differs(self, one: Asked, ids: Sequence[int]) -> str | None:
        """How the ids that vLLM reads differ from those the folder is asked with here; None where it shows none."""
        _, remote = self._serving()
        one = self._shown(one)
        there = remote.prompt_ids(one)
        return None if there is None else remote.differs(one, there)

    def digests(self) -> Mapping[str, str]:
        """SHA-256 by part, of what was in memory here and is in the folder that is served."""
        return self._digests

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity: also that vLLM answers, and which."""
        return self._about

    def _serving(self) -> tuple[Server, Remote]:
        return self.engine.serving(self.folder, str(self._about["dtype"]))

    def _shown(self, one: Asked) -> Asked:
        return one if one.image is None else replace(one, image=self._seen(one.image))
