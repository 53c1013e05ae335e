"""An alignment step in micro-batches of like length, against all rows padded to the longest; a long file of rows."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Measurement, device, row
from harness.vision_language.align import order
from harness.vision_language.align.batches import together

ROWS = 665_298
"""Rows of LLaVA-1.5's second stage."""
IMAGE, PATCHES = 3, 16

# A process of its own, so that its peak is the reading's alone.
READ = """
import sys
from pathlib import Path
from harness.vision_language.align import rows
def kilobytes(name):
    told = Path("/proc/self/status").read_text()
    return int(told.partition(name + ":")[2].split()[0])
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = kilobytes("VmRSS")
found = rows.load(Path(sys.argv[1]), None, lambda row: "", 0.0)
assert found[len(found) - 1].said[1].text.startswith("An answer")
print(len(found), before * 1024, kilobytes("VmHWM") * 1024)
"""


def rows(quick: bool) -> Iterator[Measurement]:
    """The step and the reading."""
    yield _step(quick)
    yield _reading(quick)


def _step(quick: bool) -> Measurement:
    """Forward and backward of one update of accumulated micro-batches; the loss is the mean of means in both ways."""
    model, rows_of, micro = _model(), 64 if quick else 128, 8
    draw = random.Random(0)
    # Conversations of a few words and of hundreds, as the mix has them.
    lengths = [max(8, int(draw.lognormvariate(4, 1))) for _ in range(rows_of)]
    examples = [_example(draw, min(length, 600)) for length in lengths]
    grouped = order.by_length(lengths, micro, rows_of // micro, torch.Generator().manual_seed(0))
    batches = [[examples[n] for n in grouped[start : start + micro]] for start in range(0, rows_of, micro)]
    longest = max(len(one["ids"]) for one in examples)

    def update(pad: int) -> Tensor:
        total = torch.zeros((), device=device())
        for batch in batches:
            loss = model(**_padded(together(batch), pad)).loss / len(batches)
            loss.backward()
            total += loss.detach()
        return total

    costs = []
    for pad in (longest, 0):
        model.zero_grad()
        began, clock = time.process_time(), time.perf_counter()
        loss = update(pad)
        costs.append((time.process_time() - began, time.perf_counter() - clock, float(loss), _gradient(model)))
    (padded, padded_wall, reference, slope), (ours, wall, loss, own_slope) = costs
    error = ((own_slope - slope).norm() / slope.norm()).item()
    return row(
        "alignment-step",
        padded_wall if torch.cuda.is_available() else padded,
        wall if torch.cuda.is_available() else ours,
        abs(loss - reference) < 1e-4 and error < 1e-3,
        rows=rows_of,
        micro_batch=micro,
        tokens=sum(len(one["ids"]) for one in examples),
        tokens_computed=sum(max(len(one["ids"]) for one in batch) * micro for batch in batches),
        tokens_reference=longest * rows_of,
        loss=loss,
        gradient_error=error,
    )


def _model() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    vision = CLIPVisionConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                              image_size=32, patch_size=8)  # fmt: skip
    text = LlamaConfig(vocab_size=512, hidden_size=256, intermediate_size=688, num_hidden_layers=4,
                       num_attention_heads=4, num_key_value_heads=4)  # fmt: skip
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=PATCHES)
    return LlavaForConditionalGeneration(config).to(device())


def _example(draw: random.Random, length: int) -> dict[str, Any]:
    ids = [1, *[IMAGE] * PATCHES, *(draw.randrange(10, 512) for _ in range(length))]
    labels = [-100] * (PATCHES + 1 + length // 2) + ids[PATCHES + 1 + length // 2 :]
    return {"ids": ids, "labels": labels, "pixels": torch.zeros(3, 32, 32)}


def _padded(batch: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    more = max(0, width - batch["input_ids"].shape[1])
    fills = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    wide = {key: torch.nn.functional.pad(batch[key], (0, more), value=fill) for key, fill in fills.items()}
    return {key: tensor.to(device()) for key, tensor in {**batch, **wide}.items()}


def _gradient(model: Any) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]).clone()


def _reading(quick: bool) -> Measurement:
    """What a process grows by while it reads a file of as many conversations as LLaVA's mix; against the whole file."""
    count = ROWS // 20 if quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.json"
        with path.open("w") as file:
            for n in range(count):
                talk = [{"from": who, "value": f"{text} number {n}. " * 12}
                        for _ in range(2) for who, text in (("human", "A question"), ("gpt", "An answer"))]  # fmt: skip
                file.write(("[" if not n else ",\n") + json.dumps({"id": str(n), "conversations": talk}))
            file.write("]\n")
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)  # noqa: S603
        took, size = time.perf_counter() - began, path.stat().st_size
    read, before, after = map(int, done.stdout.split())
    grown = after - before
    return row(
        "alignment-rows",
        size,
        grown,
        read == count,
        unit="bytes of the file to bytes that the process grew by",
        rows=count,
        file_mb=round(size / 2**20),
        grown_mb=round(grown / 2**20, 1),
        seconds=round(took, 1),
    )
