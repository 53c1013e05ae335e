"""Identity by content: SHA-256 of bytes, files, plain objects and tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def of_bytes(data: bytes) -> str:
    """SHA-256 of these bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_unchanged(path: Path) -> str:
    """The same of the file as it lies there now; one that has not changed since is not read again by this process."""
    told = path.stat()
    # The entry's own date (ctime) is the system's alone: a file that was given its old date back is another.
    return _of_marked(path, (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns))


@lru_cache(maxsize=200_000)
def _of_marked(path: Path, told: tuple[int, ...]) -> str:
    return of_file(path)


def md5_of_file(path: Path) -> str:
    """MD5 of a file's bytes, in hex: for files of which their publishers tell no better digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def of_json(thing: Any) -> str:
    """SHA-256 of a plain object, the same whatever the order of its keys."""
    return of_bytes(_written(thing))


def continued(begun: Sequence[Any]) -> Callable[..., str]:
    """Called with more things, ``of_json([*begun, *more])``; what it begins with is written out once."""
    start = hashlib.sha256(_written(list(begun))[:-1])

    def of_all(*more: Any) -> str:
        whole = start.copy()
        whole.update((b"," if begun else b"") + _written(list(more))[1:])
        return whole.hexdigest()

    return of_all


def _written(thing: Any) -> bytes:
    return json.dumps(thing, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over ``name|dtype|shape|bytes`` of every tensor, sorted by name.

    The same weights under the same names have one digest, on whatever device and in whatever file they lie.
    """
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        kind = str(tensor.dtype).removeprefix("torch.")
        total.update(f"{name}|{kind}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # a copy would take as long again
    return total.hexdigest()
