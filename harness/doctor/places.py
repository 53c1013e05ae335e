"""The folders that commands read and write: data, models, cache, results; written to, timed and locked for a try."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness import extras, registry
from harness.asking import evaluate
from harness.data import cache_dir, resolve
from harness.doctor.looked import Looked
from harness.errors import OhdBenchError
from harness.words.nltk_packages import absent

LITTLE_DISK = 20
"""GB: a LLaVA-1.5-7B in half precision takes 14."""
SLOW = 0.2
"""Seconds: a run waits this long for the disk once for each batch."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def folders(results: Path) -> Iterator[Looked]:
    """Whether cache and results can be written, and how much space is left where models and answers go."""
    yield _written("cache", cache_dir(), "set OHD_BENCH_CACHE to a folder that can be written")
    yield _written("results", results, "name another --results")
    one = _nearest(cache_dir()).stat().st_dev == _nearest(results).stat().st_dev
    yield _disk("disk of cache and results" if one else "disk of the cache", cache_dir())
    yield from () if one else [_disk("disk of the results", results)]
    yield _models()


def _written(what: str, folder: Path, advice: str) -> Looked:
    """A file written there, flushed to the disk, put in another's place and added to, as manifests and records are."""
    try:
        with tempfile.TemporaryDirectory(dir=_nearest(folder), prefix=".ohd-bench-doctor-") as tried:
            began = time.perf_counter()
            draft, kept = Path(tried) / "draft", Path(tried) / "kept"
            _flushed(draft, "wb")
            draft.replace(kept)
            took = time.perf_counter() - began
            added = _added(kept)
    except OSError as error:
        return Looked(what, f"{folder} cannot be written: {error.strerror}", advice)
    if added:
        return Looked(what, f"{folder} takes whole files only: nothing can be added to one ({added})", advice)
    found = f"{folder} can be written, {took * 1e3:.0f} ms until it is on the disk"
    slow = "this disk is slow to write: a local one may be faster" if took > SLOW else ""
    return Looked(what, found, slow, needed=False)


def _flushed(path: Path, mode: str) -> None:
    with path.open(mode) as file:
        file.write(b"tried\n" * 1000)
        file.flush()
        os.fsync(file.fileno())


def _added(path: Path) -> str:
    """Why nothing can be added to this file, as some mounts of object stores have it; nothing where it can."""
    try:
        _flushed(path, "ab")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _disk(what: str, folder: Path) -> Looked:
    free = shutil.disk_usage(_nearest(folder)).free / 1e9
    return Looked(what, f"{free:.0f} GB free", "" if free > LITTLE_DISK else "little for a 7B: free some", needed=False)


def _models() -> Looked:
    """Where models from the hub lie, and whether more may be fetched."""
    if not extras.there("huggingface_hub"):
        return Looked("models of the hub", "none: what reads them is absent", extras.command("huggingface_hub"), False)
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    count = len(list(folder.glob("models--*")))
    offline = ", HF_HUB_OFFLINE is set: none is fetched" if constants.HF_HUB_OFFLINE else ""
    return Looked("models of the hub", f"{count} in {folder}{offline}")


def _nearest(folder: Path) -> Path:
    """What is there of this path: itself, or the nearest above it, be it a file in the way."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def data(text: str) -> Iterator[Looked]:
    """Which tasks' questions this data folder holds, and what is wrong with or missing of the others."""
    if not text:
        yield Looked("data", "the bundled micro world; --data DIR says which benchmarks a folder holds")
        return
    try:
        root = resolve(text).root
    except OhdBenchError as error:
        yield Looked("data", text, str(error))
        return
    there, missing = [], []
    for name in sorted(registry.tasks):
        try:
            there.append(f"{name} ({len(evaluate.open_task(name, root).every())})")
        except OhdBenchError as error:
            missing.append(Looked(f"data of {name}", "cannot be asked", str(error), needed=False))
    found = f"questions of {', '.join(there)}" if there else "no task's questions"
    yield Looked("data", f"{text}: {found}", "" if there else "docs/data.md says what a folder holds")
    yield from missing


def words() -> Looked:
    """NLTK's tokenizer, tagger and WordNet, which AMBER, CHAIR and artefacts read captions with."""
    gone = absent()
    advice = "ohd-bench data prepare nltk (offline: --from DIR)" if gone else ""
    lacks = f"lacks {', '.join(gone)}, without which captions are not counted (AMBER, CHAIR; artefacts)"
    return Looked("NLTK", lacks if gone else "its packages are there", advice, needed=False)


def browser() -> Looked:
    """A chromium, with which the tests open reports; reading one takes any browser."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return Looked("chromium", found or "none: the tests of report pages skip", listed=bool(found))
