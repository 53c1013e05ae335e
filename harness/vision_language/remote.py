"""Ask an LVLM behind a server, many questions at once, the questions on one image after one another."""

from __future__ import annotations

import base64
import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import httpx
from PIL.Image import Image

from harness import digest, registry
from harness.console import say
from harness.errors import ModelError
from harness.types import Answer, Asked, Failure, Reply, Sample, Spec
from harness.vision_language import chat_reply, served
from harness.vision_language.chat_reply import Heard
from harness.vision_language.served import PROBE

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 60.0
PATIENCE = 10
"""Timeouts after which a reply that comes in drops is given up; one timeout is the longest wait for a drop."""
TOP = 20


class Connection:
    """The connections to a server that all questions of a run share, and what is known of the server's health."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.lost = 0
        """Requests in a row, over all threads, that got no response at all."""

    def heard(self) -> None:
        """The server responds."""
        with self.lock:
            self.lost = 0

    def unheard(self) -> int:
        """The server did not respond; how often in a row."""
        with self.lock:
            self.lost += 1
            return self.lost


class Remote:
    """An OpenAI-compatible server as an LVLM."""

    def __init__(
        self, spec: Spec, key: str, concurrency: float, retries: float, timeout: float, backoff: float
    ) -> None:  # fmt: skip
        self.spec, self.url, self.model = spec.text, spec.location.rstrip("/"), spec.options["model"]
        self.concurrency, self.retries, self.backoff = int(concurrency), int(retries), backoff
        self.tokens = registry.whole_number(spec, "tokens")
        self.wants_logprobs = spec.options.get("logprobs", "yes") != "no"
        self.folder = spec.options.get("folder", "")
        self.key = key
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.timeout = timeout
        self.shortened = threading.Event()
        self.compression = 1
        """How hard pictures are packed, from 0 to 9: what is sent far is worth more work than what stays here."""
        self.abandoned: Callable[[], None] = lambda: None
        """Called where nobody waits for the questions under way any more: who can may end the server's work on them."""

    def client(self) -> httpx.Client:
        """A connection to the server, with the key."""
        limits = httpx.Limits(max_connections=self.concurrency)
        return httpx.Client(headers=self.headers, timeout=self.timeout, limits=limits)

    @cached_property
    def logprobs(self) -> bool:
        """Whether the server gives log-probabilities: asked once, so that p(yes) is there for a whole run or not."""
        if not self.wants_logprobs:
            return False
        sample = Sample("probe", None, "", prompt=PROBE, tokens=1)
        with self.client() as client:
            line = Connection(client)
            response = self._post(line, self.body(sample, "", True))
            if isinstance(response, Failure):
                raise ModelError(f"{self.url}: {response.reason}")
            self._require_found(response)
            if response.ok:
                return chat_reply.gives_logprobs(response)
            plain = self._post(line, self.body(sample, "", False))
        # Refused either way, it is a question without a picture that the server does not take.
        return not (isinstance(plain, Heard) and plain.ok)

    @cached_property
    def lacks_start(self) -> bool | None:
        """Whether the server reads chats without their start token; None where it does not show what it reads."""
        with self.client() as client:
            return served.lacks_start(client, self.url, self.model)

    @property
    def start_token(self) -> Mapping[str, bool]:
        """What a request says so that the start token stands before the prompt: nothing where it does by itself."""
        return {"add_special_tokens": True} if self.lacks_start else {}

    @cached_property
    def served_folder(self) -> served.Folder | None:
        """The folder that is served, where it lies on this machine."""
        with self.client() as client:
            return served.folder(client, self.url, self.model, self.folder)

    def prompt_ids(self, one: Asked) -> list[int] | None:
        """Token ids of the first of these questions, by the server's word; None where it shows none."""
        if self.lacks_start is None:
            return None
        body = self.body(one.samples[0], data_url(one.image, self.compression) if one.image is not None else "", False)
        with self.client() as client:
            reply = self._post(Connection(client), body | {"max_tokens": 1, "return_token_ids": True})
            if isinstance(reply, Failure):
                return None
            ids = served.ids_in(reply.text, "prompt_token_ids") if reply.ok else None
            asked = {"model": body["model"], "messages": body["messages"], **self.start_token}
            return ids if ids is not None else served.tokenised(client, self.url, asked)

    def differs(self, one: Asked, ids: Sequence[int]) -> str | None:
        """How these ids differ from those that the served folder is asked with here; "" where they are the same.

        None where the folder does not lie here, or has no chat template.
        """
        folder = self.served_folder
        return folder.differs(ids, one.samples[0].prompt, one.image) if folder else None

    def require_server(self) -> None:
        """ModelError where no server answers at the address, or it does not take the key."""
        try:
            with self.client() as client, client.stream("GET", f"{self.url}/models") as response:
                self._require_access(response.status_code)
        except httpx.RequestError as error:
            raise ModelError(f"no server answers at {self.url}: {chat_reply.masked(str(error), self.key)}") from error

    def _require_found(self, reply: Heard) -> None:
        self._require_access(reply.status)
        if reply.status == 404:
            raise ModelError(f"{self.url} has no chat completions of a model '{self.model}' (HTTP 404)")

    def _require_access(self, status: int) -> None:
        if status in (401, 403):
            raise ModelError(f"{self.url} refuses the key (HTTP {status}): set OPENAI_API_KEY, or ?key_env=VARIABLE")

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """A reply for every sample; so many are under way at once that the server can batch, in the order asked."""
        under_way: deque[tuple[Sample, Future[Answer | Failure]]] = deque()
        logprobs = self.logprobs
        with self.client() as client, ThreadPoolExecutor(self.concurrency) as pool:
            line = Connection(client)
            try:
                for sample, url in self._questions(asked):
                    under_way.append((sample, pool.submit(self.ask, line, sample, url, logprobs)))
                    if len(under_way) >= 2 * self.concurrency:
                        first, reply = under_way.popleft()
                        yield first, reply.result()
                while under_way:
                    first, reply = under_way.popleft()
                    yield first, reply.result()
            except BaseException:
                line.stop.set()
                self.abandoned()
                raise
            finally:
                line.stop.set()
                for _, waiting in under_way:
                    waiting.cancel()

    def _questions(self, asked: Iterable[Asked]) -> Iterator[tuple[Sample, str]]:
        for one in asked:
            url = data_url(one.image, self.compression) if one.image is not None else ""
            for sample in one.samples:
                yield sample, url

    def ask(self, line: Connection, sample: Sample, url: str, logprobs: bool) -> Answer | Failure:
        """The answer to one question, or why there is none."""
        body = self.body(sample, url, logprobs)
        reply = self._fitting(line, body)
        if isinstance(reply, Heard) and reply.status == 400 and logprobs and not reply.too_long():
            # Perhaps it is the log-probabilities of this question that are refused.
            reply = self._fitting(line, self.body(sample, url, False))
        if isinstance(reply, Failure):
            return reply
        self._require_found(reply)
        if not reply.ok:
            return Failure(reply.told())
        return chat_reply.read(reply, sample.until, body.get("max_tokens", 0), self.key)

    def _fitting(self, line: Connection, body: dict[str, Any]) -> Heard | Failure:
        """The reply to a request; where its answer does not fit into the server's context, to one for what fits.

        Where the server does not say how much that is, half as much is asked for, and half again.
        """
        reply = self._post(line, body)
        while isinstance(reply, Heard) and reply.too_long() and body["max_tokens"] > 1:
            wanted, told = body["max_tokens"], reply.fits()
            if told is not None and told < 1:
                break  # the question alone is too long
            body["max_tokens"] = told if told is not None and told < wanted else wanted // 2
            reply = self._post(line, body)
            if isinstance(reply, Heard) and reply.ok and not self.shortened.is_set():
                self.shortened.set()
                say(
                    f"{self.spec}: the server's context is too small for answers of {wanted} tokens: each is asked for "
                    f"as many as fit, here {body['max_tokens']}"
                )
        return reply

    def body(self, sample: Sample, url: str, logprobs: bool) -> dict[str, Any]:
        """The request: one user turn, the image before the words, greedy."""
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}] if url else []
        content.append({"type": "text", "text": sample.prompt})
        asked = {"logprobs": True, "top_logprobs": TOP} if logprobs else {}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.tokens or sample.tokens,
            "temperature": 0,
            "seed": 0,
            "stream": False,
            **self.start_token,
            **asked,
        }

    def _post(self, line: Connection, body: Mapping[str, Any]) -> Heard | Failure:
        """The server's reply; it is asked again, ever more patiently, while it is busy or out of reach."""
        wait, reason, lost = 0.0, "", 0
        for attempt in range(self.retries + 1):
            if line.stop.wait(wait):
                raise self._gone()
            wait = min(LONGEST_WAIT, self.backoff * 2**attempt)
            try:
                with line.client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                    reply = chat_reply.heard(response, self.key, PATIENCE * self.timeout)
            except httpx.TransportError as error:
                reason, lost = chat_reply.masked(f"{type(error).__name__}: {error}", self.key), line.unheard()
                continue
            except httpx.RequestError as error:  # it replied, and the reply is damaged: bad gzip, redirects in a circle
                return Failure(chat_reply.masked(f"the server's reply cannot be read: {error}", self.key))
            line.heard()
            lost = 0
            if reply.status not in AGAIN:
                return reply
            reason = reply.told()
            wait = max(wait, min(LONGEST_WAIT, reply.wait))
        if lost and self._silent(lost):
            line.stop.set()
            raise self._gone()
        return Failure(f"no answer after {self.retries + 1} attempts; the last: {reason}")

    def _silent(self, lost: int) -> bool:
        """Whether the server is lost and not one question: it lists no models, or nothing gets through any more."""
        if lost >= 2 * self.concurrency * (self.retries + 1):
            return True
        try:
            self.require_server()
        except ModelError:
            return True
        return False

    def _gone(self) -> ModelError:
        return ModelError(f"the server at {self.url} is gone; the same command goes on where it stopped")

    def render(self, prompt: str) -> str:
        """The prompt as it is sent; the template is the server's own."""
        return prompt

    def digests(self) -> Mapping[str, str]:
        """What is known of the weights: where they are served and under which name."""
        return {"server": digest.of_json([self.url, self.model])}

    def describe(self) -> Mapping[str, Any]:
        """How it is asked."""
        return {
            "url": self.url,
            "model": self.model,
            "decoding": "greedy",
            "seed": 0,
            "image": "png, as a data URL",
            "logprobs": self.logprobs,
            "start_token": "asked for" if self.start_token else "the server's own affair",
            **({"tokens": self.tokens} if self.tokens else {}),
        }


def data_url(image: Image, compression: int) -> str:
    """The image as a data URL, to the pixel."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=compression)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
