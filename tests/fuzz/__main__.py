"""``python tests/fuzz [--minutes 30] [--seed 0]``: broken inputs at every front door, and how each of them ended."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import behind_runs
import doors
import world
from knocking import Tried

SHARED = Path(os.environ.get("OHD_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
ENDS = ("answered", "refused", "traceback", "wrong")


def main() -> int:
    """1 where an input ended in a traceback or in a wrong answer."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=30.0)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--door", action="append", choices=list(doors.DOORS), help="only this one; repeat for more")
    asked.add_argument("--number", type=int, help="only this input, and show how it ended")
    chosen = asked.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if (SHARED / "data" / "nltk_data").is_dir():  # without it, CHAIR's captions are refused one and all
        os.environ.setdefault("NLTK_DATA", str(SHARED / "data" / "nltk_data"))
    with tempfile.TemporaryDirectory(prefix="ohd-bench-fuzz-") as folder:
        return run(Path(folder), chosen)


def run(folder: Path, chosen: argparse.Namespace) -> int:
    """Knock at one door after another until the time is up, and print the counts."""
    sound = folder / "sound"
    world.write(sound)
    world.models(sound)
    behind_runs.kept(sound)
    ends: dict[str, Counter[str]] = {name: Counter() for name in chosen.door or doors.DOORS}
    seen: Counter[str] = Counter()
    began, number = time.monotonic(), chosen.number or 0
    while time.monotonic() - began < 60 * chosen.minutes:
        name = list(ends)[number % len(ends)]
        tried = knock(name, Random(f"{chosen.seed}/{name}/{number}"), sound, folder / "room")
        ends[name][tried.end] += 1
        if tried.end in ("traceback", "wrong"):
            tell(seen, f"{name} {number}", tried)
        number += 1
        if chosen.number is not None:
            print(tried)
            break
    print(table(ends, time.monotonic() - began, chosen.seed))
    return int(any(count["traceback"] or count["wrong"] for count in ends.values()))


def knock(name: str, rng: Random, sound: Path, room: Path) -> Tried:
    """One broken input at this door, in a room of its own."""
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir()
    tried = doors.DOORS[name](rng, sound, room)
    wrong = tried.wrong or next(doors.faults(name, tried.said), "")
    return Tried(tried.what, tried.said, wrong)


def tell(seen: Counter[str], where: str, tried: Tried) -> None:
    """The first few of a kind, as they come."""
    last = tried.said.trace.strip().splitlines()[-1] if tried.said.trace else tried.wrong
    frame = [line.strip() for line in tried.said.trace.splitlines() if line.strip().startswith("File")][-1:]
    kind = f"{last[:60]} {frame}"
    seen[kind] += 1
    if seen[kind] <= 2:
        print(f"{tried.end}: {where}: {tried.what}: {last[:300]} {''.join(frame)}", file=sys.stderr, flush=True)


def table(ends: dict[str, Counter[str]], seconds: float, seed: int) -> str:
    """The counts as a Markdown table, the sum last."""
    total = sum(ends.values(), Counter())
    lines = ["| front door | inputs | answered | refused clearly | tracebacks | wrong |", "|---|---|---|---|---|---|"]
    for name, count in [*ends.items(), ("**all**", total)]:
        lines.append(f"| {name} | {count.total()} | {' | '.join(str(count[end]) for end in ENDS)} |")
    return "\n".join([*lines, f"\n{seconds / 60:.1f} minutes, seed {seed}"])


if __name__ == "__main__":
    sys.exit(main())
