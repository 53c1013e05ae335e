"""``ohd-bench data``: put the benchmarks' files where they belong."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the ``data`` commands, those of other command files included."""
    data = typer.Typer(help="Prepare and examine data.", no_args_is_help=True)
    data.command()(prepare)
    data.command("classes")(classes)
    for name in ("score", "artefacts"):
        if importlib.util.find_spec(f"harness.cli.{name}"):
            module = importlib.import_module(f"harness.cli.{name}")
            if hasattr(module, "register_data"):
                module.register_data(data)
    app.add_typer(data, name="data")


def prepare(
    what: Annotated[str, typer.Argument(help="micro, the bundled world, or nltk, for AMBER and CHAIR.")] = "micro",
    source: Annotated[Path | None, typer.Option("--from", help="nltk: a folder like nltk_data; no network.")] = None,
    to: Annotated[Path | None, typer.Option(help="nltk: where to put it; by default ~/nltk_data.")] = None,
) -> None:
    """Write the micro world, or fetch NLTK's tokenizer, tagger and WordNet; say where it lies."""
    from harness.console import tell
    from harness.data import micro
    from harness.errors import UsageError

    if what == "nltk":
        from harness.words import nltk_packages

        tell(nltk_packages.prepare(source, to))
    elif what == "micro":
        tell(micro())
    else:
        raise UsageError(f"cannot prepare '{what}'; there is micro and nltk (docs/data.md: where benchmarks come from)")


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
