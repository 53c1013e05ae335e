"""The micro world as alignment data, and LLaVA-1.5's recipes at the size of micro-llava."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import data

SETTINGS = {
    "pretrain": {"batch": "32", "micro_batch": "32", "rate": "2e-3", "gradient_checkpointing": "false"},
    "lora": {"batch": "32", "micro_batch": "32", "rate": "1e-3", "gradient_checkpointing": "false", "lora_rank": "8"},
    "full": {"batch": "32", "micro_batch": "32", "rate": "5e-4", "gradient_checkpointing": "false"},
}


def settings(stages: Sequence[str]) -> dict[str, str]:
    """What the named stages are told for micro-llava; what is set by hand goes before it."""
    return {f"{stage}.{field}": value for stage in stages for field, value in SETTINGS.get(stage, {}).items()}


def rows(stage: str) -> Path:
    """The micro world's rows for this stage: captions for ``pretrain``, conversations for the others."""
    return data.micro_alignment() / ("captions.json" if stage == "pretrain" else "conversations.json")
