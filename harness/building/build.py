"""Build an OHD-Caps data set from pictures and captions: block by block, in processes, going on where it was killed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import claim
from harness.building import card, finders, output, sampler
from harness.building.deleak import Leak, choose
from harness.building.drafts import Draft, Picture, Unwritable, annotation, draft
from harness.building.lexicon import Lexicon, read_words
from harness.building.llm import LlmWriter, Replies, Server
from harness.building.writer import RuleWriter, Writer
from harness.compute import cluster
from harness.compute.crew import Crew, Lost
from harness.console import say
from harness.errors import DataError, OhdBenchError, UsageError
from harness.images import PICTURES, plain_name
from harness.store import write_json

BLOCK = 500
"""Images written, checked and de-leaked together: one unit of work, kept whole or not at all."""

REQUESTS = 30
"""Captions asked for an image: 27 negatives, and up to three true ones."""
TOKENS = (130, 60)
"""About how many tokens a request has, and its reply."""

Ticking = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class BuildOptions:
    """What is built of what. ``objects`` are ``FINDER:LOCATION``, ``splits`` their shares by name."""

    images: Path
    captions: tuple[Path, ...]
    objects: tuple[str, ...]
    out: Path
    name: str = "own"
    words: Path | None = None
    splits: Mapping[str, float] = field(default_factory=lambda: {"test": 1.0})
    least_objects: int = 3
    seed: int = 0
    workers: int | None = None
    ray: str = ""
    block: int = BLOCK
    link: bool = False
    server: Server | None = None

    def identity(self) -> dict[str, Any]:
        """What a build that was begun may go on with."""
        told = {
            key: value for key, value in asdict(self).items() if key not in ("workers", "ray", "link", "server", "out")
        }
        told |= {"images": str(self.images), "captions": [str(path) for path in self.captions]}
        told["words"] = str(self.words or "")
        told["writer"] = self.server.identity() if self.server else "rules"
        return told


@dataclass(frozen=True)
class Block:
    """One unit of work."""

    number: int
    pictures: tuple[tuple[Picture, sampler.Absent], ...]


Work = tuple[BuildOptions, Lexicon, Block]


@dataclass(frozen=True)
class Built:
    """What came of it."""

    out: Path
    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    leak: Leak
    statistics: Mapping[str, Mapping[str, int]]
    seconds: float


def build(options: BuildOptions, ticking: Ticking) -> Built:
    """Writes ``OUT/ohd_caps`` and a card; DataError where nothing can be written, UsageError where OUT is another's."""
    began = time.monotonic()
    with claim.alone(options.out):
        claim.claim(options.out / "build.json", options.identity(), "build")
        lexicon, pictures, left_out = _gather(options)
        blocks = _blocks(options, lexicon, pictures)
        written = _written(options, lexicon, blocks, ticking)
        left_out.update(written.left_out)
        if not written.names:
            raise DataError(f"no row could be written: {_told(left_out)}")
        rows = _put(options, written)
        leak = _leak(written, options.seed)
        statistics = sampler.statistics(written.rows())
        built = Built(options.out, rows, dict(left_out), leak, statistics, time.monotonic() - began)
        card.write(options, built)
        return built


def expected(options: BuildOptions, price: tuple[float, float] | None) -> str:
    """How many requests an LLM will get at most, in how many tokens, and at what cost where its price is known."""
    _, pictures, _ = _gather(options)
    calls = len(pictures) * REQUESTS
    asked, said = calls * TOKENS[0], calls * TOKENS[1]
    cost = f", about {(asked * price[0] + said * price[1]) / 1e6:,.2f} by --price" if price else ""
    at_once = options.server.concurrency if options.server else 1
    return (
        f"about {calls:,} requests for {len(pictures):,} pictures ({asked:,} tokens asked, {said:,} written{cost}), "
        f"{at_once} at once: {calls / at_once / 60:,.0f} minutes at a second each; replies kept are not asked for again"
    )


def _told(left_out: Mapping[str, int]) -> str:
    return "; ".join(f"{number} {why}" for why, number in left_out.items()) or "there are no pictures"


def _gather(options: BuildOptions) -> tuple[Lexicon, list[Picture], Counter[str]]:
    """The words, and the pictures that have captions and enough objects; why the others have no row, counted."""
    if not options.images.is_dir():
        raise DataError(f"--images {options.images} is not a folder")
    files = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in PICTURES)
    said = finders.captions(options.captions)
    found = finders.find(options.objects, files)
    words = read_words(options.words) if options.words else {}
    lexicon = Lexicon({name: words.get(name, ()) for name in found.names}, found.kin)
    pictures, left_out = [], Counter[str]()
    for path in files:
        name = plain_name(path.name)
        captions = tuple(dict.fromkeys(said.get(name, ())))
        named = {thing for text in captions for thing in lexicon.named(text)}
        present = list(found.objects.get(name, ()))
        present += sorted(named - set(present))
        if not captions:
            left_out["without a caption"] += 1
        elif len(present) < options.least_objects:
            left_out[f"with fewer than {options.least_objects} objects"] += 1
        elif len(lexicon.names) - len(present) < sampler.LEADS:
            left_out["with too few objects absent"] += 1
        else:
            pictures.append(Picture(path.name, captions, tuple(present)))
    if twice := [name for name, times in Counter(path.name for path in files).items() if times > 1]:
        raise UsageError(f"{len(twice)} names stand twice below {options.images}, {twice[0]} the first")
    return lexicon, pictures, left_out


