"""The words of a text with their parts of speech, as NLTK's tokenizer and tagger see them, remembered by text."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import digest
from harness.data import cache_dir
from harness.errors import DataError

PACKAGES = ("punkt_tab", "averaged_perceptron_tagger_eng", "wordnet")

Tagged = list[tuple[str, str]]


def missing(error: LookupError | str) -> DataError:
    """What to raise where NLTK's data is not there: what is needed, and the one command that fetches it."""
    lines = [line.strip() for line in str(error).splitlines()]
    name = next((line.split()[1].strip("'") for line in lines if line.startswith("Resource ")), "data")
    return DataError(
        f"NLTK's {name} is not on this machine: `ohd-bench data prepare nltk` fetches it "
        "(offline: --from DIR), or set NLTK_DATA to the folder that holds it"
    )


@cache
def tagged(text: str) -> Tagged:
    """Each token of the text with its Penn Treebank tag; DataError where NLTK's data is absent."""
    return [(token, tag) for token, tag in remembered("tags", text, _tag)]


@cache
def nouns(text: str) -> list[str]:
    """The tokens of the text that are tagged as nouns; DataError where NLTK's data is absent."""
    return remembered("nouns", text, lambda text: [token for token, tag in _tag(text) if tag.startswith("NN")])  # type: ignore[no-any-return]


def _tag(text: str) -> Tagged:
    import nltk

    try:
        return nltk.pos_tag(nltk.word_tokenize(text))  # type: ignore[no-any-return]
    except LookupError as error:
        raise missing(error) from error


# The parts of speech that WordNet knows, by the first letter of the Penn Treebank's tag; all else is read as a noun.
_WORDNET = {"J": "a", "V": "v", "N": "n", "R": "r"}


@cache
def lemmas(text: str) -> list[str]:
    """Each token of the text as WordNet's lemma for its part of speech; DataError where NLTK's data is absent."""
    return remembered("lemmas", text, _lemmatize)  # type: ignore[no-any-return]


def _lemmatize(text: str) -> list[str]:
    from nltk.stem import WordNetLemmatizer

    words = WordNetLemmatizer()
    try:
        return [words.lemmatize(token, pos=_WORDNET.get(tag[:1], "n")) for token, tag in tagged(text)]
    except LookupError as error:
        raise missing(error) from error


def remembered(kind: str, text: str, make: Callable[[str], Any]) -> Any:
    """What ``make`` gives for this text: from the cache where it was made before, by this version of NLTK."""
    key = digest.of_bytes(f"{kind}|nltk {_nltk_version()}|{text}".encode("utf-8", "surrogatepass"))
    shelf = _shelf(cache_dir() / "tagged-words.sqlite", os.getpid())
    known = shelf.get(key)
    if known is not None:
        return known
    made = make(text)
    shelf.put(key, made)
    return made


@cache
def _nltk_version() -> str:
    return version("nltk")


@cache
def _shelf(path: Path, process: int) -> Shelf:
    """This process's open shelf: a connection must not cross a fork."""
    return Shelf(path)


class Shelf:
    """A file of things by key that many processes may read and write; a damaged file is thrown away, never believed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        for attempt in (1, 2):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._base = sqlite3.connect(self._path, timeout=20, isolation_level=None, check_same_thread=False)
                # what is kept here can be made again: no need to wait for the disk
                self._base.execute("PRAGMA synchronous=OFF")
                self._base.execute("CREATE TABLE IF NOT EXISTS words (key TEXT PRIMARY KEY, json TEXT, seal TEXT)")
                return
            except sqlite3.OperationalError:  # read-only folder, no room, or locked for long: work without a cache
                self._base = None
                return
            except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter where it quotes what is no text
                self._discard()
                if attempt == 2:
                    return
            except OSError:
                self._base = None
                return

    def _discard(self) -> None:
        if self._base is not None:
            self._base.close()
        self._base = None
        with suppress(OSError):
            self._path.unlink()

    def get(self, key: str) -> Any:
        """The thing kept under this key, None where there is none or its seal is broken."""
        if self._base is None:
            return None
        try:
            row = self._base.execute("SELECT json, seal FROM words WHERE key = ?", (key,)).fetchone()
        except sqlite3.OperationalError:
            return None
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter where it quotes what is no text
            self._discard()
            self._open()
            return None
        if row is None or _seal(key, row[0]) != row[1]:
            return None
        return json.loads(row[0])

    def put(self, key: str, thing: Any) -> None:
        """Keep this thing under this key, where the file can be written."""
        if self._base is None:
            return
        text = json.dumps(thing, ensure_ascii=True, separators=(",", ":"))
        try:
            self._base.execute("INSERT OR REPLACE INTO words VALUES (?, ?, ?)", (key, text, _seal(key, text)))
        except sqlite3.OperationalError:
            return
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter where it quotes what is no text
            self._discard()
            self._open()


def _seal(key: str, text: Any) -> str:
    return digest.of_bytes(f"{key}{text}".encode())[:16]
