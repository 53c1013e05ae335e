"""Where the benchmarks' files lie: a folder of the user's, or the bundled micro world, written on first use."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import digest, durable
from harness.errors import DataError


@dataclass(frozen=True)
class Data:
    """A data folder and what it is called in tables and run names."""

    name: str
    root: Path
    outside: bool = False
    """Whether its files may name images that lie outside it."""

    @property
    def fence(self) -> Path | None:
        """The folder in which every image lies, links followed; None where the user lets them lie anywhere."""
        return None if self.outside else self.root

    def place(self) -> dict[str, str]:
        """What tells two folders of one name apart: a digest of where it lies; nothing for the bundled world."""
        return {} if self.name == "micro" else {"place": digest.of_json(str(self.root.resolve()))}


def cache_dir() -> Path:
    """Where ohd-bench keeps what it can make again: ``$OHD_BENCH_CACHE``, or the platform's cache folder."""
    import platformdirs

    return Path(os.environ.get("OHD_BENCH_CACHE") or platformdirs.user_cache_dir("ohd-bench"))


def resolve(text: str, outside: bool = False) -> Data:
    """The data ``--data`` names: ``micro`` (written on first use, in seconds) or a folder."""
    if text == "micro":
        return Data("micro", micro())
    root = Path(os.path.expanduser(text))
    if not os.path.isdir(root):  # a name too long for any folder is none
        raise DataError(
            f"--data {text} is not a folder; 'micro' is the bundled world, docs/data.md says what a folder holds"
        )
    return Data(root.resolve().name, root, outside)


def micro() -> Path:
    """The folder of the bundled micro world; written whole or not at all."""
    from harness import micro as world

    return _written(cache_dir() / f"micro-{world.VERSION}", world.write)


def is_micro(root: Path) -> bool:
    """Whether this folder is the bundled micro world's, of whichever version."""
    return root.resolve().parent == cache_dir().resolve() and root.resolve().name.startswith("micro-")


def micro_alignment() -> Path:
    """The folder of the micro world's captions and conversations, to align on; written whole or not at all."""
    from harness import micro as world
    from harness.micro import talk

    return _written(cache_dir() / f"micro-alignment-{world.VERSION}-{talk.VERSION}", talk.write)


def _written(folder: Path, write: Callable[[Path], None]) -> Path:
    if folder.is_dir():
        return folder
    try:
        durable.folder(folder, write)
    except OSError as error:
        raise DataError(f"cannot write the micro world to {folder}: {error.strerror}; set OHD_BENCH_CACHE") from error
    return folder