def _blocks(options: BuildOptions, lexicon: Lexicon, pictures: Sequence[Picture]) -> list[Block]:
    absent = sampler.sample([one.present for one in pictures], lexicon.names, options.seed)
    pairs = list(zip(pictures, absent, strict=True))
    size = options.block
    return [Block(n // size, tuple(pairs[n : n + size])) for n in range(0, len(pairs), size)]


@dataclass(frozen=True)
class Written:
    """What the blocks hold: the pictures that have a row, in order, and why others have none."""

    blocks: tuple[Path, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, int]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, a block in memory at a time: there may be hundreds of thousands."""
        for block in self.blocks:
            yield from json.loads(block.read_text(encoding="utf-8"))["rows"]


def _written(options: BuildOptions, lexicon: Lexicon, blocks: Sequence[Block], ticking: Ticking) -> Written:
    """Every block on the disk, those of an earlier command as they are."""
    todo = [block for block in blocks if not _place(options, block.number).is_file()]
    with ticking("write captions", sum(len(block.pictures) for block in todo)) as tick:
        for number in _each(options, lexicon, todo):
            tick(number)
    places = tuple(_place(options, block.number) for block in blocks)
    names: list[str] = []
    failed: Counter[str] = Counter()
    for place in places:
        kept = json.loads(place.read_text(encoding="utf-8"))
        names += [str(row["file_path"]) for row in kept["rows"]]
        failed.update(kept["left_out"])
    return Written(places, tuple(names), failed)


def _each(options: BuildOptions, lexicon: Lexicon, blocks: Sequence[Block]) -> Iterator[int]:
    """Writes each block, as it comes; how many pictures it had."""
    work = [(options, lexicon, block) for block in blocks]
    for block, written in _made(options, work):
        write_json(_place(options, block.number), written)
        yield len(block.pictures)


def _made(options: BuildOptions, work: Sequence[Work]) -> Iterator[tuple[Block, dict[str, Any]]]:
    """The blocks with what their files are to hold, made here or in workers."""
    alone = options.workers in (None, 1) and not options.ray
    if alone or len(work) < 2 or options.server:  # threads ask a server
        yield from ((one[2], _block(one)) for one in work)
        return
    with cluster.opened(min(options.workers or 1, len(work)), options.ray) as here:
        number = min(here.shared_out(options.workers, "cpu")[0], len(work))
        with closing(Crew(here, number, Writing, 0, say)) as crew:
            for (_, _, block), made in crew.results(work):
                if isinstance(made, Lost):
                    raise OhdBenchError(f"block {block.number}: {made.reason}; the same command goes on")
                yield block, made


class Writing:
    """What a worker does: it makes blocks by rule, holds nothing, and writes nothing."""

    def ready(self) -> bool:
        """Always."""
        return True

    def do(self, work: Work) -> dict[str, Any]:
        """What the file of this block is to hold."""
        return _block(work)


def _place(options: BuildOptions, number: int) -> Path:
    return options.out / "blocks" / f"{number:06d}.json"


def _block(work: Work) -> dict[str, Any]:
    """Rows of a block, written, checked and chosen, and why its other pictures have none."""
    options, lexicon, block = work
    server = options.server
    writer: Writer = LlmWriter(server, Replies.of(options.out)) if server else RuleWriter(lexicon)

    def drafted(pair: tuple[Picture, sampler.Absent]) -> Draft | Unwritable:
        return draft(*pair, lexicon, writer, options.seed)

    drafts: list[Draft] = []
    left_out: Counter[str] = Counter()
    with ThreadPoolExecutor(server.concurrency if server else 1) as threads:
        every = list(threads.map(drafted, block.pictures))
    for made in every:
        if isinstance(made, Draft):
            drafts.append(made)
        else:
            left_out[f"of which {made.why.split(' that ')[0]}"] += 1
    chosen = choose(drafts, options.seed + block.number)[0] if drafts else []
    rows = [annotation(one.draft, one.positive, one.negatives) for one in chosen]
    return {"rows": rows, "left_out": dict(left_out)}


def _put(options: BuildOptions, written: Written) -> dict[str, int]:
    """The files of each split with the pictures they name; how many rows each has."""
    where = {path.name: path for path in options.images.rglob("*") if path.suffix.lower() in PICTURES}
    looks = {name: output.look(where[name]) for name in written.names}
    group = output.groups({name: look for name, look in looks.items() if look is not None})
    place = output.picture_placer(options.link)
    with output.SplitFiles(options.out / "ohd_caps", options.name) as files:
        for row in written.rows():
            name = str(row["file_path"])
            if name in group:  # a picture that cannot be read has no row
                files.add(output.split_of(group[name], options.splits, options.seed), row)
                place(where[name], options.out / "ohd_caps" / "images" / name)
    return {split: files.rows[split] for split in options.splits}


def _leak(written: Written, seed: int, most: int = 2000) -> Leak:
    """What the whole tells a reader of texts alone, measured on at most 2,000 of its rows."""
    from random import Random

    from harness.building.deleak import Choice, measure

    many = len(written.names)
    drawn = Random(f"leak/{seed}").sample(range(many), min(most, many))
    wanted = frozenset(drawn)
    kept = {at: row for at, row in enumerate(written.rows()) if at in wanted}
    return measure([Choice(*_read_back(kept[at])) for at in drawn])


def _read_back(row: Mapping[str, Any]) -> tuple[Draft, str, list[str]]:
    name, absent = str(row["file_path"]), sampler.Absent((), {})
    negatives = [text for kind in (*sampler.INSERTED, "delete") for text in row[f"{kind}_samples"].values()]
    return Draft(Picture(name, (), ()), absent, (), ()), str(row["positive_sample"]), negatives
