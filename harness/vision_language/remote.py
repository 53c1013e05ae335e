"""Ask an LVLM behind a server, many questions at once, the questions on one image after one another."""

from __future__ import annotations

import base64
import io
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import httpx
from PIL.Image import Image

from harness import digest
from harness.errors import DegenerateError, ModelError
from harness.types import Answer, Asked, Failure, Reply, Sample, Spec

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 60.0
TOP = 20
PROBE = "Is the sky blue? Answer yes or no."


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
        self.wants_logprobs = spec.options.get("logprobs", "yes") != "no"
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.timeout = timeout

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
            if response.is_success:
                return gives_logprobs(response)
            plain = self._post(line, self.body(sample, "", False))
        # Refused either way, it is a question without a picture that the server does not take.
        return not (isinstance(plain, httpx.Response) and plain.is_success)

    def require_server(self) -> None:
        """ModelError where no server answers at the address, or it does not take the key."""
        try:
            with self.client() as client:
                response = client.get(f"{self.url}/models")
        except httpx.TransportError as error:
            raise ModelError(f"no server answers at {self.url}: {error}") from error
        self._require_access(response)

    def _require_found(self, response: httpx.Response) -> None:
        self._require_access(response)
        if response.status_code == 404:
            raise ModelError(f"{self.url} has no chat completions of a model '{self.model}' (HTTP 404)")

    def _require_access(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            raise ModelError(
                f"{self.url} refuses the key (HTTP {response.status_code}): set OPENAI_API_KEY, or ?key_env=VARIABLE"
            )

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
            finally:
                line.stop.set()
                for _, waiting in under_way:
                    waiting.cancel()

    def _questions(self, asked: Iterable[Asked]) -> Iterator[tuple[Sample, str]]:
        for one in asked:
            url = data_url(one.image) if one.image is not None else ""
            for sample in one.samples:
                yield sample, url

    def ask(self, line: Connection, sample: Sample, url: str, logprobs: bool) -> Answer | Failure:
        """The answer to one question, or why there is none."""
        response = self._post(line, self.body(sample, url, logprobs))
        if isinstance(response, httpx.Response) and response.status_code == 400 and logprobs:
            # Perhaps it is the log-probabilities of this question that are refused.
            response = self._post(line, self.body(sample, url, False))
        if isinstance(response, Failure):
            return response
        self._require_found(response)
        if not response.is_success:
            return Failure(f"HTTP {response.status_code}: {response.text[:200]}")
        return read(response, sample.until)

    def body(self, sample: Sample, url: str, logprobs: bool) -> dict[str, Any]:
        """The request: one user turn, the image before the words, greedy."""
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}] if url else []
        content.append({"type": "text", "text": sample.prompt})
        asked = {"logprobs": True, "top_logprobs": TOP} if logprobs else {}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": sample.tokens,
            "temperature": 0,
            "seed": 0,
            "stream": False,
            **asked,
        }

    def _post(self, line: Connection, body: Mapping[str, Any]) -> httpx.Response | Failure:
        """The server's response; it is asked again, ever more patiently, while it is busy or out of reach."""
        wait, reason, lost = 0.0, "", 0
        for attempt in range(self.retries + 1):
            if line.stop.wait(wait):
                raise self._gone()
            wait = min(LONGEST_WAIT, self.backoff * 2**attempt)
            try:
                response = line.client.post(f"{self.url}/chat/completions", json=body)
            except httpx.TransportError as error:
                reason, lost = f"{type(error).__name__}: {error}", line.unheard()
                continue
            line.heard()
            lost = 0
            if response.status_code not in AGAIN:
                return response
            reason = f"HTTP {response.status_code}: {response.text[:200]}"
            wait = max(wait, min(LONGEST_WAIT, told_to_wait(response)))
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
        }


def data_url(image: Image) -> str:
    """The image as a data URL, to the pixel."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def told_to_wait(response: httpx.Response) -> float:
    """How many seconds the server asks to be left alone."""
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:  # a date
        return 0.0


def read(response: httpx.Response, until: str) -> Answer | Failure:
    """The answer in a response, and p(yes) where it holds log-probabilities."""
    try:
        choice = response.json()["choices"][0]
        words = choice["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Failure(f"the server's response is no chat completion: {response.text[:200]}")
    if not isinstance(words, str) or not words.strip():
        return Failure(f"the server gave no words (finish_reason {choice.get('finish_reason')})")
    words = words.strip()
    if until and until in words:
        words = words[: words.index(until) + len(until)]
    return Answer(words, p_yes(choice.get("logprobs")))


def gives_logprobs(response: httpx.Response) -> bool:
    """Whether the response holds log-probabilities; some servers take the request for them and give none."""
    try:
        return bool(response.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"])
    except (ValueError, LookupError, TypeError):
        return False


def p_yes(told: Mapping[str, Any] | None) -> float | None:
    """Mass of yes by mass of yes and no among the first token's likeliest; None where neither is among them."""
    content = (told or {}).get("content") or [{}]
    mass = {"yes": 0.0, "no": 0.0}
    for one in content[0].get("top_logprobs") or ():
        word = one["token"].strip("▁Ġ \n\t").lower()
        if word in mass:
            mass[word] += math.exp(one["logprob"])
    total = sum(mass.values())
    if math.isnan(total):
        raise DegenerateError("the server's log-probabilities are not finite")
    return mass["yes"] / total if total else None
