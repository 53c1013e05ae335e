"""Make every weight of the micro models anew: ``python -m encoders.micro.making [clips|language-model|projectors]…``.

Seeds are fixed; the same versions on the same kind of processor with one thread give the same weights.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from encoders.micro import WEIGHTS
from encoders.micro.making import clips, language_model
from encoders.micro.making.conversations import LENGTH, TEMPLATE
from encoders.micro.making.tokenizers import IMAGE, talk_tokenizer
from harness import registry
from harness.lvlms.micro import WEIGHTS as LLAVA
from harness.types import Place
from harness.vision_language.align import output, stages
from harness.vision_language.identity import weights_digest
from harness.vision_language.template import WRITTEN

log = logging.getLogger(__name__)
NAMES = ("micro", "micro-ohd", "micro-plain")


def make_clips(weights: Path) -> None:
    """The base CLIP, the tuned one and its control."""
    recipe = clips.Pretraining()
    clips.pretrain(recipe).save(weights / "micro")
    web = clips.Web(recipe)
    for name, tuning in (("micro-ohd", clips.Tuning()), ("micro-plain", clips.Tuning(negatives=0))):
        log.info("%s", name)
        clips.tune(clips.load(weights / "micro"), tuning, web).save(weights / name)


def make_language_model(llava: Path) -> None:
    """The language model, with an untrained projector before it."""
    model = language_model.fresh(0)
    language_model.teach(model, language_model.Talking())
    log.info("mostly questions")
    language_model.teach(model, language_model.Talking(questions=9, dense=0.15, lr=1.5e-3, blurred=0.5, seed=1))
    save(model, llava)


def make_projectors(llava: Path) -> None:
    """One projector a tower, made by ``ohd-bench align``; that of ``micro`` and its tower go into the LLaVA folder."""
    registry.load()
    (llava / "projectors").mkdir(exist_ok=True)
    for name in reversed(NAMES):  # the base comes last and stays in the model
        tower = clips.load(WEIGHTS / name).model.vision_model.eval()
        found = {weight: tensor.half() for weight, tensor in aligned(name).items()}
        save_file(found, llava / "projectors" / f"{name}.safetensors", {"tower": weights_digest(tower)})
    model = LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.float32)
    seeing(model, tower, found)
    save(model, llava)


def aligned(name: str, settings: Sequence[str] = ()) -> dict[str, Tensor]:
    """The projector that ``ohd-bench align NAME --lvlm micro-llava --stage pretrain --data micro --seed 0`` trains."""
    plan = stages.planned("micro-llava", "pretrain", ["micro"], settings, seed=0)
    with tempfile.TemporaryDirectory() as work:
        folder = stages.align("micro-llava", name, replace(plan, place=Place(device="cpu")), Path(work) / name)
        return load_file(folder / output.ADAPTER / output.PROJECTOR)


def seeing(model: LlavaForConditionalGeneration, tower: Module, projector: dict[str, Tensor]) -> None:
    """Gives the model this tower, and this projector behind it."""
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.multi_modal_projector.load_state_dict(projector)


def save(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Writes a LLaVA in half precision under the hub's key names, with its processor."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"dtype": "float16", "architectures": ["LlavaForConditionalGeneration"]}
    config |= {WRITTEN: {"template": "chat", "pad": "pad"}}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file(hub_names(model), folder / "model.safetensors", {"format": "pt"})
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.bos_token_id = model.config.text_config.bos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    model.generation_config.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=clips.processor(),
        tokenizer=talk_tokenizer(LENGTH),
        patch_size=model.config.vision_config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)


def hub_names(model: LlavaForConditionalGeneration) -> dict[str, Tensor]:
    """The weights under the names that LLaVA folders on the hub use; the tied output layer is left out."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("model.language_model."):
            name = name.replace("model.language_model.", "language_model.model.", 1)
        elif name.startswith("model.vision_tower."):
            name = name.replace("model.vision_tower.", "vision_tower.vision_model.", 1)
        elif name.startswith("model."):
            name = name.removeprefix("model.")
        else:
            continue
        tensors[name] = tensor.detach().half().contiguous()
    return tensors


def main(parts: list[str]) -> None:
    """Makes these parts, or all of them, in order."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    steps = {
        "clips": lambda: make_clips(WEIGHTS),
        "language-model": lambda: make_language_model(LLAVA),
        "projectors": lambda: make_projectors(LLAVA),
    }
    unknown = [part for part in parts if part not in steps]
    if unknown:
        sys.exit(f"no part is called {unknown[0]}; there is {', '.join(steps)}")
    for name, step in steps.items():
        if name in (parts or steps):
            step()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
