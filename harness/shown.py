"""Text from files, models and servers as a terminal, a page or a spreadsheet may hold it."""

from __future__ import annotations

import re

# C0 but for tab and line break, DEL, C1; line and paragraph separators; marks that turn the direction of writing.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORMULA = re.compile(r"^\s*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|nan|inf)", re.IGNORECASE)


def plain(text: str) -> str:
    r"""The text with every control character written out (``\x1b``): nothing in it can move a cursor or hide a word."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def json_text(text: str) -> str:
    """JSON whose texts hold no control character raw, and which reads as it did."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def one_line(text: str) -> str:
    """The same on one line."""
    return plain(" ".join(text.split()))


def csv_cell(value: object) -> object:
    """The value as a spreadsheet shows it and never computes it: text that would start a formula is quoted."""
    if not isinstance(value, str):
        return value + 0.0 if isinstance(value, float) else value  # minus zero is zero
    text = plain(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text.strip()) else text


def code_span(text: str) -> str:
    """The text as a Markdown code span, which no backtick in it can end."""
    text = one_line(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    pad = " " if longest else ""
    fence = "`" * (longest + 1)
    return f"{fence}{pad}{text}{pad}{fence}"


def markdown(text: str) -> str:
    """The text as Markdown shows it: no link, no picture, no emphasis, no code."""
    # an underline within a word is no mark of emphasis, so 'balanced_accuracy' stays as it is
    return re.sub(r"([\\`*\[\]!~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(text))
