"""``python -m benchmarks.stragglers``: what slow and dying machines cost a run, simulated: batches pulled, or shards.

Seconds of a batch, of a start and of a failure are inputs, not measurements: what comes out is a share of the ideal.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections import deque
from dataclasses import dataclass

IN_HAND = 2
SEEDS = range(20)


@dataclass(frozen=True)
class Machines:
    """So many workers; a share of them takes twice as long; each dies after ``life`` seconds on average (0: never)."""

    workers: int
    slow: float = 0.0
    life: float = 0.0
    start: float = 60.0
    """Seconds until a worker that died is there again: a process, and a model to load."""

    def factors(self, draw: random.Random) -> list[float]:
        """How many times the seconds of a batch each worker needs."""
        slow = set(draw.sample(range(self.workers), round(self.slow * self.workers)))
        return [2.0 if worker in slow else 1.0 for worker in range(self.workers)]


class Pulled:
    """Workers that are given the next batch when they have a hand free, as ``harness/compute/crew.py`` deals them."""

    def __init__(self, machines: Machines, batches: list[float], seed: int) -> None:
        self.machines, self.draw, self.queue = machines, random.Random(f"pulled/{seed}"), deque(batches)
        self.factors = machines.factors(self.draw)
        self.hands: list[deque[float]] = [deque() for _ in self.factors]
        self.events: list[tuple[float, int, bool]] = []

    def seconds(self) -> float:
        """Until all batches are done."""
        now = 0.0
        for worker in range(self.machines.workers):
            self.begin(worker, now)
        while self.events:
            now, worker, died = heapq.heappop(self.events)
            if died:
                self.lost(worker, now)
            else:
                self.hands[worker].popleft()
            self.begin(worker, now + self.machines.start * died)
        return now

    def begin(self, worker: int, at: float) -> None:
        """The next batch of this worker: when it will be done, or the worker dead."""
        mine = self.hands[worker]
        for hand in range(1, IN_HAND + 1):  # a second only while there is one for everybody
            if len(mine) < hand and len(self.queue) >= (1 if hand == 1 else self.machines.workers):
                mine.append(self.queue.popleft())
        if mine:
            takes = mine[0] * self.factors[worker]
            dies = self.draw.expovariate(1 / self.machines.life) if self.machines.life else float("inf")
            heapq.heappush(self.events, (at + min(takes, dies), worker, dies < takes))

    def lost(self, worker: int, at: float) -> None:
        """What it had in hand goes back, before all else, to those who have nothing to do."""
        self.queue.extendleft(reversed(self.hands[worker]))
        self.hands[worker].clear()
        busy = {worker, *(other for _, other, _ in self.events)}
        for other in set(range(self.machines.workers)) - busy:
            self.begin(other, at)


def pulled(machines: Machines, batches: list[float], seed: int) -> float:
    """Seconds until all batches are done, where each worker is given the next when it has a hand free."""
    return Pulled(machines, batches, seed).seconds()


def sharded(machines: Machines, batches: list[float], seed: int) -> float:
    """The same where each worker has its share from the start, and goes on with it after each death."""
    draw = random.Random(f"sharded/{seed}")
    ends = []
    for worker, factor in enumerate(machines.factors(draw)):
        now = 0.0
        for batch in batches[worker :: machines.workers]:
            takes = batch * factor
            while machines.life and (dies := draw.expovariate(1 / machines.life)) < takes:
                now += dies + machines.start
            now += takes
        ends.append(now)
    return max(ends)


def efficiency(machines: Machines, batches: list[float], way: object) -> float:
    """The work over what the workers could do in the time it took: 1 is ideal."""
    took = statistics.mean(way(machines, batches, seed) for seed in SEEDS)  # type: ignore[operator]
    power = sum(1 / factor for factor in machines.factors(random.Random(0)))
    return sum(batches) / (took * power)


def main() -> None:
    """The table of docs/scale.md: an hour's work on one GPU in batches of several sizes, on 1, 8 and 64."""
    print(f"{'GPUs':>5}{'batches':>9}{'':4}{'all alike':>18}{'1 in 8 half as fast':>24}{'each dies hourly':>22}")
    for workers in (1, 8, 64):
        for count in (64, 512, 4096):
            draw = random.Random(count)
            whole = [draw.lognormvariate(0, 0.3) for _ in range(count)]
            batches = [3600 * one / sum(whole) for one in whole]
            cases = Machines(workers), Machines(workers, slow=1 / 8), Machines(workers, life=3600.0)
            told = [
                f"{efficiency(case, batches, pulled):.2f} pulled, {efficiency(case, batches, sharded):.2f} shards"
                for case in cases
            ]
            print(f"{workers:5}{count:9}    " + "  ".join(told))


if __name__ == "__main__":
    main()
