"""One step's gradients: the same by trie or padded, whole or in chunks, in one process or in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from encoders.training import dataset, towers
from encoders.training.feed import Feed
from encoders.training.settings import Training
from encoders.training.step import Batch, Terms, gradients


def step(recipe: Training, root: Path) -> tuple[Terms, dict[str, Tensor]]:
    """Loss and gradients of the recipe's first step from its base."""
    encoder = towers.base(recipe.base)
    feed = Feed(recipe, encoder, dataset.pairs(root, "train"), dataset.replayed(root) if recipe.replay else [])
    batches = next(iter(feed(0)))
    accelerator = Accelerator()
    model = accelerator.prepare(towers.trainable(recipe, encoder.model))
    terms = gradients(accelerator, model, recipe, batches)
    return terms, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(one: tuple[Terms, dict[str, Tensor]], other: tuple[Terms, dict[str, Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    largest = max(grad.abs().max() for grad in one[1].values())
    for name, grad in one[1].items():
        torch.testing.assert_close(grad, other[1][name], atol=1e-5 * float(largest), rtol=1e-3, msg=name)


@pytest.fixture(scope="module")
def reference(recipe: Training, root: Path) -> tuple[Terms, dict[str, Tensor]]:
    """The plain way: padded captions, the whole batch at once."""
    return step(replace(recipe, batch=8, replay=0.5, replay_batch=4, text="padded"), root)


@pytest.mark.parametrize("changes", [{"chunk": 0}, {"chunk": 3}, {"chunk": 1}, {"chunk": 5, "checkpointing": True}])
def test_trie_and_chunks_give_the_gradients_of_the_plain_way(
    recipe: Training, root: Path, reference: tuple[Terms, dict[str, Tensor]], changes: dict
) -> None:
    assert_same(step(replace(recipe, batch=8, replay=0.5, replay_batch=4, **changes), root), reference)


def test_gradients_are_those_of_the_loss_differentiated_in_one_piece(
    recipe: Training, root: Path, reference: tuple[Terms, dict[str, Tensor]]
) -> None:
    from encoders.training.loss import object_contrastive_loss

    asked = replace(recipe, batch=8, replay=0.5, replay_batch=4)
    encoder = towers.base(asked.base)
    batch = next(iter(Feed(asked, encoder, dataset.pairs(root, "train"), dataset.replayed(root))(0)))[0]
    model = towers.trainable(asked, encoder.model)
    image, text, scale = model(batch.pixels.to("cpu"), towers.Captions([ids for row in batch.ids for ids in row]))
    width, at, rows, valid = asked.negatives_per_row + 1, 0, [], []
    for captions in batch.ids[: batch.pairs]:
        padding = torch.zeros(width - len(captions), text.shape[1])
        rows.append(torch.cat([text[at : at + len(captions)], padding]))
        valid.append([n < len(captions) for n in range(width)])
        at += len(captions)
    found = object_contrastive_loss(image[:8], torch.stack(rows), torch.tensor(valid), scale=scale)
    replayed = object_contrastive_loss(image[8:], text[at:].unsqueeze(1), scale=scale)
    (found.total + 0.5 * replayed.l0).backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    told = Terms(loss=(found.total + 0.5 * replayed.l0).item(), replay=replayed.l0.item())
    told.update(l0=found.l0.item(), l1=found.l1.item(), l2=found.l2.item())
    assert_same((told, grads), reference)


def test_bf16_comes_close(recipe: Training, root: Path, reference: tuple[Terms, dict[str, Tensor]]) -> None:
    from accelerate.state import AcceleratorState

    encoder = towers.base(recipe.base)
    asked = replace(recipe, batch=8, replay=0.5, replay_batch=4)
    batches = next(iter(Feed(asked, encoder, dataset.pairs(root, "train"), dataset.replayed(root))(0)))
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision="bf16")
    terms = gradients(accelerator, accelerator.prepare(towers.trainable(asked, encoder.model)), asked, batches)
    AcceleratorState._reset_state()
    assert terms["loss"] == pytest.approx(reference[0]["loss"], rel=0.05)
    assert terms["loss"] != reference[0]["loss"]


def test_accumulated_batches_give_the_mean_of_their_gradients(recipe: Training, root: Path) -> None:
    both = step(replace(recipe, batch=4, accumulate=2), root)
    encoder = towers.base(recipe.base)
    feed = Feed(replace(recipe, batch=4), encoder, dataset.pairs(root, "train"), [])
    accelerator, grads, losses = Accelerator(), [], []
    for batches in list(feed(0))[:2]:
        model = towers.trainable(recipe, towers.base(recipe.base).model)
        losses.append(gradients(accelerator, model, recipe, batches)["loss"])
        grads.append({name: p.grad for name, p in model.named_parameters()})
    assert both[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    name = "model.visual_projection.weight"
    torch.testing.assert_close(both[1][name], (grads[0][name] + grads[1][name]) / 2, atol=1e-5, rtol=1e-3)


def test_two_processes_take_the_step_of_one_with_the_joined_batch(recipe: Training, root: Path, tmp_path: Path) -> None:
    asked = replace(recipe, batch=8, replay=0.5, replay_batch=4, steps=2, accumulate=2, chunk=3)
    whole = asked.train(root, tmp_path / "one")
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport torch\nfrom encoders.training.settings import Training\n"
        "torch.set_num_threads(1)\n"
        f"recipe = {asked!r}\nrecipe.train(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    here = Path(__file__).parents[3]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    said = subprocess.run(
        [*command, str(root), str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(here), "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert said.returncode == 0, said.stderr
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(logs[0]) == len(logs[1])
    for one, two in zip(*logs, strict=True):
        for key in set(one) - {"images_per_s"}:
            assert two[key] == pytest.approx(one[key], rel=1e-4, abs=1e-6), key
    first, second = (towers.base(f"clip:{path}").model.state_dict() for path in (whole, tmp_path / "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], atol=1e-4, rtol=1e-3, msg=name)


def test_a_row_with_fewer_captions_than_asked_is_masked(recipe: Training, root: Path) -> None:
    encoder = towers.base(recipe.base)
    batch = next(iter(Feed(replace(recipe, batch=12), encoder, dataset.pairs(root, "train"), [])(0)))[0]
    assert isinstance(batch, Batch)
    assert {len(row) for row in batch.ids} == {3, 5}
