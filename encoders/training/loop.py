"""Train an encoder by a recipe: read top to bottom, resumable at any step, in as many processes as are launched."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor

from encoders.training import best, checkpoint, circumstances, log, material, optimizer, output, towers
from encoders.training.evaluation import Looks
from encoders.training.feed import Feed
from encoders.training.step import Batch, Terms, gradients
from harness import claim, console, extras
from harness.errors import DegenerateError, Stopped
from harness.stepping import stepping
from harness.stopping import Broken, Stopping

if TYPE_CHECKING:
    from encoders.training.settings import Training

Tell = Callable[[dict[str, Any]], None]


def train(recipe: Training, root: Path, out: Path) -> Path:
    """The folder of the encoder this recipe makes of this data; an interrupted training goes on.

    Stopped after SIGINT or SIGTERM: the step that was under way is done, and saved.
    """
    return TrainingRun(recipe, root, out).train()


class TrainingRun:
    """One training, in one of its processes."""

    def __init__(self, recipe: Training, root: Path, out: Path) -> None:
        self.out = out
        for name in recipe.log_with:
            if not extras.there(name):
                raise extras.needs(name)
        self.accelerator = _accelerator(recipe, out)
        set_seed(recipe.seed)
        # The looker is never trained: it takes the weights of the moment, looks at the dev rows and is what is saved.
        self.looker = towers.base(recipe.base, str(self.accelerator.device))
        assert self.looker.words
        found = material.read(recipe, root, self.looker.words, self.looker.files)
        place = self.accelerator.process_index, self.accelerator.num_processes
        self.feed = Feed(recipe, self.looker, found.rows, found.replay, place)
        self.recipe = self._as_done(recipe)
        self.remarks = [*found.remarks(), *_changes(recipe, self.recipe)]
        self.identity = output.identity(self.recipe, self.looker, found)
        if self.feed.hard:
            self.identity["hard_negatives"] = self.feed.hard.digest
        self.circumstances = circumstances.now(self.accelerator)
        self.looks = Looks(self.looker, found.dev, found.zero_shot)
        self.progress = checkpoint.Progress()
        self._prepare()

    def _as_done(self, recipe: Training) -> Training:
        """The recipe with what is done in place of what was asked for: that is what is recorded."""
        return replace(
            recipe,
            warmup=min(recipe.warmup, self.feed.steps // 10),  # a short training is not all warm-up
            batch=self.feed.order.batch,
            replay_batch=self.feed.again.batch if self.feed.again else recipe.replay_batch,
        )

    @property
    def every(self) -> int:
        """Steps between two looks."""
        return self.recipe.evaluate_every or max(1, self.feed.order.per_epoch // self.recipe.accumulate)

    def _remark(self, lines: Sequence[str]) -> None:
        for line in lines if self.accelerator.is_main_process else ():
            console.say(line)

    def _prepare(self) -> None:
        recipe = self.recipe
        model = towers.trainable(recipe, towers.base(recipe.base, str(self.accelerator.device)).model)
        self.average = towers.Average(model, recipe.ema) if recipe.ema else None
        self.towers, self.optimizer = self.accelerator.prepare(model, optimizer.optimizer(model, recipe))
        self.schedule = optimizer.schedule(self.optimizer.optimizer, recipe, self.feed.steps)
        self.accelerator.register_for_checkpointing(self.schedule)
        if self.average:
            self.accelerator.register_for_checkpointing(self.average)

    def train(self) -> Path:
        """The folder of the encoder; an interrupted training goes on, a finished one is left as it is."""
        main = self.accelerator.is_main_process
        self._remark(self.remarks)
        with claim.alone(self.out, "trained in") if main else contextlib.nullcontext(), Stopping() as self.stopping:
            if main:
                with checkpoint.writing(self.out):
                    claim.claim(self.out / checkpoint.RECIPE, self.identity)
            self.accelerator.wait_for_everyone()
            if not output.finished(self.out):
                with checkpoint.writing(self.out):
                    self._train()
            if main:
                checkpoint.clear(self.out)
            if self.stopping.asked:
                raise Stopped(f"the training is done, {self.out} is whole", self.stopping.asked)
        return self.out

    def _train(self) -> None:
        """Step after step, with looks at the dev rows."""
        self.progress, then = checkpoint.restore(self.accelerator, self.out)
        self.saved = self.progress.step
        with self._log() as tell:
            self._go_on_from(then, tell)
            self._now_and_then(tell)
            for batches in self.feed(self.progress.step):
                began = time.perf_counter()
                terms = self.step(batches)
                terms["images_per_s"] = self.feed.images / (time.perf_counter() - began)
                self.progress.step += 1
                tell(terms)
                self._now_and_then(tell)
        self._finish()

    def step(self, batches: list[Batch]) -> Terms:
        """One step of the optimizer on these batches: its losses, the gradient's norm, the rate it was done at."""
        terms = gradients(self.accelerator, self.towers, self.recipe, batches)
        terms["grad_norm"] = float(self._clip())
        _check_finite(terms, self.progress.step)
        terms["lr"] = float(self.schedule.get_last_lr()[0])
        self._update()
        return terms

    def _go_on_from(self, then: dict[str, Any] | None, tell: Tell) -> None:
        """Says and records what is otherwise than when the checkpoint was made: then it does not go on to the bit."""
        differs = circumstances.differences(then, self.circumstances) if then is not None else []
        if differs:
            self.progress.resumed.append({"step": self.progress.step, "differs": differs})
            self._remark([f"goes on from step {self.progress.step}, but not to the bit: {'; '.join(differs)}"])
            tell({"resumed": differs})

    def _clip(self) -> Tensor | float:
        norm = self.accelerator.clip_grad_norm_(self.towers.parameters(), self.recipe.clip_norm or math.inf)
        return norm if norm is not None else math.nan

    def _update(self) -> None:
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        model = self.accelerator.unwrap_model(self.towers)
        if self.recipe.max_scale and model.model.logit_scale.requires_grad:
            with torch.no_grad():
                model.model.logit_scale.clamp_(max=math.log(self.recipe.max_scale))
        if self.average:
            self.average.update(model)

    def _now_and_then(self, tell: Tell) -> None:
        """A look and a checkpoint where they are due at this step; Stopped where that was asked for."""
        step, last = self.progress.step, self.progress.step == self.feed.steps
        if (step % self.every == 0 or last) and not self._any(self.progress.looked(step)):
            self._look(tell)
        stop = self._any(self.stopping.asked is not None)
        if step != self.saved and (step % self.recipe.save_every == 0 or last or stop):
            self._save()
        if stop:
            raise self._stopped()

    def _any(self, so: bool) -> bool:
        """Whether it is so in any of the processes, which then all do the same."""
        if self.accelerator.num_processes == 1:
            return so
        told = torch.tensor([float(so)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(told, "sum").item())

    def _stopped(self) -> Stopped:
        number = self.stopping.asked or signal.SIGTERM  # where it was another process that was asked
        if not self.progress.step:
            return Stopped("before the first step; the same command begins anew", number)
        done = f"step {self.progress.step} of {self.feed.steps} is done and saved in {self.out}"
        return Stopped(f"{done}; the same command goes on from there", number)

    def _save(self) -> None:
        checkpoint.save(self.accelerator, self.out, self.progress, self.circumstances)
        self.saved = self.progress.step
        if self.accelerator.is_main_process:
            best.keep_only(self.out, self._best())

    def _best(self) -> int | None:
        """The step whose weights are to be kept, where they are not the last."""
        look = None if self.recipe.keep == "last" else self.progress.best(self.recipe.keep)
        return int(look["step"]) if look else None

    def _look(self, tell: Tell) -> None:
        """Measures the weights of now, and keeps them where they are the best so far."""
        weights = self._weights()
        if self.accelerator.is_main_process:
            self.looker.model.load_state_dict(weights, strict=False)
            with contextlib.suppress(Broken):  # what a signal breaks off is looked at when the training goes on
                look = {"step": self.progress.step, **self.looks(self.looker, self.stopping.go_on)}
                self.progress.looks.append(look)
                tell(look)
                if self._best() == self.progress.step:
                    best.keep(self.out, self.progress.step, weights)
        self.accelerator.wait_for_everyone()

    def _weights(self) -> dict[str, Tensor]:
        state = self.accelerator.get_state_dict(self.towers)
        model = self.accelerator.unwrap_model(self.towers)
        if self.average:
            state = {**state, **self.average.shadow}
        return towers.plain(model, state) if self.accelerator.is_main_process else {}

    def _finish(self) -> None:
        weights = self._weights()
        if self.accelerator.is_main_process:
            step = self._best()
            weights = weights if step is None else best.weights(self.out, step)
            made = output.Made(self.recipe, self.identity, self.looker, self.looks, self.progress, weights)
            # With others waiting for this process, what is begun is brought to its end.
            go_on = self.stopping.go_on if self.accelerator.num_processes == 1 else lambda: None
            try:
                output.write(self.out, made, self.circumstances, go_on)
            except Broken:
                raise self._stopped() from None
        self.accelerator.wait_for_everyone()
        if self.recipe.log_with:
            self.accelerator.end_training()

    @contextlib.contextmanager
    def _log(self) -> Iterator[Tell]:
        """What writes a line of log.jsonl, shows the loss and tells the trackers; main process only."""
        if not self.accelerator.is_main_process:
            yield lambda told: None
            return
        if self.recipe.log_with:
            self.accelerator.init_trackers("ohd-bench", config=output.plain_fields(self.recipe))
        shown = stepping(f"training {self.out.name}", self.feed.steps, self.progress.step)
        with log.opened(self.out) as lines, shown as tick:

            def tell(told: dict[str, Any]) -> None:
                news = lines(self.progress.step, told)
                if "loss" in told:
                    tick(told["loss"])
                if news and self.recipe.log_with and "resumed" not in told:
                    self.accelerator.log(told, step=self.progress.step)

            yield tell


def _accelerator(recipe: Training, out: Path) -> Accelerator:
    AcceleratorState._reset_state()  # one process may train many recipes, each in its precision
    return Accelerator(
        # Without this, accelerate takes a process that torchrun has started on a machine without GPU for a lone one.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=recipe.precision,
        log_with=list(recipe.log_with) or None,
        project_dir=out,
        # The buffers are constants; processes with other numbers of chunks would wait for each other's broadcasts.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def _changes(asked: Training, done: Training) -> Iterator[str]:
    """What is done otherwise than asked for, because there is no more to take."""
    if done.batch != asked.batch:
        yield f"batch is {done.batch}, not {asked.batch}: there are no more rows"
    if done.replay_batch != asked.replay_batch:
        yield f"replay_batch is {done.replay_batch}, not {asked.replay_batch}: there are no more captions to replay"
    if done.warmup != asked.warmup:
        yield f"warmup is {done.warmup}, not {asked.warmup}: it is at most a tenth of the steps"


def _check_finite(terms: Terms, step: int) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise DegenerateError(f"step {step + 1}: {name} is {value}; stopped before the weights were touched")
