"""transformers' Trainer as LLaVA-1.5 used it: its order, groups and loss; exact resume; a look at held-out rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness import extras
from harness.errors import DegenerateError, Stopped, UsageError
from harness.stepping import stepping
from harness.stopping import Stopping
from harness.vision_language.align import order, recipes, trained
from harness.vision_language.align.batches import Examples, together
from harness.vision_language.align.recipes import Stage

STATE = "trainer_state.json"


class Given(Sampler[int]):
    """Rows in an order that is known beforehand."""

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class AlignTrainer(Trainer):  # type: ignore[misc]
    """A Trainer of one stage; see ``train``."""

    optimizer: Any

    def __init__(self, stage: Stage, rows: Sequence[int], **given: Any) -> None:
        self.stage, self.rows = stage, rows
        super().__init__(data_collator=together, **given)
        # Where the model says it can take the number of tokens of all micro-batches, transformers divides by it.
        self.model_accepts_loss_kwargs = stage.loss == "mean of tokens"

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return Given(self.rows)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with LLaVA's groups."""
        if self.optimizer is None:
            model = self.model if model is None else model
            kind, how = self.get_optimizer_cls_and_kwargs(self.args, model)
            decayed = set(self.get_decay_parameter_names(model))
            self.optimizer = kind(trained.groups(model.named_parameters(), decayed, self.stage), **how)
        return self.optimizer  # type: ignore[no-any-return]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **how: Any) -> Any:
        """The loss of a micro-batch; DegenerateError, before anything is changed, where it is not finite."""
        found = super().compute_loss(model, inputs, return_outputs=True, **how)
        loss, outputs = found
        if "pixel_values" not in inputs:
            loss = loss + _idle(self.accelerator.unwrap_model(model))
        if not torch.isfinite(loss):
            raise DegenerateError(f"align: the loss is {loss.item()} at update {self.state.global_step + 1}")
        return (loss, outputs) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.is_fsdp_enabled:  # the weights are saved beside the optimizer, by all processes
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        trained.save(self.accelerator.unwrap_model(self.model), folder)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # Each process writes its own. What says that a checkpoint is whole is written by the first when all have.
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if (Path(resume_from_checkpoint) / trained.FILE).is_file():
            trained.restore(self.accelerator.unwrap_model(self.model), Path(resume_from_checkpoint))
        else:  # FSDP and DeepSpeed keep the weights in files of their own
            super()._load_from_checkpoint(resume_from_checkpoint, model)


def _idle(model: Any) -> Tensor:
    """Nothing, made by the projector, so that a batch without images has a gradient of 0 for it and not none.

    LLaVA sends a zero image through tower and projector for such rows: AdamW then goes on by its momentum, and every
    process has the same gradients to add up.
    """
    projector = trained.projector_of(model)
    weight = projector.linear_1.weight
    return 0.0 * projector(weight.new_zeros(1, 1, weight.shape[1])).sum()  # type: ignore[no-any-return]


class Told(TrainerCallback):  # type: ignore[misc]
    """Shows each update's loss and the time left on stderr, in the main process."""

    def __init__(self, title: str) -> None:
        self.title, self.showing = title, contextlib.ExitStack()

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """From where an earlier run came to."""
        if state.is_world_process_zero:
            self.tick = self.showing.enter_context(stepping(self.title, state.max_steps, state.global_step))

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **more: Any) -> None:
        """One update more."""
        if state.is_world_process_zero and "loss" in logs:
            self.tick(logs["loss"])

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Done, or stopped."""
        self.showing.close()


class Heeding(TrainerCallback):  # type: ignore[misc]
    """Saves and stops after the update during which a signal came to any of the processes."""

    def __init__(self, stopping: Stopping) -> None:
        self.stopping, self.heeded = stopping, False

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Stops where it was asked for."""
        if _anywhere(self.stopping.asked is not None, args.device):
            self.heeded = control.should_save = control.should_training_stop = True


def _anywhere(here: bool, device: torch.device) -> bool:
    if not torch.distributed.is_initialized():
        return here
    told = torch.tensor(int(here), device=device)
    torch.distributed.all_reduce(told)
    return bool(told)


