"""Read the weights of a checkpoint file, whoever wrote it, and leave everything else in it alone."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from harness.errors import ModelError

_WRAPPERS = ("module.", "_orig_mod.", "model.", "clip.")
NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin", "non_lora_trainables.bin", "mm_projector.bin")
# "vision_encoder_state_dict" first: RobustVLM's and TeCoA's files have a prompter's "state_dict" beside their tower
# (chs20/RobustVLM at b47d9d9, CLIP_eval/eval_utils.py, load_clip_model).
_NESTS = ("vision_encoder_state_dict", "state_dict", "model_state_dict", "model", "module")


def read(path: Path, wrapped: bool = False) -> dict[str, Tensor]:
    """The weights in a ``.safetensors``, ``.pt`` or ``.bin`` file by name; optimizer, EMA and epoch are left out.

    Pickles are read with ``weights_only=True``: a file that wants to run code is refused. Names lose what training
    wrappers put before every one of them, unless they are asked for as they are (``wrapped``).
    """
    return _tensors(path) if wrapped else without_wrappers(_tensors(path))


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}")
    loaded = _loaded(path)
    for nest in _NESTS:
        if isinstance(loaded.get(nest), Mapping):
            loaded = loaded[nest]
            break
    tensors = {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path} holds no weights: its entries are {', '.join(map(str, list(loaded)[:6])) or 'none'}")
    return tensors


def _loaded(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if _is_program(path):
            raise ModelError(
                f"{path} is TorchScript, a program and not weights alone; save its state_dict and name that"
            )
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} cannot be read as weights: it holds more than tensors, and loading it could run code"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path} cannot be read as weights: {reason}") from error
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be read as weights: {error}") from error
    except (LookupError, TypeError, AttributeError, AssertionError) as error:  # what an unpickler makes of odd bytes
        raise ModelError(f"{path} cannot be read as weights: it is damaged, or none") from error
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path} holds a {type(loaded).__name__}, not weights by name")
    return loaded


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights without what training wrappers put before every name."""
    for wrapper in _WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            return without_wrappers({name.removeprefix(wrapper): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def read_folder(folder: Path, part: str = "") -> dict[str, Tensor]:
    """The weights of a folder whose names contain this, from one file or from shards; safetensors before pickles."""
    for pattern in ("*.safetensors", "*.bin"):
        files = sorted(path for path in folder.glob(pattern) if path.name not in NOT_WEIGHTS)
        if files:
            return {name: tensor for file in files for name, tensor in _tensors(file).items() if part in name}
    raise ModelError(f"{folder} holds no weights, neither *.safetensors nor *.bin")


def hollow(kind: Any, config: Any, **how: Any) -> Any:
    """A transformers CLIP of this configuration whose weights are yet to be put in; nothing is drawn at random."""
    with torch.device("meta"):
        model = kind._from_config(config, **how)
    model.to_empty(device="cpu").float()  # a configuration may name the half precision of a file
    for name, buffer in model.named_buffers():
        if not name.endswith("position_ids"):
            raise ModelError(f"{kind.__name__} computes '{name}', which is not known here")
        buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return model


def quietly() -> None:
    """Keeps transformers' load reports and bars off stderr: what is missing is an error here, in one line."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def require_shapes(where: str, told: Mapping[str, Any]) -> None:
    """ModelError where weights have other shapes than their configuration, by what transformers told of loading them.

    For that it has to be asked to load with ``ignore_mismatched_sizes``; its own error names none of them.
    """
    if odd := sorted(told["mismatched_keys"]):
        name, there, wanted = odd[0]
        raise ModelError(
            f"{where} holds {len(odd)} weights of other shapes than its config.json says, '{name}' the first: "
            f"{' × '.join(map(str, there))}, not {' × '.join(map(str, wanted))}"
        )
