"""Do the work that a model will need next in threads, while it is still busy with the work before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def workers() -> int:
    """Threads to read and resize images in: PIL and torchvision let go of the interpreter's lock while they do."""
    return max(1, min(8, (os.cpu_count() or 2) - 1))


def prefetched(work: Callable[[T], R], items: Iterable[T], threads: int = 0, depth: int = 0) -> Iterator[R]:
    """``work(item)`` for each item in order, begun up to ``depth`` items early; an error comes at its item's turn."""
    threads = threads or workers()
    depth = depth or 4 * threads
    pending = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        begun: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(pending, depth))
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(pool.submit(work, item) for item in islice(pending, 1))
                yield result
        finally:
            for future in begun:
                future.cancel()
