"""Packages that an extra of ohd-bench brings: whether one is there, and the one line that says how to get it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache

from harness.errors import UsageError

IMPORTED_AS = {"open-clip-torch": "open_clip"}
"""Packages that are imported by another name than their own, whose dashes are underscores."""
NOT_OFFERED = ("dev", "docs")
"""Extras for those who work on ohd-bench itself."""


def there(package: str) -> bool:
    """Whether this package, by the name it is imported by, can be imported here."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def needs(package: str) -> UsageError:
    """What to raise where this package, by the name it is imported by, is missing: it says which extra brings it."""
    return UsageError(f"this needs the package '{package}': {command(package)}")


def command(package: str) -> str:
    """What to type to have this package, by the name it is imported by."""
    extra = by_package().get(package)
    return f"pip install 'ohd-bench[{extra}]'" if extra else f"pip install {package}"


def missing(error: BaseException) -> UsageError | None:
    """The same for an import that failed, where it is one of those packages that is not there; else None."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return needs(package) if package in by_package() and not there(package) else None


@cache
def by_package() -> dict[str, str]:
    """The extra that brings each package, by the name it is imported by, as the installation's own metadata says."""
    found: dict[str, str] = {}
    for package, extra in _optional():
        found.setdefault(package, extra)
    return found


def _optional() -> Iterator[tuple[str, str]]:
    # here, as every command would wait for them and few ask
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    try:
        told = requires("ohd-bench") or ()
    except PackageNotFoundError:
        return
    for one in map(Requirement, told):
        extra = str(one.marker or "").rpartition("extra == ")[2].strip("'\"")
        if extra and extra not in NOT_OFFERED:
            name = one.name.lower().replace("_", "-")
            yield IMPORTED_AS.get(name, name.replace("-", "_")), extra
