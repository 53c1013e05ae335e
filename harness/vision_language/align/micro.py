"""The micro world as alignment data, and LLaVA-1.5's recipes at the size of micro-llava."""

from __future__ import annotations

from pathlib import Path

from harness import data

_SMALL = {
    "template": "own",  # its language model was taught no other
    "batch": "32",
    "micro_batch": "32",
    "updates": "300",
    "validation": "0.02",
    "evaluate_every": "100",
    "gradient_checkpointing": "false",
}
SETTINGS = {
    "pretrain": {**_SMALL, "rate": "5e-3"},
    "lora": {**_SMALL, "rate": "1e-3", "projector_rate": "1e-3", "lora_rank": "8", "lora_alpha": "16"},
    "full": {**_SMALL, "rate": "5e-4"},
}
"""What LLaVA-1.5's recipes become for a model of a million weights: about two minutes of CPU for two stages."""


def rows() -> Path:
    """The micro world's rows, the same for every stage: from captions alone a projector learns to read too little."""
    return data.micro_alignment() / "conversations.json"
