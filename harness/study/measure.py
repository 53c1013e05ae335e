"""What a job is expected to cost: a little of its sort done for real, and nothing of it kept."""

from __future__ import annotations

import time

from harness.asking import evaluate
from harness.compute import memory
from harness.compute.forecast import Forecast, Forecasts
from harness.study.jobs import Align, Job, Train
from harness.study.perform import Bench, aligning, reading


def forecast(job: Job, base: str, bench: Bench) -> dict[str, Forecast]:
    """What one job of this sort costs one process here, by stage or task; empty for a recipe that cannot say.

    A tower that is not trained yet costs what ``base``, the encoder it starts from, costs.
    """
    if isinstance(job, Train):
        recipe = reading(job.recipe, bench.data.outside)
        return {"": recipe.forecast(bench.data.root)} if isinstance(recipe, Forecasts) else {}
    if isinstance(job, Align):
        from harness.vision_language.align import forecast as growing

        return growing.forecast(job.lvlm, base, aligning(job, bench.options.place, bench.data.outside))
    memory.begin()
    began = time.perf_counter()
    plan = bench.asking(job, base, job.lvlm)
    pair = bench.paired(base, job.lvlm)
    loading = Forecast((), time.perf_counter() - began, **memory.spent(bench.options.place))
    return {"loading": loading} | {name: one.forecast() for name, one in evaluate.estimates(plan, pair).items()}
