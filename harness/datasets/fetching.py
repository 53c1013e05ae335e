"""Fetch a published file: from where it broke off, from one mirror after another, refused where its digest differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError

if TYPE_CHECKING:
    from requests import Response

TRIES = 3
"""How often a server that breaks off is asked to go on."""
PIECE = 1 << 13


def offline() -> bool:
    """Whether the user has said that nothing is to be fetched: ``HF_HUB_OFFLINE``."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def fetch(urls: Sequence[str], to: Path, sha256: str = "", right: Callable[[Path], bool] = lambda path: True) -> None:
    """The file of the first server that has it, in its place whole or not at all; DataError says what each one did.

    What came before a connection broke is kept beside it (``NAME.part``), and the next try goes on from there.
    ``right`` is asked of the file that came, for one whose digest is not known.
    """
    if offline():
        raise DataError(f"{to.name}: HF_HUB_OFFLINE is set, nothing is fetched; use --from DIR")
    told = []
    for url in urls:
        for _ in range(TRIES):
            said = _tried(url, to, sha256, right)
            if said is None:
                return
            told.append(f"{url}: {said.text}")
            if not said.again:
                break
    raise DataError(f"{to.name} could not be fetched ({told[-1] if told else 'no server has it'})")


@dataclass(frozen=True, slots=True)
class _Refused:
    text: str
    again: bool = False


def _tried(url: str, to: Path, sha256: str, right: Callable[[Path], bool]) -> _Refused | None:
    import pooch
    import requests

    to.parent.mkdir(parents=True, exist_ok=True)
    known = f"sha256:{sha256}" if sha256 else None
    draft, keeps = to.with_name(f".{to.name}.fetched"), Resuming(to.with_name(f"{to.name}.part"))
    draft.unlink(missing_ok=True)
    try:
        pooch.get_logger().setLevel("ERROR")
        pooch.retrieve(url, known, fname=draft.name, path=draft.parent, downloader=keeps)
    except requests.HTTPError as error:
        return _Refused(str(error))
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        return _Refused(f"the connection broke off ({type(error).__name__}); the same command goes on from there", True)
    except ValueError as error:  # pooch's word for another digest
        if sha256:
            return _Refused(f"what it sends is not the published file (SHA-256 is not {sha256[:12]}…)")
        return _Refused(str(error))
    if not right(draft):
        draft.unlink()
        return _Refused("what it sends is another file")
    draft.replace(to)
    return None


@dataclass(frozen=True, slots=True)
class Resuming:
    """A downloader for pooch that keeps what has come in a file of its own, and asks only for the rest."""

    part: Path

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Writes the whole file to ``output_file``; requests' errors where the server or the connection fails."""
        import requests

        there = self.part.stat().st_size if self.part.is_file() else 0
        headers = {"Range": f"bytes={there}-"} if there else {}
        with requests.get(url, headers=headers, stream=True, timeout=60) as reply:
            if reply.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()  # all of it had come, or the file there has changed
                raise requests.ConnectionError("nothing is left to send")
            reply.raise_for_status()
            self._append(reply, there)
        self.part.replace(output_file)

    def _append(self, reply: Response, there: int) -> None:
        goes_on = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        with self.part.open("ab" if goes_on else "wb") as file:
            for piece in reply.iter_content(PIECE):
                file.write(piece)
                file.flush()
