"""What may be written for one image: true captions to choose from, and for each negative the candidates that hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from harness.building.lexicon import Lexicon
from harness.building.sampler import INSERTED, Absent, subsets
from harness.building.writer import Writer

MOST_WORDS = 60
"""CLIP reads 77 tokens; what is longer is no caption."""
MOST_CANDIDATES = 24


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with what people said of it and what it shows: objects found, and objects that its captions name."""

    name: str
    captions: tuple[str, ...]
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One negative to be: its kind, the objects it inserts or leaves out, and the captions that do so."""

    kind: str
    key: tuple[str, ...]
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """An image's row before its captions are chosen."""

    picture: Picture
    absent: Absent
    positives: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Unwritable:
    """An image without a row, and why."""

    name: str
    why: str


def draft(picture: Picture, absent: Absent, lexicon: Lexicon, writer: Writer, seed: int) -> Draft | Unwritable:
    """Everything that may be said of this image and holds; or why a caption that is needed cannot be written.

    True and false captions are made the same way: a caption of the image, and objects told of beside it, which are
    there or are not. So neither words nor length tell them apart.
    """
    rng = Random(f"{seed}/{picture.name}")
    unsaid = {text: [name for name in picture.present if name not in lexicon.named(text)] for text in picture.captions}
    # beside a caption that leaves something unsaid, the true one can be made as the false ones are
    base = rng.choice([text for text, names in unsaid.items() if names] or list(unsaid))
    more = unsaid[base]
    positives = _positives(base, more, lexicon, writer, picture)
    if not positives:
        return Unwritable(picture.name, "its caption names an object that is not there")
    extra = more[:2] if writer.plenty else []
    bases = [base, *(rng.choice(writer.insert(base, [name]) or [base]) for name in extra)]
    other = _others(picture, lexicon, rng)
    slots = []
    for kind, key in _wanted(absent):
        raw = (
            _altered(bases, key, _likest(other, key, lexicon), writer)
            if kind == "delete"
            else _inserted(bases, key, extra, writer, rng)
        )
        every = list(dict.fromkeys(raw))
        rng.shuffle(every)
        holding = (text for text in every if not fault(text, kind, key, picture, lexicon))
        if not (holds := tuple(islice(holding, MOST_CANDIDATES))):  # no more are checked than are kept
            return Unwritable(picture.name, f"no caption holds that {_does(kind)} {', '.join(key)}")
        slots.append(Slot(kind, key, holds))
    return Draft(picture, absent, tuple(positives), tuple(slots))


def _does(kind: str) -> str:
    return "leaves out" if kind == "delete" else "inserts"


def _wanted(absent: Absent) -> Iterable[tuple[str, tuple[str, ...]]]:
    for kind in INSERTED:
        yield from ((kind, key) for key in subsets(absent.by_kind[kind], whole=True))
    yield from (("delete", key) for key in subsets(absent.leads, whole=False))


def _positives(base: str, more: Sequence[str], lexicon: Lexicon, writer: Writer, picture: Picture) -> list[str]:
    told = [base]
    for key in subsets(more[: 3 if writer.plenty else 2], whole=True) if more else []:
        told += writer.insert(base, key)
    return [text for text in dict.fromkeys(told) if not lexicon.named(text) - set(picture.present)]


def _inserted(bases: Sequence[str], key: Sequence[str], more: Sequence[str], writer: Writer, rng: Random) -> list[str]:
    texts = writer.insert(bases[0], key) + [text for base in bases for text in writer.replace(base, key)]
    for name in more if len(key) < 3 else ():
        both = [*key, name]
        rng.shuffle(both)
        texts += writer.insert(bases[0], both)
    return texts


def _altered(bases: Sequence[str], key: Sequence[str], other: Sequence[str], writer: Writer) -> list[str]:
    return [text for base in bases for text in writer.alter(base, key, other)]


def _others(picture: Picture, lexicon: Lexicon, rng: Random) -> list[str]:
    """Absent objects to stand in for present ones: those of the same wider class first."""
    absent = [name for name in lexicon.names if name not in picture.present]
    near = [name for name in absent if any(lexicon.alike(name, one) for one in picture.present)]
    far = [name for name in absent if name not in near]
    return rng.sample(near, len(near)) + rng.sample(far, min(4, len(far)))


def _likest(other: Sequence[str], key: Sequence[str], lexicon: Lexicon) -> list[str]:
    """Those of the same wider class as what goes first."""
    return sorted(other, key=lambda name: not any(lexicon.alike(name, one) for one in key))


def fault(text: str, kind: str, key: Sequence[str], picture: Picture, lexicon: Lexicon) -> str:
    """Why this cannot be that negative of the image; "" where it can."""
    named = lexicon.named(text)
    if not text.strip() or len(text.split()) > MOST_WORDS or not text.isprintable():
        return "it is no caption"
    if kind != "delete" and (left := [name for name in key if name not in named]):
        return f"it does not name {', '.join(left)}"
    if kind == "delete" and (still := [name for name in key if name in named]):
        return f"it still names {', '.join(still)}"
    if named <= set(picture.present):
        return "it names nothing that is not there: it may be true"
    if text.casefold() in {caption.casefold() for caption in picture.captions}:
        return "it is one of the image's own captions"
    return ""


def annotation(draft: Draft, positive: str, negatives: Sequence[str]) -> dict[str, object]:
    """The row as OHD-Caps' ``*_annotations.json`` has it."""
    by_kind: Mapping[str, dict[str, str]] = {kind: {} for kind in (*INSERTED, "delete")}
    for slot, text in zip(draft.slots, negatives, strict=True):
        by_kind[slot.kind][", ".join(slot.key)] = text
    leads = draft.absent.leads
    told = {
        kind: [name for n, thing in enumerate(draft.absent.by_kind[kind]) for name in (*leads[n : n + 1], thing)]
        for kind in INSERTED
    }
    return {
        "file_path": draft.picture.name,
        **told,
        "ground_truth": list(draft.picture.present),
        "positive_sample": positive,
        **{f"{kind}_samples": texts for kind, texts in by_kind.items()},
    }
