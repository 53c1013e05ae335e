"""Work done ahead comes in order, only so far ahead, with its errors at their turn."""

from __future__ import annotations

import threading

import pytest

from harness.prefetch import prefetched


def test_results_come_in_order_whatever_finishes_first():
    first_may_end = threading.Event()

    def work(n: int) -> int:
        if n == 0:
            assert first_may_end.wait(300)
        if n == 3:
            first_may_end.set()
        return n * n

    assert list(prefetched(work, range(6), threads=4, depth=4)) == [0, 1, 4, 9, 16, 25]


def test_no_more_is_begun_than_the_depth():
    begun: list[int] = []
    results = prefetched(lambda n: begun.append(n), iter(range(100)), threads=2, depth=5)
    next(results)
    results.close()
    assert len(begun) <= 6


def test_an_error_comes_at_its_turn():
    def work(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        return n

    results = prefetched(work, range(5), threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
