"""Several processes answer what one would, and say so when they cannot."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from harness.asking.pool import Crew, pooled
from harness.errors import OhdBenchError, UsageError
from harness.types import Answer, Asked, Place, Sample

PARROT = Crew("generate", "", "parrot:no", Place("cpu"))


def asked(images: int):
    for i in range(images):
        samples = tuple(Sample(f"{i}-{n}", Path(f"{i}.png"), "yes", prompt="Is it?") for n in range(3))
        yield Asked(Image.new("RGB", (8, 8), (i, 0, 0)), samples)


def test_every_sample_is_answered_once_whatever_the_number_of_workers():
    replies = list(pooled(PARROT, 2)(asked(70)))
    assert sorted(sample.id for sample, _ in replies) == sorted(s.id for one in asked(70) for s in one.samples)
    assert {answer for _, answer in replies} == {Answer("No", 0.0)}


def test_an_error_in_a_worker_is_raised_with_its_own_class():
    with pytest.raises(UsageError, match="a parrot says yes or no"):
        list(pooled(Crew("generate", "", "parrot:maybe", Place("cpu")), 1)(asked(2)))


def test_an_error_while_images_are_opened_is_raised():
    def broken():
        yield from asked(1)
        raise OhdBenchError("the disk is gone")

    with pytest.raises(OhdBenchError, match="the disk is gone"):
        list(pooled(PARROT, 1)(broken()))


def test_a_killed_worker_ends_the_run_and_says_that_it_can_be_resumed():
    replies = pooled(PARROT, 1)(endless())
    next(replies)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(OhdBenchError, match="killed by signal 9; the same command goes on"):
        for _ in replies:
            pass


def endless():
    while True:
        yield from asked(5)


def test_workers_are_spread_over_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    crew = Crew("rank", "hashing", "", Place())
    assert [crew.own_place(n, 3).device for n in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
