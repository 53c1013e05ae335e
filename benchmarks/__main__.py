"""``python -m benchmarks [--quick|--gpu] [--json] [--only NAME]``: one line for each way faster than its reference."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import benchmarks

ROWS = {
    "alignment": ("alignment-step", "alignment-rows"),
    "amber_questions": ("amber-questions", "amber-questions-8-tokens", "question-memory"),
    "amber_scoring": ("amber-scoring",),
    "captions": ("captions",),
    "clip_benchmark_ways": ("zero-shot-b32", "retrieval-b32", "retrieval-search"),
    "ohd_caps": ("ohd-caps-b32", "ohd-caps-l14-text"),
    "training_step": (
        *(f"training-step{size}-{kind}" for size in ("", "-l14", "-l14-336") for kind in ("mean", "all-28")),
        "training-step-real",
    ),
}
"""What each module measures: the names of its rows."""


def main() -> int:
    """Run every module of benchmarks/ that measures ``ROWS``, or those that ``--only`` names.

    Exit 1 where a faster way gives other results, or is faster than the work it leaves out allows.
    """
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    asked.add_argument("--quick", action="store_true", help="smaller shapes")
    asked.add_argument("--json", action="store_true", help="print JSON on stdout")
    asked.add_argument("--only", default="", help="only the rows, or all of the modules, whose name contains this")
    asked.add_argument("--gpu", action="store_true", help="ten minutes of this card, and a file named after it")
    asked.add_argument("--out", type=Path, default=Path(), help="the folder of that file")
    options = asked.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.disable(logging.WARNING)
    if options.gpu:
        return _gpu(options.out, options.json)
    if not any(_wanted(module, options.only) for module in ROWS):
        told = "; ".join(f"{module}: {', '.join(names)}" for module, names in ROWS.items())
        asked.error(f"--only {options.only}: no module and no row has a name that contains it; there is {told}")
    rows = list(_rows(options.quick, options.only))
    _print(rows, options.json)
    return 0 if all(row["equal"] and row.get("honest", True) for row in rows) else 1


def _gpu(folder: Path, as_json: bool) -> int:
    """Measure this card, write the file, and print what is in it."""
    from benchmarks import gpu

    found = gpu.report()
    path = gpu.write(found, folder)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        if found["small"]:
            print("no card: at a size of nothing, to see that it runs; its ratios say nothing")
        _print(found["rows"], False)
        for check in found["checks"]:
            print(f"{check['name']:26}{'holds' if check['holds'] else 'DOES NOT HOLD'}")
        print(f"not reached: {', '.join(found['not_reached']) or 'nothing'}")
        for name, why in found["failed"].items():
            print(f"{name} failed: {why}")
    print(f"written: {path}", file=sys.stderr)
    return 0 if gpu.passed(found) else 1


def _print(rows: list[dict], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{_machine()}\n{'':26}{'ratio':>8}{'limit':>8}  {'equal':6}detail")
    for row in rows:
        detail = ", ".join(f"{key} {_short(value)}" for key, value in row["detail"].items())
        limit = f"{row['limit']:7.2f}×" if "limit" in row else f"{'–':>8}"
        above = "" if row.get("honest", True) else "FAR ABOVE ITS LIMIT "
        print(f"{row['name']:26}{row['ratio']:7.2f}×{limit}  {'yes' if row['equal'] else 'NO':6}{above}{detail}")


def _rows(quick: bool, only: str) -> Iterator[dict]:
    for found in pkgutil.iter_modules(benchmarks.__path__):
        if wanted := _wanted(found.name, only):
            module = importlib.import_module(f"benchmarks.{found.name}")
            print(f"measuring {found.name} …", file=sys.stderr, flush=True)
            yield from (row for row in module.rows(quick) if row["name"] in wanted)


def _wanted(module: str, only: str) -> list[str]:
    """The rows of this module that are asked for: all of them by the module's name, or each by its own."""
    return [name for name in ROWS.get(module, ()) if only in name or only in module]


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_short(one)}" for key, one in value.items()) + ")"
    return str(value)


def _machine() -> str:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
