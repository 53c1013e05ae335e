"""``python -m benchmarks.threads``: two rows by one thread and by all, alone and beside a busy core.

Threads that wait passively let go of their core, as the command line has them; torch's own default spins (active).
Ratios by the clock and by processor time. Where a machine does other work, "alone" is only said: its load is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

SPIN = "import os; began = os.getppid()\nwhile os.getppid() == began: pass"
ROWS = ("ohd_caps", "training_step")
"""The modules whose first quick row is measured."""
ONE = """
import importlib, json, sys
found = next(importlib.import_module(f"benchmarks.{sys.argv[1]}").rows(quick=True))
told = found["detail"]
print(json.dumps([found["ratio"], told.get("cpu_time_ratio", found["ratio"]), told["product_s"], found["equal"]]))
"""


def main() -> int:
    """Print a line for each number of threads and neighbour; exit 1 where the two ways give other results."""
    every = os.cpu_count() or 1
    print(f"load {os.getloadavg()[0]:.1f} over {every} cores before")
    print(f"{'':52}{'by clock':>9}{'by CPU':>9}{'ours, s':>9}  equal")
    right = True
    ways = dict.fromkeys([(1, "PASSIVE"), (every, "PASSIVE"), (every, "ACTIVE")])
    for module, (threads, policy), busy in product(ROWS, ways, (False, True)):
        with _neighbour(busy):
            clock, cpu, took, equal = _measured(module, threads, policy)
        right = right and equal
        name = f"{module}, {threads} threads, {policy.lower()}, {'busy core beside' if busy else 'alone'}"
        print(f"{name:52}{clock:8.2f}×{cpu:8.2f}×{took:9.2f}  {'yes' if equal else 'NO'}", flush=True)
    return 0 if right else 1


def _measured(module: str, threads: int, policy: str) -> tuple[float, float, float, bool]:
    counts = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": policy}
    done = subprocess.run(  # noqa: S603 - this interpreter, on the words above
        [sys.executable, "-c", ONE, module], env={**os.environ, **counts}, stdout=subprocess.PIPE, check=True
    )
    clock, cpu, took, equal = json.loads(done.stdout)
    return clock, cpu, took, equal


@contextlib.contextmanager
def _neighbour(busy: bool) -> Iterator[None]:
    """A process that keeps one core busy for as long as this lasts."""
    if not busy:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", SPIN]) as spinning:  # noqa: S603
        try:
            yield
        finally:
            spinning.kill()


if __name__ == "__main__":
    sys.exit(main())
