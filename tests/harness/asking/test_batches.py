"""What is computed together never changes, so that an answer is the same to the bit whatever was answered before."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.asking import engine
from harness.asking.ask import speaker
from harness.asking.batches import dealt
from harness.store import Run
from harness.types import Answer, Sample, Task

QUESTIONS = st.lists(st.integers(0, 9), max_size=30)


def samples(images: list[int]) -> list[Sample]:
    return [Sample(f"{n}", Path(f"{image}.png"), "yes", prompt=f"{n}?") for n, image in enumerate(images)]


def members(every: list[Sample], due: set[str], size: int) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for batch, image in dealt(every, due, size):
        found[batch] = found.get(batch, ()) + tuple(sample.id for sample in image)
    return found


@given(QUESTIONS, st.data(), st.integers(1, 5))
def test_a_batch_is_asked_whole_or_not_at_all_and_is_one_of_the_undisturbed_run(images, data, size):
    every = samples(images)
    due = data.draw(st.sets(st.sampled_from([s.id for s in every]))) if every else set()
    whole = list(members(every, {sample.id for sample in every}, size).values())
    found = list(members(every, due, size).values())
    numbers = [batch for batch, _ in dealt(every, due, size)]
    assert numbers == sorted(numbers), "one batch is over before the next begins"
    assert found == [batch for batch in whole if due.intersection(batch)]
    assert all(len({images[int(id)] for id in batch}) <= size for batch in found)


@given(QUESTIONS, st.data())
def test_where_answers_stand_alone_nothing_is_asked_but_what_is_due(images, data):
    every = samples(images)
    due = data.draw(st.sets(st.sampled_from([s.id for s in every]))) if every else set()
    asked = [sample.id for _, image in dealt(every, due, 0) for sample in image]
    assert sorted(asked) == sorted(due)


class Neighbourly:
    """A model as bad as can be: what it answers hangs on everything that is asked beside it."""

    spec, batch = "neighbourly", 3

    def __init__(self, stop: int) -> None:
        self.left = stop

    def answers(self, asked):
        together = [sample.id for one in asked for sample in one.samples]
        for place, id in enumerate(together):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield self.by_id[id], Answer(" ".join(together), p_yes=place / len(together))


class Anything(Task):
    mode, metrics, headline = "generate", {}, ""
    name = spec = "anything"

    def samples(self):
        return []

    def count(self, sample, answer):
        return {"n": 1.0}


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 12), max_size=6))
def test_records_are_those_of_the_undisturbed_run_in_every_field_wherever_it_was_stopped(images, stops):
    task = Anything(Path())
    blind = [Sample(s.id, None, "yes", prompt=f"{image}?") for s, image in zip(samples(images), images, strict=True)]
    asked = engine.questions(task, blind)

    def records(folder: str, stops: list[int]) -> list[str]:
        run = Run(Path(folder) / "run")
        for stop in [*stops, -1]:
            model = Neighbourly(stop)
            model.by_id = {sample.id: sample for sample in blind}
            try:
                engine.answer(run, asked, engine.Identity({}), speaker(model))
            except KeyboardInterrupt:
                continue
        return [record.line() for record in run.records(task.name)]

    with TemporaryDirectory() as here, TemporaryDirectory() as there:
        assert records(here, stops) == records(there, [])