def plan_rows(stage: Stage, lengths: Sequence[int]) -> tuple[list[int], int]:
    """The rows of every update of the stage in order, and how many updates they are."""
    per_epoch = -(-len(lengths) // stage.batch)
    updates = stage.updates or max(1, round(per_epoch * stage.epochs))
    rows: list[int] = []
    for epoch in range(-(-updates // per_epoch)):
        seed = stage.seed + epoch
        if stage.group_by_length:
            found = order.length_grouped(lengths, stage.micro_batch, stage.batch // stage.micro_batch, seed)
        else:
            found = order.shuffled(len(lengths), seed)
        rows += order.filled(found, stage.batch)
    return rows[: updates * stage.batch], updates


def _blocks(model: Any) -> list[str]:
    """The classes of the language model's blocks: what FSDP gathers one at a time.

    Not the tower's: a process whose rows have no image would not call them, and all must gather the same in one order.
    """
    there = {type(module).__name__ for module in model.model.language_model.modules()}
    return sorted(there & set(model._no_split_modules))


def arguments(stage: Stage, work: Path, updates: int, held: int, model: Any) -> TrainingArguments:
    """What transformers' Trainer is told."""
    for name in stage.report_to:
        if not extras.there(name):
            raise extras.needs(name)
    if "tensorboard" in stage.report_to:  # beside the checkpoints, which go when the stage is done
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(work.parent.parent / "tensorboard" / stage.name)
    if stage.fsdp and "LOCAL_RANK" not in os.environ:
        raise UsageError("fsdp shards a model over processes: start them with torchrun (--nproc-per-node=1 will do)")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    where = next(model.parameters()).device
    gpu = where.type == "cuda"
    every = stage.evaluate_every or max(1, updates // 20)
    told = TrainingArguments(
        output_dir=str(work),
        max_steps=updates,
        per_device_train_batch_size=stage.micro_batch,
        per_device_eval_batch_size=stage.micro_batch,
        gradient_accumulation_steps=recipes.accumulation(stage, processes),
        learning_rate=stage.rate,
        lr_scheduler_type=stage.schedule,
        warmup_steps=stage.warmup,  # below 1, so a share, rounded up
        weight_decay=stage.weight_decay,
        adam_beta1=stage.beta1,
        adam_beta2=stage.beta2,
        adam_epsilon=stage.epsilon,
        max_grad_norm=stage.clip_norm,
        optim="adamw_torch",
        seed=stage.seed,
        bf16=stage.precision == "bf16",
        tf32=(stage.tf32 or None) if gpu else None,
        use_cpu=where.type == "cpu",
        gradient_checkpointing=stage.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if stage.gradient_checkpointing else None,
        dataloader_num_workers=stage.workers if gpu else 0,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if held else "no",
        eval_steps=every if held else None,
        eval_on_start=bool(held) and checkpoint(work) is None,
        save_strategy="steps",
        save_steps=stage.save_every,
        save_total_limit=1,
        report_to=list(stage.report_to) or "none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        deepspeed=stage.deepspeed or None,
        fsdp=stage.fsdp or None,
        fsdp_config={"transformer_layer_cls_to_wrap": _blocks(model)} if stage.fsdp else None,
    )
    told._n_gpu = min(told.n_gpu, 1)  # several GPUs are several processes (torchrun), never threads of one
    if where.type == "cpu":  # accelerate calls a CPU's processes cpu:0, which torch.load does not know
        told.__dict__["_setup_devices"] = torch.device("cpu")
    return told


def checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was written whole; None where there is none."""
    found = sorted(work.glob("checkpoint-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    return next((folder for folder in reversed(found) if _whole(folder / STATE)), None)


def _whole(path: Path) -> bool:
    try:  # written last
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


def made(
    model: Any,
    stage: Stage,
    rows: Sequence[int],
    examples: tuple[Examples, Examples],
    told: TrainingArguments,
    callbacks: list[TrainerCallback],
) -> AlignTrainer:
    """What trains this model on these rows in this order, and looks at those held out."""
    learn, held = examples
    trainer = AlignTrainer(
        stage,
        rows,
        model=model,
        args=told,
        train_dataset=learn,
        eval_dataset=held if len(held) else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it writes to stdout
    return trainer


@dataclass(frozen=True)
class Trained:
    """The log of a training, loss, rate and held-out loss by update; and the signal that came after its last update."""

    log: list[dict[str, float]]
    late: signal.Signals | None


def train(model: Any, stage: Stage, examples: tuple[Examples, Examples], work: Path) -> Trained:
    """Trains the model in place.

    Goes on from the newest whole checkpoint in ``work``. SIGTERM or Ctrl-C saves after the update under way: Stopped.
    One that comes after the last update stops nothing here: it is for who asked, once what was trained is written.
    """
    learn, held = examples
    rows, updates = plan_rows(stage, learn.lengths)
    names = set(trained.state(model))
    with Stopping() as stopping:
        heeding = Heeding(stopping)
        given = arguments(stage, work, updates, len(held), model)
        trainer = made(model, stage, rows, examples, given, [Told(stage.name), heeding])
        if stage.fsdp and trainer.accelerator.distributed_type != DistributedType.FSDP:
            raise UsageError("fsdp shards over GPUs; accelerate would train whole copies here: leave fsdp out")
        found = checkpoint(work)
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        if heeding.heeded:
            done = f"{stage.name}: update {trainer.state.global_step} of {updates} is done and saved in {work}"
            raise Stopped(f"{done}; the same command goes on from there", stopping.asked or signal.SIGTERM)
    if is_sharded(stage):
        whole = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if trainer.is_world_process_zero():
            trained.write({name: tensor for name, tensor in whole.items() if name in names}, work)
        trainer.accelerator.wait_for_everyone()
    return Trained([dict(line) for line in trainer.state.log_history], stopping.asked)


def is_sharded(stage: Stage) -> bool:
    """Whether no process may hold all the weights when the stage is done; they are then in ``work``."""
    return bool(stage.fsdp or stage.deepspeed)
