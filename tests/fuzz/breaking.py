"""Ways to break a file: its bytes, its JSON values, its table cells; each drawn by a seeded generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

WHOLE = (
    b"",
    b"[]",
    b"{}",
    b"null",
    b"0",
    b'"text"',
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xff\xfe{\x00}\x00",
    b"PK\x03\x04",
    b"\x1f\x8b\x08\x00",
    b"\x00" * 64,
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b'{"a": ' + b"9" * 5000 + b"}",
    b"[NaN]",
    b"<html>404</html>",
    b"a\tb\nc\td\n",
    b"a,b\nc,d\n",
)
"""What a whole file may be instead."""
PIECES = (
    b"\x00",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\r",
    b"\n",
    b'"',
    b"\\",
    b"\\ud83d",
    b"}",
    b"[",
    b",",
    b"\t",
    b"\x1b[31m",
    b"9" * 5000,
    b"[" * 5000,
    b"\xef\xbb\xbf",
)
"""What may be put into it."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 1.5, 1e308, -1e308, 10**30, [], {}, [None], {"a": None}, ["yes"], [["a"]]),
    *(
        "",
        " ",
        "yes",
        "No",
        " YES ",
        "maybe",
        "0",
        "-1",
        "1e5",
        "nan",
        "a" * 2000,
        "é",
        "\u2028",
        "\u202e",
        "\x00",
        "\ud800",
    ),
    *(
        "../x",
        "/etc/passwd",
        "..",
        "\\\\host\\x",
        "a/b",
        "con",
        "x" * 300,
        "\x1b[31mred",
        "[red]x[/red]",
        "=1+1",
        "`|`",
        "<b>",
    ),
)
"""What a value may be instead."""

Edit = Callable[[Random, Any], Any]


def broken(rng: Random, data: bytes) -> tuple[str, bytes]:
    """The file broken in one way, and what was done to it."""
    ways = [_whole, _cut, _flipped, _with_piece, _without_piece, _repeated]
    if data[:1] in b"[{" and data:
        ways += [_valued] * 12
    name = rng.choice(ways)
    return name.__name__.strip("_"), name(rng, data)


def _whole(rng: Random, data: bytes) -> bytes:
    return rng.choice(WHOLE)


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _flipped(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _with_piece(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(PIECES) + data[at:]


def _without_piece(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 10, 100)) :]


def _repeated(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = rng.randrange(len(lines))
    return b"".join(lines[: at + 1] + lines[at:])


def _valued(rng: Random, data: bytes) -> bytes:
    """The same JSON with one or two values, keys or rows changed, in the same layout."""
    try:
        rows, layout = unpacked(data)
    except ValueError:
        return _flipped(rng, data)
    rows = copy.deepcopy(rows)
    for _ in range(rng.choice((1, 1, 1, 2))):
        rows = _edited(rng, rows)
    return packed(rows, layout)


def unpacked(data: bytes) -> tuple[Any, str]:
    """The JSON of a file, and whether it is ``lines`` or ``whole``."""
    text = data.decode("utf-8-sig")
    try:
        return json.loads(text), "whole"
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.split("\n") if line.strip()], "lines"


def packed(thing: Any, layout: str) -> bytes:
    """The JSON as a file of this layout."""
    if layout == "lines" and isinstance(thing, list):
        return "".join(json.dumps(one) + "\n" for one in thing).encode()
    return json.dumps(thing).encode()


def _edited(rng: Random, thing: Any) -> Any:
    """The thing with something changed somewhere inside it."""
    if isinstance(thing, dict) and thing and rng.random() < 0.9:
        key = rng.choice(list(thing))
        return rng.choice((_valued_key, _valued_key, _valued_key, _gone, _renamed, _inside))(rng, thing, key)
    if isinstance(thing, list) and thing and rng.random() < 0.9:
        at = rng.randrange(len(thing))
        kind = rng.random()
        if kind < 0.7:
            return [*thing[:at], _edited(rng, thing[at]), *thing[at + 1 :]]
        if kind < 0.8:
            return [*thing[:at], *thing[at + 1 :]]
        return [*thing, thing[at]] if kind < 0.9 else [*thing[:at], rng.choice(VALUES), *thing[at + 1 :]]
    return rng.choice(VALUES)


