"""Which words name which object, where a caption names one, and how a caption would name it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import BrokenDataError
from harness.rows import object_of, shown

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_SPACED = re.compile(r"\S+")
_ONE = frozenset(_SPACED.findall("a an the another one this that each every his her its their"))
_MANY = frozenset(_SPACED.findall("two three four five six several many some few these those both various multiple"))
_BREAKS = frozenset(
    _SPACED.findall(
        "of in on at by with near next to and or is are was were be being that which who while as from into over under "
        "for has have had behind beside through along up down out off it they there sits stands eats holds rides"
    )
)
"""Words that no noun phrase goes across, to its article."""
_FOLLOWS = _BREAKS | frozenset(
    _SPACED.findall(
        "inside outside around across against during nearby close beneath below above under between among without "
        "before after about but while when where because so then too also can could may might will would do does did "
        "all both together alone already looks look sit stand lie lies walks walk runs run"
    )
)
"""What may follow a whole noun phrase: after anything else the noun may be part of a longer one."""
_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice", "sheep": "sheep",
    "fish": "fish", "skis": "skis", "scissors": "scissors", "goose": "geese", "foot": "feet", "tooth": "teeth",
    "broccoli": "broccoli", "deer": "deer", "aircraft": "aircraft", "ox": "oxen",
    **{f"{stem}f": f"{stem}ves" for stem in ("lea", "shel", "loa", "cal", "hal", "wol", "scar", "thie")},
    **{word: f"{word}es" for word in ("tomato", "potato", "mango", "mosquito", "hero")},
}  # fmt: skip
_A = re.compile(r"(uni(?!n|m)|use|usu|uti|uku|ufo|eu|one\b|once)", re.IGNORECASE)
_AN = re.compile(r"(hour|honest|honou?r|heir)|[aeiou]", re.IGNORECASE)
"""What "a" and "an" stand before, by its sound: a unicycle, an hour."""
_PAIRS = frozenset(("skis", "scissors", "glasses", "jeans", "pants"))
_MASS = frozenset(("broccoli",))
_ANIMATE = frozenset(("person", "animal"))
_REACH = 5
"""How many words before its noun an article is looked for: "a large white sheet cake"."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))


def plural(word: str) -> str:
    """The word for several: by English rule, or one of the few exceptions that pictures are full of."""
    head, _, last = word.rpartition(" ")
    if last in _IRREGULAR:
        made = _IRREGULAR[last]
    elif last.endswith("man") and last != "human":
        made = f"{last[:-3]}men"
    elif last.endswith(("s", "x", "ch", "sh")):
        made = f"{last}es"
    elif re.search(r"[^aeiou]y$", last):
        made = f"{last[:-1]}ies"
    elif last.endswith("fe"):
        made = f"{last[:-2]}ves"
    else:
        made = f"{last}s"
    return f"{head} {made}" if head else made


def with_article(word: str) -> str:
    """The word as a caption brings it in: a cup, an oven, a pair of skis, some broccoli."""
    last = word.rpartition(" ")[2]
    if last in _MASS:
        return f"some {word}"
    if last in _PAIRS:
        return f"a pair of {word}"
    return f"{article(word)} {word}"


