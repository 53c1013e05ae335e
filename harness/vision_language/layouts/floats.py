"""Whether weights are kept as floating-point numbers: quantised ones, read as if they were, mean others."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME, cached_file

from harness.errors import ModelError
from harness.vision_language.layouts.folder import read_json
from harness.vision_language.layouts.weight_names import is_computed

FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
"""The numbers that weights may be kept as, by what safetensors calls them. Eight bits need a scale beside them."""
MASK = "BOOL"
NO_WEIGHTS = ("num_batches_tracked", "relative_position_index")
"""Whole numbers that models keep and that are none of their weights."""


def require(where: str, tensors: Mapping[str, Tensor]) -> None:
    """ModelError that names the first of these weights that is kept as anything but floats."""
    for name, tensor in tensors.items():
        _require(where, name, tensor.dtype, str(tensor.dtype).removeprefix("torch."))


def require_loaded(location: str, model: Any, **where: Any) -> None:
    """The same of the files that transformers loaded this model from: it makes floats of whatever lies there.

    What a ``quantization_config`` of the folder tells of is the library's to read.
    """
    if getattr(getattr(model, "hf_quantizer", None), "pre_quantized", False):
        return
    for path in _files(location, where):
        for name, kind in _kinds(path):
            if kind != MASK:
                _require(str(path), name, FLOATS.get(kind), kind)


def _require(where: str, name: str, dtype: torch.dtype | None, kind: str) -> None:
    if dtype not in FLOATS.values() and not is_computed(name) and not name.endswith(NO_WEIGHTS):
        raise ModelError(
            f"{where} holds '{name}' as {kind}: quantised weights are not read, unless a quantization_config in "
            "config.json says how; use the weights they were made from"
        )


def _files(location: str, where: Mapping[str, Any]) -> Iterator[Path]:
    """The files that transformers reads a model's weights from, in the order in which it looks for them."""
    for single, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        if found := _file(location, single, where):
            yield found
            return
        if found := _file(location, index, where):
            names = sorted(set(read_json(found).get("weight_map", {}).values()))
            yield from (path for name in names if (path := _file(location, name, where)))
            return


def _file(location: str, name: str, where: Mapping[str, Any]) -> Path | None:
    found = cached_file(
        location, name, local_files_only=True, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False, **where,
    )  # fmt: skip
    return Path(found) if found else None


def _kinds(path: Path) -> Iterator[tuple[str, str]]:
    """Each tensor's name and what its numbers are kept as, its values unread."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            yield from ((name, file.get_slice(name).get_dtype()) for name in file.keys())  # noqa: SIM118 (no mapping)
        return
    known = {dtype: kind for kind, dtype in FLOATS.items()} | {torch.bool: MASK}
    held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    for name, tensor in held.items():
        if isinstance(tensor, Tensor):
            yield name, known.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