def _valued_key(rng: Random, thing: dict[str, Any], key: str) -> dict[str, Any]:
    return thing | {key: rng.choice(VALUES)}


def _inside(rng: Random, thing: dict[str, Any], key: str) -> dict[str, Any]:
    return thing | {key: _edited(rng, thing[key])}


def _gone(rng: Random, thing: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name != key}


def _renamed(rng: Random, thing: dict[str, Any], key: str) -> dict[str, Any]:
    other = rng.choice((*thing, "", key.upper(), key + " ", "answer", "text", "label", "id"))
    return {other if name == key else name: value for name, value in thing.items()}


def same_rows(rng: Random, data: bytes) -> tuple[str, bytes]:
    """The same rows written another way: nothing that is scored may change."""
    rows, layout = unpacked(data)
    way = rng.choice(("order", "indent", "mark", "returns", "keys", "blank", "escaped"))
    if way == "order" and isinstance(rows, list):
        rng.shuffle(rows)
    if way == "keys" and isinstance(rows, list):
        rows = [dict(rng.sample(list(row.items()), len(row))) if isinstance(row, dict) else row for row in rows]
    text = packed(rows, layout).decode()
    if way == "escaped":
        text = text.replace("Yes", "\\u0059es").replace("dog", "d\\u006fg")
    elif way == "indent":
        text = json.dumps(rows, indent=2) if isinstance(rows, list) else text
    data = {"returns": text.replace("\n", "\r\n"), "blank": text + "\n\n  \n"}.get(way, text).encode()
    return way, b"\xef\xbb\xbf" + data if way == "mark" else data


def picture(rng: Random, data: bytes) -> tuple[str, bytes]:
    """A picture that is damaged, of another format, or none."""
    import io
    import struct
    import zlib

    from PIL import Image

    formats = (
        "AVIF",
        "BMP",
        "DDS",
        "EPS",
        "GIF",
        "ICO",
        "IM",
        "JPEG2000",
        "MPO",
        "PCX",
        "PDF",
        "PNG",
        "PPM",
        "SGI",
        "TGA",
        "TIFF",
        "WEBP",
    )
    kind = rng.choice((*formats, "bomb", "flipped", "cut", "whole", "header"))
    if kind in formats:
        kept = io.BytesIO()
        mode = rng.choice(("RGB", "L", "P", "CMYK", "RGBA", "1", "I;16", "F", "LA"))
        try:
            Image.new("RGB", (9, 7), "red").convert(mode).save(kept, kind)
        except (OSError, ValueError, KeyError):
            return kind, b"II*\x00" + bytes(rng.randrange(256) for _ in range(40))
        data = kept.getvalue()
        return (kind, data) if rng.random() < 0.4 else (f"{kind} flipped", _flipped(rng, data))
    if kind == "bomb":
        size = rng.choice((20_000, 60_000, 2**31 - 1))
        body = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        return kind, b"\x89PNG\r\n\x1a\n" + chunk + b"\x00" * 40
    if kind == "header":
        starts = (
            b"BLP2",
            b"BLP1",
            b"\x00\x00\x00\x1cftypavif",
            b"DDS ",
            b"%!PS-Adobe",
            b"8BPS\x00\x01",
            b"FLIF",
            b"\x89HDF",
            b"GIF89a",
        )
        return kind, rng.choice(starts) + bytes(rng.randrange(256) for _ in range(rng.choice((0, 20, 200))))
    return kind, {"flipped": _flipped, "cut": _cut, "whole": _whole}[kind](rng, data)
