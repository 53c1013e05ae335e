"""Train an encoder by a recipe: read top to bottom, resumable at any step, in as many processes as are launched."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from encoders.training import checkpoint, dataset, output, towers
from encoders.training.evaluation import Looks
from encoders.training.feed import Feed
from encoders.training.step import Terms, gradients
from harness import console, registry
from harness.errors import DegenerateError, UsageError

if TYPE_CHECKING:
    from encoders.training.settings import Training
    from encoders.training.step import Batch

BEST = "best.safetensors"


def train(recipe: Training, root: Path, out: Path) -> Path:
    """The folder of the encoder this recipe makes of this data; an interrupted training goes on."""
    return TrainingRun(recipe, root, out).train()


class TrainingRun:
    """One training, in one of its processes."""

    def __init__(self, recipe: Training, root: Path, out: Path) -> None:
        self.out = out
        for name in recipe.log_with:
            if not importlib.util.find_spec(name):
                raise registry.needs(name, name)
        self.accelerator = Accelerator(
            mixed_precision=recipe.precision, log_with=list(recipe.log_with) or None, project_dir=out
        )
        set_seed(recipe.seed)
        # The looker is never trained: it takes the weights of the moment, looks at the dev rows and is what is saved.
        self.looker = towers.base(recipe.base, str(self.accelerator.device))
        fence = None if recipe.allow_outside else root
        rows = dataset.chosen(dataset.pairs(root, "train", fence), recipe.fraction, recipe.max_samples, recipe.seed)
        rows = dataset.shuffled(rows, recipe.seed) if recipe.shuffle_images else rows
        dev = dataset.chosen(dataset.pairs(root, "dev", fence), 1.0, recipe.dev_samples, 0)
        replay = dataset.replayed(root, fence) if recipe.replay else []
        self.feed = Feed(recipe, self.looker, rows, replay, self._place())
        # A short training is not all warm-up; what is recorded is what is done.
        self.recipe = recipe = replace(recipe, warmup=min(recipe.warmup, self.feed.steps // 10))
        self.identity = output.identity(recipe, self.looker, rows)
        if self.feed.hard:
            self.identity["hard_negatives"] = self.feed.hard.digest
        watched = Path(recipe.zero_shot) if recipe.zero_shot else root / "zero_shot"
        self.looks = Looks(self.looker, dev, watched if recipe.zero_shot or watched.is_dir() else None)
        self._prepare()

    def _place(self) -> tuple[int, int]:
        return self.accelerator.process_index, self.accelerator.num_processes

    def _prepare(self) -> None:
        recipe, steps = self.recipe, self.feed.steps
        model = towers.trainable(recipe, towers.base(recipe.base, str(self.accelerator.device)).model)
        self.average = towers.Average(model, recipe.ema) if recipe.ema else None
        optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.lr)
        self.towers, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.schedule = LambdaLR(self.optimizer.optimizer, lambda step: _warmed_cosine(step, recipe.warmup, steps))
        self.accelerator.register_for_checkpointing(self.schedule)
        if self.average:
            self.accelerator.register_for_checkpointing(self.average)

    def train(self) -> Path:
        """The folder of the encoder; an interrupted training goes on, a finished one is left as it is."""
        main = self.accelerator.is_main_process
        with checkpoint.alone(self.out) if main else contextlib.nullcontext():
            if main:
                checkpoint.claim(self.out, self.identity)
            self.accelerator.wait_for_everyone()
            return self._train()

    def _train(self) -> Path:
        """Step after step, with looks at the dev rows."""
        if output.finished(self.out):
            return self.out
        self.progress = checkpoint.restore(self.accelerator, self.out)
        with self._log() as log:
            if not self.progress.looks:
                self._look(log)
            for batches in self.feed(self.progress.step):
                began = time.perf_counter()
                terms = gradients(self.accelerator, self.towers, self.recipe, batches)
                terms["grad_norm"] = float(self._clip())
                _check_finite(terms, self.progress.step)
                terms["lr"] = float(self.schedule.get_last_lr()[0])
                self._update()
                terms["images_per_s"] = self._images(batches) / (time.perf_counter() - began)
                self.progress.step += 1
                log(terms)
                self._now_and_then(log)
        return self._finish()

    def _clip(self) -> Tensor | float:
        norm = self.accelerator.clip_grad_norm_(self.towers.parameters(), self.recipe.clip_norm or math.inf)
        return norm if norm is not None else math.nan

    def _update(self) -> None:
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        model = self.accelerator.unwrap_model(self.towers)
        if self.recipe.max_scale:
            with torch.no_grad():
                model.model.logit_scale.clamp_(max=math.log(self.recipe.max_scale))
        if self.average:
            self.average.update(model)

    def _images(self, batches: list[Batch]) -> int:
        return self.accelerator.num_processes * sum(len(batch.ids) for batch in batches)  # type: ignore[no-any-return]

    def _now_and_then(self, log: Log) -> None:
        step, last = self.progress.step, self.progress.step == self.feed.steps
        every = self.recipe.evaluate_every or max(1, self.feed.order.per_epoch // self.recipe.accumulate)
        if step % every == 0 or last:
            self._look(log)
        if step % self.recipe.save_every == 0 or last:
            checkpoint.save(self.accelerator, self.out, self.progress)

    def _look(self, log: Log) -> None:
        """Measures the weights of now, and keeps them where they are the best so far."""
        weights = self._weights()
        if self.accelerator.is_main_process:
            self.looker.model.load_state_dict(weights, strict=False)
            look = {"step": self.progress.step, **self.looks(self.looker)}
            self.progress.looks.append(look)
            log(look)
            if self.recipe.keep != "last":
                self._keep(weights, look)
        self.accelerator.wait_for_everyone()

    def _keep(self, weights: dict[str, Tensor], look: dict[str, float]) -> None:
        if self.recipe.keep not in look:
            raise UsageError(f"keep '{self.recipe.keep}': a look measures {', '.join(look)}")
        if self.progress.best(self.recipe.keep) == look:
            draft = self.out / f".{BEST}"
            save_file(weights, draft)
            draft.replace(self.out / BEST)

    def _weights(self) -> dict[str, Tensor]:
        state = self.accelerator.get_state_dict(self.towers)
        model = self.accelerator.unwrap_model(self.towers)
        if self.average:
            state = {**state, **self.average.shadow}
        return towers.plain(model, state) if self.accelerator.is_main_process else {}

    def _finish(self) -> Path:
        weights = self._weights()
        if self.accelerator.is_main_process:
            best = self.out / BEST
            output.write(self.out, self._made(load_file(best) if best.is_file() else weights))
            best.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        if self.recipe.log_with:
            self.accelerator.end_training()
        return self.out

    def _made(self, weights: dict[str, Tensor]) -> output.Made:
        return output.Made(self.recipe, self.identity, self.looker, self.looks, self.progress, weights)

    @contextlib.contextmanager
    def _log(self) -> Iterator[Log]:
        """What writes a line of log.jsonl, moves the progress bar and tells the trackers; main process only."""
        if not self.accelerator.is_main_process:
            yield lambda told: None
            return
        if self.recipe.log_with:
            self.accelerator.init_trackers("ohd-bench", config=output.plain_fields(self.recipe))
        path, done = self.out / "log.jsonl", self.progress.step
        kept = [line for line in _lines(path) if self.progress.looks and json.loads(line)["step"] <= done]
        path.write_text("".join(f"{line}\n" for line in kept))
        title = f"training {self.out.name}"
        with path.open("a") as file, console.ticking(title, self.feed.steps) as tick:
            tick(done)

            def log(told: dict[str, float]) -> None:
                step = self.progress.step
                file.write(json.dumps({"step": step, **told}) + "\n")
                file.flush()
                if "loss" in told:
                    tick(1)
                if self.recipe.log_with:
                    self.accelerator.log(told, step=step)

            yield log


Log = Callable[[dict[str, float]], None]


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; a torn last one is left out."""
    return [line for line in path.read_text().splitlines() if line.endswith("}")] if path.is_file() else []


def _check_finite(terms: Terms, step: int) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise DegenerateError(f"step {step + 1}: {name} is {value}; stopped before the weights were touched")


def _warmed_cosine(step: int, warmup: int, steps: int) -> float:
    """The share of the learning rate: a line up, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def _groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices; none for biases, norms, the scale."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