def article(word: str) -> str:
    """``a`` or ``an``, by the word's sound."""
    return "an" if _AN.match(word) and not _A.match(word) else "a"


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a text names an object: the words, the noun phrase around them, and whether another can stand there."""

    name: str
    start: int
    end: int
    phrase: int
    """Where its phrase begins: at its article or number, or else at its first word."""
    determiner: str
    many: bool
    free: bool
    """Whether what follows lets another noun stand in its place ("a car", but not "a car door")."""
    bare: bool = False
    """Whether words that describe it stand before it without an article ("white seat", "white and black cat")."""


class Lexicon:
    """The objects that there are, each with the words that name it; its own name is one of them."""

    def __init__(self, words: Mapping[str, Iterable[str]], kin: Mapping[str, str] | None = None) -> None:
        if odd := [name for name in words if "," in name or not _words(name)]:
            raise BrokenDataError(f"an object is called {shown(odd[0])}; right would be words without a comma")
        self.words = {name: tuple(dict.fromkeys((name, *more))) for name, more in words.items()}
        self.kin = dict(kin or {})
        """A wider class of each object, where it is known: what may stand in for what."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every object, in the order given."""
        return tuple(self.words)

    @cached_property
    def _forms(self) -> dict[tuple[str, ...], tuple[str, bool]]:
        """Words in a row → the object they name, and whether several of it."""
        found: dict[tuple[str, ...], tuple[str, bool]] = {}
        for name, words in self.words.items():
            for word in words:
                found.setdefault(_words(plural(word.lower())), (name, True))
        for name, words in self.words.items():
            for word in words:
                singular = _words(word)
                if found.get(singular, (name, True))[1]:
                    found[singular] = (name, word in ("people", "men", "women", "children"))
        return found

    @cached_property
    def _starts(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """First word → the names that begin with it, the longest first: most words of a text begin none."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for form in sorted(self._forms, key=len, reverse=True):
            if form:
                found.setdefault(form[0], []).append(form)
        return {word: tuple(forms) for word, forms in found.items()}

    def _places(self, lower: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Where these words name an object, and in which words: the longest name first, none within another."""
        after = 0
        for at, word in enumerate(lower):
            if at >= after and word in self._starts:
                form = next((one for one in self._starts[word] if tuple(lower[at : at + len(one)]) == one), None)
                if form:
                    after = at + len(form)
                    yield at, form

    def named(self, text: str) -> set[str]:
        """The objects that this text names."""
        lower = _words(text)
        return {self._forms[form][0] for _, form in self._places(lower)}

    def mentions(self, text: str) -> list[Mention]:
        """Every place where the text names an object, the longest name first ("dining table" is no "table")."""
        tokens = [(found[0], found.start(), found.end()) for found in _WORD.finditer(text)]
        places = self._places([word.casefold() for word, _, _ in tokens])
        return [self._mention(text, tokens, (at, at + len(form)), self._forms[form]) for at, form in places]

    def _mention(
        self, text: str, tokens: Sequence[tuple[str, int, int]], place: tuple[int, int], hit: tuple[str, bool]
    ) -> Mention:
        first, after = place
        begin, determiner, described = first, "", False
        for back in range(first - 1, max(-1, first - 1 - _REACH), -1):
            word = tokens[back][0].lower()
            between = text[tokens[back][2] : tokens[back + 1][1]]
            if between.strip() or word in _BREAKS or word.endswith("ing") or (word,) in self._forms:
                break
            if word in _ONE or word in _MANY:
                begin, determiner = back, word
                break
            described = True
        start, end = tokens[first][1], tokens[after - 1][2]
        free = self._free(text, tokens, after, end)
        return Mention(hit[0], start, end, tokens[begin][1], determiner, hit[1], free, described and not determiner)

    def _free(self, text: str, tokens: Sequence[tuple[str, int, int]], after: int, end: int) -> bool:
        if after == len(tokens):
            return True
        word = tokens[after][0].lower()
        return bool(text[end : tokens[after][1]].strip()) or word in _FOLLOWS or word.endswith("ing")

    def goes(self, mention: Mention, name: str) -> bool:
        """Whether the object may stand there: in number, and as a thing of like kind, where the kinds are known."""
        last = self.words[name][0].rpartition(" ")[2]
        if mention.many and (last in _MASS or (last in _PAIRS and mention.determiner in _MANY)):
            return False
        if mention.bare and last in _PAIRS and not mention.many:
            return False
        return self.alike(mention.name, name)

    def alike(self, name: str, other: str) -> bool:
        """Whether the two are of one wider class, or people and animals; true where a class is not known."""
        theirs, own = self.kin.get(name), self.kin.get(other)
        return not theirs or not own or theirs == own or {theirs, own} <= _ANIMATE

    def standing_in(self, mention: Mention, name: str) -> str:
        """The phrase with which another object stands where this one did: its number and article kept."""
        word = self.words[name][0]
        if mention.many:
            number = f"{mention.determiner} " if mention.determiner in (_MANY | {"the"}) else ""
            return f"{number}{plural(word)}"
        if mention.bare:
            return word
        if mention.determiner in ("", "a", "an", "another", "one", "each", "every"):
            return with_article(word)
        return f"{mention.determiner} {'pair of ' if word.rpartition(' ')[2] in _PAIRS else ''}{word}"


def listed(phrases: Sequence[str]) -> str:
    """``a cup``, ``a cup and a car``, ``a cup, a car and a dog``."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def read_words(path: Path) -> dict[str, list[str]]:
    """Object → words from a file: an object of lists, or CHAIR's vocabulary (``inverse_synonym_dict``)."""
    table = object_of(path)
    inverse = table.get("inverse_synonym_dict", None)
    if isinstance(inverse, dict):
        found: dict[str, list[str]] = {}
        for word, name in inverse.items():
            if word and isinstance(name, str):
                found.setdefault(name, []).append(word)
        return found
    for name, words in table.items():
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise BrokenDataError(f"{path}: '{name}' is {shown(words)}; right would be a list of words")
    return table
