"""The card of a built data set: what it was made of and how, its sampler's statistics, and what its texts give away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import durable

if TYPE_CHECKING:
    from harness.building.build import BuildOptions, Built


def write(options: BuildOptions, built: Built) -> None:
    """``OUT/ohd_caps/CARD.md``."""
    durable.output(options.out / "ohd_caps" / "CARD.md", page(options, built))


def page(options: BuildOptions, built: Built) -> str:
    """The card as Markdown."""
    writer = f"{options.server.model} at {options.server.url}" if options.server else "edits of noun phrases, by rule"
    rows = ", ".join(f"{split} {number:,}" for split, number in built.rows.items())
    without = "; ".join(f"{number:,} {why}" for why, number in built.left_out.items()) or "none"
    table = ["| kind | captions | by number of objects |", "|---|---|---|"] + [
        f"| {kind} | {sum(sizes.values()):,} | {', '.join(f'{size}: {n:,}' for size, n in sizes.items())} |"
        for kind, sizes in built.statistics.items()
    ]
    speed = sum(built.rows.values()) / max(built.seconds, 1e-9)
    return "\n".join(
        [
            f"# {options.name}: OHD-Caps rows built by ohd-bench",
            "",
            f"- Rows: {rows}. Pictures without a row: {without}.",
            f"- Objects: {', '.join(options.objects)}, and what the captions name.",
            f"- Captions written by: {writer}. Seed {options.seed}.",
            f"- What texts alone give away: {built.leak.said()}.",
            f"- {built.seconds:.0f} s, {speed:.1f} rows a second.",
            "- True captions are captions of the picture, to which objects that are there may have been added in the "
            "same words in which negatives name objects that are not.",
            "- Pictures keep the licence they had; near-duplicates are in one split.",
            "- Not checked by a person: an object that neither the finder nor a caption names may be there all the "
            "same.",
            "",
            *table,
            "",
        ]
    )
