"""``ohd-bench encoder`` and ``ohd-bench align``: look at a tower, check it, convert it, hand the swapped model on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import (
    AllowOutside,
    Device,
    Dtype,
    Estimate,
    Include,
    Json,
    Out,
    Results,
    SpecText,
    TrainedOut,
    Verbose,
)

Images = Annotated[Path | None, typer.Option(help="A folder of sample images; bundled patterns where none is named.")]
Count = Annotated[int, typer.Option(min=1, help="How many sample images.")]


def register(app: typer.Typer) -> None:
    """Add the ``encoder`` group and ``align``."""
    group = typer.Typer(help="Look at encoders; check, convert, compare, merge, push them.", no_args_is_help=True)
    for command in (inspect, check, convert, diff, merge, push):
        group.command()(command)
    app.add_typer(group, name="encoder")
    app.command()(align)


def inspect(spec: SpecText, device: Device = "auto", include: Include = None, as_json: Json = False) -> None:
    """Say what an encoder is: digests, architecture, activation, pixels."""
    from harness.comparison import encoders

    _show(encoders.inspect(_encoder(spec, device, include)), as_json)


def check(
    spec: SpecText,
    lvlm: Annotated[str, typer.Option("--lvlm", "-l", help="The LVLM that is to carry the tower.")],
    images: Images = None,
    count: Count = 16,
    device: Device = "auto",
    dtype: Dtype = "auto",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Say whether a tower fits an LVLM (exit 4 where not), and how far it drifted from the LVLM's own."""
    from harness import registry
    from harness.comparison import encoders
    from harness.types import Place

    encoder = _encoder(spec, device, include)
    host = registry.make_lvlm(lvlm, Place(device=device, dtype=dtype))
    _show(encoders.check(host, encoder, encoders.sample_images(images, count)), as_json)


def convert(
    spec: SpecText,
    to: Annotated[str, typer.Option(help="hf or open-clip.")],
    out: Out,
    device: Device = "auto",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Write an encoder in another layout, load it again, and print how equal the two are."""
    from harness.comparison import encoders
    from harness.types import Place

    encoder = _encoder(spec, device, include)
    found = encoders.convert(encoder, to, out, Place(device=device))
    _show(found, as_json, f"ohd-bench run --encoder {shlex.quote(found['spec'])}")


def diff(
    one: SpecText,
    other: Annotated[str, typer.Argument(metavar="SPEC", help="Another encoder.")],
    images: Images = None,
    count: Count = 16,
    device: Device = "auto",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Say how two encoders differ: settings, weights by part, rows."""
    from harness.comparison import encoders

    both = [_encoder(text, device, include) for text in (one, other)]
    _show(encoders.diff(both[0], both[1], encoders.sample_images(images, count)), as_json)


def merge(
    spec: SpecText,
    into: Annotated[str, typer.Option(help="The LVLM to put the tower into.")],
    out: Out,
    device: Device = "auto",
    dtype: Dtype = "auto",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Write an LVLM with this encoder's tower as a standard LLaVA folder that other tools load."""
    from harness import registry
    from harness.types import Place
    from harness.vision_language.layouts import merge as merging

    encoder = _encoder(spec, device, include)
    host = registry.make_lvlm(into, Place(device=device, dtype=dtype))
    found = merging.merge(host, encoder, out)
    place = "".join(f" --{name} {value}" for name, value in (("device", device), ("dtype", dtype)) if value != "auto")
    _show(found, as_json, f"ohd-bench run --lvlm {shlex.quote(found['lvlm'])}{place}")


def align(
    spec: SpecText,
    lvlm: Annotated[str, typer.Option("--lvlm", "-l", help="The LVLM that is to learn to read the tower.")],
    out: TrainedOut,
    stage: Annotated[str, typer.Option(help="pretrain, lora, full, or several with commas: LLaVA-1.5's recipes.")],
    data: Annotated[
        list[str],
        typer.Option(help="LLaVA's conversations, captions, a folder or micro; one for each stage, or for all."),
    ],
    images: Annotated[
        list[Path] | None, typer.Option(help="The folder of the images; beside the data where none is named.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE or STAGE.FIELD=VALUE (docs/align.md); repeat.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    max_bad: Annotated[float, typer.Option(min=0, max=100, help="Rows that may be unusable, in per cent.")] = 1.0,
    estimate: Estimate = False,
    allow_outside: AllowOutside = False,
    device: Device = "auto",
    include: Include = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a projector, and an adapter or the language model, behind any tower, as LLaVA-1.5 was trained.

    The same command goes on where it stopped; several processes are started with torchrun.

    Exit codes: 0 trained, 2 usage, 3 data, 4 tower or LVLM cannot be carried, 6 loss not finite, 130/143 interrupted.
    """
    import os

    from harness.stopping import at_once

    with at_once("before or between updates; the same command goes on from the last checkpoint"):
        from harness import registry
        from harness.console import quiet
        from harness.rows import object_of
        from harness.types import Place
        from harness.vision_language.align import stages

        if not verbose:
            quiet()
        registry.load(include or ())
        found = stages.planned(lvlm, stage, data, change or [], seed)
        found = replace(found, images=tuple(images or ()), max_bad=max_bad / 100, place=Place(device=device))
        found = replace(found, allow_outside=allow_outside)
        if estimate:
            from harness.cli import expected
            from harness.vision_language.align import forecast

            expected.show(forecast.forecast(lvlm, spec, found), as_json)
            return
        folder = stages.align(lvlm, spec, found, out)
        if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes tells the result
            told = object_of(folder / stages.RESULT)
            _show(stages.summary(told), as_json, f"ohd-bench run --lvlm {shlex.quote(told['spec'])}")


def push(
    folder: Annotated[Path, typer.Argument(help="An encoder's folder, as train or convert wrote it.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="A model on the Hub, OWNER/NAME; made where absent.")],
    licence: Annotated[str, typer.Option(help="Its licence, as the Hub spells it: apache-2.0, mit …")] = "",
    results: Results = Path("results"),
    private: Annotated[bool, typer.Option("--private", help="Make the repository a private one.")] = False,
    dry_run: Annotated[Path | None, typer.Option(help="Write what would be pushed to this folder; push none.")] = None,
    include: Include = None,
) -> None:
    """Push an encoder to the Hugging Face Hub, with a card of its recipe and of what runs in --results measured."""
    from harness import registry
    from harness.console import tell
    from harness.export import hub

    registry.load(include or ())
    parcel = hub.of_encoder(repo, folder, results, licence)
    tell(parcel.write(dry_run) if dry_run else parcel.push(private))


def _encoder(spec: str, device: str, include: list[Path] | None) -> Any:
    from harness import registry
    from harness.console import say_assumed
    from harness.types import Place

    registry.load(include or ())
    encoder = registry.make_encoder(spec, Place(device=device))
    say_assumed(encoder)
    return encoder


def _show(found: Mapping[str, Any], as_json: bool, following: str = "") -> None:
    """The result as JSON or as a table on stdout, and what to do next on stderr."""
    from harness.console import out, print_json, say

    if as_json:
        print_json(_plain(found))
    else:
        for name, value in _flat(found):
            out().print(f"{name:<44} {value}", soft_wrap=True)
    if following:
        say(f"now: {following}")


def _plain(thing: Any) -> Any:
    """The same with null for what is not a number."""
    if isinstance(thing, Mapping):
        return {key: _plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value) for value in thing]
    return None if isinstance(thing, float) and thing != thing else thing


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in found.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{key} · ")
        else:
            rows.append((before + key, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows
