"""``ohd-bench data``: put the benchmarks' files where they belong."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the ``data`` commands, those of other command files included."""
    data = typer.Typer(help="Prepare and examine data.", no_args_is_help=True)
    data.command()(prepare)
    data.command("classes")(classes)
    data.command("cache")(cache)
    for name in ("score", "artefacts", "datasets", "build_ohd"):
        if importlib.util.find_spec(f"harness.cli.{name}"):
            module = importlib.import_module(f"harness.cli.{name}")
            if hasattr(module, "register_data"):
                module.register_data(data)
    app.add_typer(data, name="data")


def prepare(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="micro, nltk, or data sets as `data list` names them: NAME[/PART][@VERSION]."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder that has the files, in any layout; no network.")
    ] = None,
    data: Annotated[
        str, typer.Option("--data", help="The data folder to put them in.", envvar="OHD_BENCH_DATA")
    ] = "data",
    link: Annotated[bool, typer.Option("--link", help="With --from: hard links instead of copies.")] = False,
    mirror: Annotated[
        list[str] | None, typer.Option(help="A server that has the files under their paths here, asked instead.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="nltk: where to put it; by default ~/nltk_data.")] = None,
) -> None:
    """Put data sets where their tasks look: copied from --from DIR by what the files hold, or fetched and checked.

    micro writes the bundled world, nltk fetches tokenizer, tagger and WordNet. Exit 3 where something is not to be had;
    the other data sets are prepared all the same.
    """
    from harness.cli import datasets
    from harness.console import tell
    from harness.data import micro
    from harness.words import nltk_packages

    wanted = names or ["micro"]
    if "micro" in wanted:
        tell(micro())
    if "nltk" in wanted:
        tell(nltk_packages.prepare(source, to))
    if rest := [name for name in wanted if name not in ("micro", "nltk")]:
        datasets.prepare(rest, data, source, link, mirror or ())


def classes(
    source: Annotated[str, typer.Argument(help="torchvision:NAME:ROOT, hf:DIR, wds:DIR or csv:FILE.")],
    out: Annotated[Path, typer.Option(help="The folder to write, DATA/zero_shot/NAME.")],
    split: Annotated[str, typer.Option(help="The split to take.")] = "test",
    prompts: Annotated[
        str, typer.Option(help="Classes and templates of open_clip (imagenet1k) or clip-benchmark (cifar10 …).")
    ] = "",
) -> None:
    """Write a classification data set as the class folders that ``zero-shot`` reads."""
    from harness import class_import
    from harness.console import tell

    told = class_import.write(source, out, split, prompts)
    tell(f"{told['folder']}: {told['pictures']} pictures in {told['classes']} classes, {told['templates']} templates")


def cache(
    clear: Annotated[
        list[str] | None, typer.Option(help="Take away what the cache holds of this kind; all is everything.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what the cache folder holds, by kind, or take some of it away; whatever is needed again is made again."""
    from harness import cached
    from harness.console import print_json, tell
    from harness.data import cache_dir

    found = cached.clear(clear) if clear else cached.held()
    if as_json:
        rows = [{"kind": one.kind, "about": one.about, "files": one.files, "bytes": one.size} for one in found]
        print_json({"folder": str(cache_dir()), "cleared": bool(clear), "kinds": rows})
        return
    tell(f"{cache_dir()}: " + ("taken away:" if clear else f"{sum(one.size for one in found) / 1e6:.1f} MB"))
    for one in found:
        tell(f"  {one.kind:<12} {one.size / 1e6:>10.1f} MB {one.files:>7} files  {one.about}")
