"""Which packages are there, whether they are what ohd-bench asks for, and which are other versions than the tested."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from harness.doctor.looked import Looked
from harness.errors import UsageError
from harness.vision_language.vllm import install

TESTED = Path(__file__).parents[2] / "constraints.txt"
"""The tested versions, where ohd-bench runs from its repository."""


def packages() -> Iterator[Looked]:
    """Every package that ohd-bench asks for, each extra that is there, and all of them in one line."""
    asked = [Requirement(text) for text in requires("ohd-bench") or ()]
    base = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    found = [fit(one, installed(one.name)) for one in base]
    yield Looked("Python", f"{platform.python_version()}, ohd-bench {installed('ohd-bench') or 'not installed'}")
    yield from found
    fitting = sum(not one.advice for one in found)
    yield Looked("packages", f"{fitting} of {len(found)} are what ohd-bench asks for{others(base, tested(TESTED))}")
    yield from extras([one for one in asked if one not in base])
    yield from vllm()


def vllm() -> Iterator[Looked]:
    """The vLLM that ``?engine=vllm`` starts, where the user has named one."""
    if not install.named():
        return
    try:
        yield Looked("vLLM", f"{install.found().version}, where {install.VARIABLE} says")
    except UsageError as error:
        yield Looked("vLLM", str(error), install.HOW, needed=False)


def fit(asked: Requirement, there: str) -> Looked:
    """Whether the version that is there (empty: none) is one of those asked for."""
    need = f"pip install '{asked.name}{asked.specifier}'"
    if not there:
        return Looked(asked.name, "absent", need)
    return Looked(asked.name, there, "" if asked.specifier.contains(there, prereleases=True) else need, listed=False)


def extras(asked: list[Requirement]) -> Iterator[Looked]:
    """The extras whose packages are all there, and those of a version that does not fit."""
    of: dict[str, list[Requirement]] = {}
    for one in asked:
        name = str(one.marker).rpartition("extra == ")[2].strip("'\"")
        of.setdefault(name, []).append(one)
    there = [name for name, every in of.items() if all(whole(one) for one in every)]
    yield Looked("extras", ", ".join(sorted(there)) or "none")
    if "models" in there:
        yield Looked("models' packages", ", ".join(f"{one.name} {installed(one.name)}" for one in of["models"]))
    for name in there:
        for one in of[name]:
            if (looked := fit(one, installed(one.name))).advice:
                yield Looked(f"{looked.what} (of the extra {name})", looked.found, looked.advice, needed=False)


def whole(asked: Requirement) -> bool:
    """Whether a package is there, with what its own extras (``transformers[serving]``) ask for."""
    if not installed(asked.name):
        return False
    inner = [Requirement(text) for text in requires(asked.name) or ()] if asked.extras else []
    return all(
        installed(one.name)
        for one in inner
        if one.marker and any(one.marker.evaluate({"extra": extra}) for extra in asked.extras)
    )


def others(base: list[Requirement], known: Mapping[str, str]) -> str:
    """The packages whose version is another than the tested one, in words; nothing where the tested are not known."""
    if not known:
        return ""
    odd = [
        f"{one.name} {there} (tested: {known[name]})"
        for one in base
        if (name := canonicalize_name(one.name)) in known and not _same(there := installed(one.name), known[name])
    ]
    return f"; other than the tested versions: {', '.join(odd)}" if odd else ", in the tested versions"


def _same(one: str, other: str) -> bool:
    """Whether both are the same release: a build's own mark (+cu130) aside."""
    try:
        return Version(one).public == Version(other).public
    except InvalidVersion:
        return one == other


def tested(path: Path) -> dict[str, str]:
    """Package → version of a file of ``name==version`` lines; empty where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pins = (line.partition("#")[0].partition("==") for line in lines)
    return {canonicalize_name(name.strip()): pin.strip() for name, equal, pin in pins if equal}


def installed(name: str) -> str:
    """The version of this package, empty where it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
