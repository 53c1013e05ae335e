"""LLaVAs as they are in memory, tower and overlays merged in, kept in the cache by digest; the longest unused go."""

from __future__ import annotations

import functools
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from harness import cached, digest, durable
from harness.data import cache_dir
from harness.errors import ModelError
from harness.vision_language import tokenizing, unusual
from harness.vision_language.layouts import chat_template, merge
from harness.vision_language.speaker import Speaker

if TYPE_CHECKING:
    from harness.vision_language.host import Host

GIGABYTES = "OHD_BENCH_MERGED"


def folder(speaker: Speaker) -> Path:
    """The folder of this LVLM, written where it is not there yet; ModelError where the disk has no room for it."""
    root = cache_dir().absolute() / "merged"
    made = root / _address(speaker)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not made.is_dir():
            _give_up_others(root, _size(speaker))
            durable.folder(made, functools.partial(merge.written, speaker))
        os.utime(made)
    except OSError as error:
        raise ModelError(f"{root} cannot be written: {error.strerror}; set OHD_BENCH_CACHE") from error
    return made


def _address(speaker: Speaker) -> str:
    """The digest of all that is written, and of the code that writes it."""
    written = [version(package) for package in ("ohd-bench", "transformers")]
    told = [speaker.digests(), speaker.describe(), written, _files(speaker.host)]
    speaker.host.confirm()  # what is written is kept under what it is
    return digest.of_json(told)[:32]


def _files(host: Host) -> list[Any]:
    """What is written beside the weights, whether or not it decides an answer here: a server may heed more of it."""
    model, processor = host.model, host.processor
    told = [model.config.to_dict(), model.generation_config.to_dict(), processor.image_processor.to_dict()]
    return [repr(unusual.plain(told)), tokenizing.content(processor.tokenizer), chat_template.of_host(host)]


def _size(speaker: Speaker) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in speaker.host.model.state_dict().values())


def _give_up_others(root: Path, size: int) -> None:
    """Removes the longest unused until a folder of this size fits into what may be kept; ModelError where none can."""
    most = cached.most_bytes(GIGABYTES)
    there = {path: path.stat().st_mtime for path in root.iterdir() if path.is_dir()}
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in there}
    for path in sorted(there, key=there.__getitem__)[:-1]:  # the last to be used may be about to be served
        if sum(sizes.values()) + size > most and not _is_read(path):
            shutil.rmtree(path)
            path.with_suffix(".log").unlink(missing_ok=True)
            del sizes[path]
    free = shutil.disk_usage(root).free
    if free < size:
        raise ModelError(
            f"the merged model takes {size / 1e9:.1f} GB in {root}, where {free / 1e9:.1f} GB are free; "
            "set OHD_BENCH_CACHE to a larger disk, or clear what is kept: ohd-bench data cache --clear merged"
        )


def _is_read(folder: Path) -> bool:
    """Whether a process of this machine, such as a server, was started on this folder."""
    return any(str(folder) in (one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
