"""Texts as token ids, by the tokenizer a model came with: start, words, end, no padding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from harness import digest
from harness.vision_language import tokenizing

Ids = list[list[int]]


class Words(Protocol):
    """What turns texts into token ids."""

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Token ids of each text, the end token last."""

    def cut(self, texts: Sequence[str]) -> int:
        """How many of these texts come to more tokens than the tower reads."""

    def told(self) -> str:
        """The digest of all by which texts become ids; empty where it goes without saying (``tokenizing.OF_CLIPS``)."""

    def save(self, folder: Path) -> None:
        """Writes a transformers tokenizer that gives the same ids."""


class HubWords:
    """The tokenizer of a transformers folder."""

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Token ids of each text, the end token last, cut to what the tower can read."""
        return self.tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]  # type: ignore[no-any-return]

    def cut(self, texts: Sequence[str]) -> int:
        """How many of these texts come to more tokens than the tower reads."""
        longer = self.tokenizer(list(texts), truncation=True, max_length=self.length + 1)["input_ids"]
        return sum(len(ids) > self.length for ids in longer)

    def told(self) -> str:
        """The digest of all by which texts become ids; empty where it goes without saying."""
        return tokenizing.of_clip(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Writes the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)


class OpenClipWords:
    """The tokenizer that open_clip has for a model; a row ends at the token that the model pools."""

    def __init__(self, tokenizer: Any, end: int | None) -> None:
        self.tokenizer, self.end = tokenizer, end

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Token ids of each text, the pooled token last."""
        return self._ids(texts, self.tokenizer.context_length)

    def cut(self, texts: Sequence[str]) -> int:
        """How many of these texts come to more tokens than the tower reads."""
        length = self.tokenizer.context_length
        return sum(len(ids) > length for ids in self._ids(texts, length + 1))

    def _ids(self, texts: Sequence[str], length: int) -> Ids:
        rows = self.tokenizer(list(texts), context_length=length)
        ends = rows.argmax(-1) if self.end is None else (rows == self.end).int().argmax(-1)
        return [row[: end + 1].tolist() for row, end in zip(rows, ends.tolist(), strict=True)]

    def told(self) -> str:
        """The digest of all by which texts become ids; empty where it goes without saying."""
        return of_open_clip(self.tokenizer)

    def save(self, folder: Path) -> None:
        """Writes a transformers tokenizer with the same vocabulary."""
        _in_transformers(self.tokenizer).save_pretrained(folder)


def of_open_clip(tokenizer: Any) -> str:
    """The digest of all by which a tokenizer of open_clip reads; empty where it goes without saying."""
    inner = _in_transformers(tokenizer)
    clean = "_clean_whitespace" if inner is getattr(tokenizer, "tokenizer", None) else "_clean_lower"
    usual = {"clean_fn": clean, "reduction_fn": None, "strip_sep_token": False, "tokenizer_mode": ""}
    own = {name: getattr(tokenizer, name, value) for name, value in usual.items()}
    own = {name: getattr(value, "__name__", value) for name, value in own.items()}
    more = {name: str(value) for name, value in own.items() if value != usual[name]}
    found = tokenizing.of_clip(inner)
    return digest.of_json([found, more]) if more else found


def _in_transformers(tokenizer: Any) -> Any:
    """transformers' tokenizer with the vocabulary of this one of open_clip."""
    return _hub_tokenizer(tokenizer) if hasattr(tokenizer, "bpe_ranks") else tokenizer.tokenizer


def _hub_tokenizer(simple: Any) -> Any:
    """OpenAI's byte-pair vocabulary, as open_clip ships it, in transformers' tokenizer."""
    from transformers import CLIPTokenizer

    merges = [pair for pair, _ in sorted(simple.bpe_ranks.items(), key=lambda item: item[1])]
    hub = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {hub.get(word, word): number for word, number in simple.encoder.items()}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=simple.context_length)
