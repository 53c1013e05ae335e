"""``ohd-bench data build-ohd``: OHD-Caps rows for one's own pictures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Include


def register_data(data: typer.Typer) -> None:
    """Add the command to ``data``."""
    data.command("build-ohd")(build_ohd)


def build_ohd(
    images: Annotated[Path, typer.Option(help="The folder of the pictures.")],
    captions: Annotated[list[Path], typer.Option(help="Their captions: COCO's file, or rows of image and caption.")],
    out: Annotated[Path, typer.Option(help="The data folder to write; an interrupted build goes on in it.")],
    objects: Annotated[
        list[str], typer.Option(help="What each picture shows, FINDER:LOCATION: coco:INSTANCES.json, truth:ROWS …")
    ],
    name: Annotated[str, typer.Option(help="What the source is called: ohd-caps?source=NAME.")] = "own",
    words: Annotated[
        Path | None, typer.Option(help="The words that name each object: CHAIR's vocabulary, or an object of lists.")
    ] = None,
    splits: Annotated[str, typer.Option(help="Shares of the pictures: train=0.8,dev=0.1,test=0.1.")] = "test=1",
    least_objects: Annotated[int, typer.Option(min=1, help="Pictures with fewer objects are left out.")] = 3,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by lot.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that write captions by rule.")] = None,
    ray: Annotated[
        str, typer.Option(help="Write in this Ray cluster, HOST:PORT or auto.", envvar="OHD_BENCH_RAY")
    ] = "",
    block: Annotated[int, typer.Option(min=1, help="Pictures written and de-leaked together, and kept.")] = 500,
    link: Annotated[bool, typer.Option("--link", help="Hard links to the pictures instead of copies.")] = False,
    llm: Annotated[str, typer.Option(help="An OpenAI-compatible server (…/v1) that writes instead of rules.")] = "",
    model: Annotated[str, typer.Option(help="Its model; the key is $OHD_BENCH_LLM_KEY or $OPENAI_API_KEY.")] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until a request counts as lost.")] = 60.0,
    price: Annotated[str, typer.Option(help="Its price for a million tokens, IN,OUT: the cost is shown first.")] = "",
    include: Include = None,
) -> None:
    """Build an OHD-Caps benchmark, or training set, for your own pictures: 27 hallucinated captions each.

    Objects that are absent are sampled by the published scheme; captions written, checked and chosen so that a reader
    of texts alone is at chance, or the card says that it is not. The same command goes on where it was killed.
    """
    from harness import console
    from harness.building.llm import Server
    from harness.verbs import build_ohd as verb

    server = Server(llm, model, concurrency, timeout) if llm else None
    options = verb.options(
        images=images, captions=tuple(captions), objects=tuple(objects), out=out, name=name, words=words, splits=splits,
        least_objects=least_objects, seed=seed, workers=workers, ray=ray, block=block, link=link, server=server,
    )  # fmt: skip
    built = verb.build(options, console, include or (), price)
    console.tell(f"{built.out}: {', '.join(f'{split} {number} rows' for split, number in built.rows.items())}")
    console.tell(f"what texts alone give away: {built.leak.said()}")
    console.say(f"the card is {built.out / 'ohd_caps' / 'CARD.md'}")
    task = shlex.quote(f"ohd-caps?source={name}")
    console.say(f"now: ohd-bench run -t {task} --data {shlex.quote(str(out))} --encoder NAME")
