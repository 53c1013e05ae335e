"""``python -m benchmarks [--quick|--gpu] [--json] [--only NAME]``: one line for each way faster than its reference."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import benchmarks


def main() -> int:
    """Run every module of benchmarks/ that has ``rows``.

    Exit 1 where a faster way gives other results, or is faster than the work it leaves out allows.
    """
    asked = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    asked.add_argument("--quick", action="store_true", help="smaller shapes: minutes instead of tens of minutes")
    asked.add_argument("--json", action="store_true", help="print JSON on stdout")
    asked.add_argument("--only", default="", help="only the modules whose name contains this")
    asked.add_argument("--gpu", action="store_true", help="ten minutes of this card, and a file named after it")
    asked.add_argument("--out", type=Path, default=Path(), help="the folder of that file")
    options = asked.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.gpu:
        return _gpu(options.out, options.json)
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
        if found.name.startswith("_") or only not in found.name:
            continue
        module = importlib.import_module(f"benchmarks.{found.name}")
        if hasattr(module, "rows"):
            print(f"measuring {found.name} …", file=sys.stderr, flush=True)
            yield from module.rows(quick)


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
