"""Put NLTK's tokenizer, tagger and WordNet where NLTK finds them, from its server or from a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import DataError
from harness.words.tagging import PACKAGES, missing

PLACES = {
    "punkt_tab": "tokenizers/punkt_tab",
    "averaged_perceptron_tagger_eng": "taggers/averaged_perceptron_tagger_eng",
    "wordnet": "corpora/wordnet",
}


def prepare(source: Path | None = None, to: Path | None = None) -> str:
    """Fetch what is missing (from ``source``, a folder like ``nltk_data``, without a network); says where it lies."""
    import nltk

    folder = to or Path.home() / "nltk_data"
    for name in PACKAGES:
        if to is None and _is_there(name):
            continue
        if source is not None:
            _copy(name, source, folder)
        elif not nltk.download(name, download_dir=str(folder), quiet=True):
            raise DataError(f"NLTK's {name} could not be fetched; on a machine without network use --from DIR")
    if to is not None:
        nltk.data.path.insert(0, str(to))
    if gone := absent():
        raise missing(f"Resource {gone[0]} not found")
    return f"{', '.join(PACKAGES)}: NLTK finds them" + (f" with NLTK_DATA={to}" if to else "")


def absent() -> list[str]:
    """The packages that NLTK does not find on this machine."""
    return [name for name in PACKAGES if not _is_there(name)]


def _is_there(name: str) -> bool:
    import nltk

    for path in (PLACES[name], f"{PLACES[name]}.zip"):
        try:
            nltk.data.find(path)
        except LookupError:
            continue
        return True
    return False


def _copy(name: str, source: Path, folder: Path) -> None:
    """Copy one package, a folder or a zip, from ``source`` or from the same place below it."""
    place = Path(PLACES[name])
    for found in (source / place, source / name):
        for path in (found, found.with_name(f"{found.name}.zip")):
            if path.exists():
                target = folder / place.parent / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, target, dirs_exist_ok=True)
                else:
                    shutil.copyfile(path, target)
                return
    raise DataError(f"{source} holds no {place} (nor {place}.zip, nor {name}): name a folder like NLTK's nltk_data")
