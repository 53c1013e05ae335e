"""OHD-Caps' two kinds of row: captions with the true one's number, and the hallucinated ones by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.rows import Row

KINDS = ("random", "popular", "adversarial", "delete")


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one image that count, and the number of the true one among them."""

    image: str
    texts: tuple[str, ...]
    true: int

    @property
    def true_text(self) -> str:
        """The true caption."""
        return self.texts[self.true]

    @property
    def false(self) -> tuple[str, ...]:
        """Every other caption, copies of the true one left out."""
        return tuple(text for text in self.texts if text != self.true_text)


def labelled(row: Row) -> Captions:
    """A row of ``*_label.json`` or ``*_data.json``: captions, which is true, and in some files which are masked.

    DataError where the label is none of the captions, the true one is masked, or there is nothing to tell it from.
    """
    every = row.texts("caption")
    if not every:
        raise row.wrong("'caption' is an empty list; right would be the captions of the image")
    label = row.index("label", len(every))
    counts = row.flags("valid_caption", len(every)) if row.has("valid_caption") else [True] * len(every)
    if not counts[label]:
        raise row.wrong(f"'valid_caption' masks caption {label}, which 'label' says is the true one")
    texts = tuple(text for text, there in zip(every, counts, strict=True) if there)
    return _told_apart(row, Captions(row.file_name("image"), texts, texts.index(every[label])))


def _told_apart(row: Row, found: Captions) -> Captions:
    blank = [text for text in found.texts if not text.strip()]
    if blank:
        raise row.wrong("one of the captions is blank; right would be text, or 0 for it in 'valid_caption'")
    if not found.false:
        raise row.wrong(f"{len(found.texts)} captions and all equal: there is nothing to tell the true one from")
    return found


def annotated(row: Row) -> tuple[Captions, Mapping[str, tuple[str, ...]]]:
    """A row of ``*_annotations.json``: the true caption before the false ones, and those of each kind."""
    true = row.text("positive_sample")
    by_kind = {kind: _of_kind(row, f"{kind}_samples") for kind in KINDS}
    false = tuple(text for texts in by_kind.values() for text in texts if text != true)
    return _told_apart(row, Captions(row.file_name("file_path"), (true, *false), 0)), by_kind


def _of_kind(row: Row, key: str) -> tuple[str, ...]:
    if not row.has(key):
        return ()
    said = row.given(key)
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise row.wrong(f"'{key}' is no object of captions by what they add")
    return tuple(said.values())
