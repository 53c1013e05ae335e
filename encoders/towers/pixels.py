"""Images as the pixels a model reads: one pipeline (PIL, bicubic) for every standard CLIP, whoever saved it.

The centre crop starts at floor(rest / 2), as transformers has it; open_clip's own transform rounds that half to even,
which shifts some images by one column. One pipeline keeps the scores of one tower the same in every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image, Resampling
from torch import Tensor
from transformers import AutoImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from harness.errors import ModelError
from harness.vision_language import unusual
from harness.vision_language.layouts.folder import first_line

NO_FILE = "the folder has no preprocessor_config.json"


class HubPixels:
    """A transformers image processor, computing with PIL."""

    def __init__(self, processor: Any, assumed: str = "") -> None:
        self.processor, self.assumed = processor, assumed

    def __call__(self, images: Sequence[Image]) -> Tensor:
        """Pixels [N, 3, H, W], one for each image."""
        return self.processor(images=list(images), return_tensors="pt")["pixel_values"]  # type: ignore[no-any-return]

    def describe(self) -> dict[str, Any]:
        """Mean, std, resize and crop, as the processor has them; what else it does otherwise than nearly every one."""
        processor = self.processor
        more = unusual.of_pixels(processor, unusual.SAID_OF_ENCODERS)
        return {
            "mean": [float(x) for x in processor.image_mean],
            "std": [float(x) for x in processor.image_std],
            "resize": _plain(processor.size),
            "crop": _plain(processor.crop_size) if getattr(processor, "do_center_crop", False) else None,
            "interpolation": Resampling(processor.resample).name.lower(),
            **({"pixels": more} if more else {}),
            **({"preprocessing": f"assumed: {self.assumed}"} if self.assumed else {}),
        }

    def save(self, folder: Path) -> None:
        """Writes ``preprocessor_config.json``."""
        self.processor.save_pretrained(folder)


def _plain(size: Any) -> dict[str, int]:
    pairs = size.items() if isinstance(size, Mapping) else vars(size).items()
    return {key: int(value) for key, value in pairs if value is not None}


def of_folder(folder: str, image_size: int, **where: Any) -> HubPixels:
    """The pipeline that a transformers model came with; OpenAI's at this size where it came with none."""
    try:
        return HubPixels(AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False, **where))
    except (OSError, ValueError) as error:
        if (Path(folder) / "preprocessor_config.json").exists() or (Path(folder) / "processor_config.json").exists():
            raise ModelError(f"{folder} has no image processor that can be loaded: {first_line(error)}") from error
    return HubPixels(openai(image_size), assumed=NO_FILE)


def openai(size: int, **more: Any) -> CLIPImageProcessorPil:
    """OpenAI's pixels at this size."""
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **more)


def of_open_clip(config: Mapping[str, Any], assumed: str = "") -> HubPixels:
    """The pipeline that open_clip's preprocessing configuration asks for; why it is assumed, where it is."""
    size = config["size"]
    size = size if isinstance(size, int) else size[0]
    how = {
        "image_mean": list(config["mean"]),
        "image_std": list(config["std"]),
        "resample": Resampling[config["interpolation"].upper()],
    }
    if config["resize_mode"] == "shortest":
        return HubPixels(openai(size, **how), assumed)
    if config["resize_mode"] == "squash":
        square = {"height": size, "width": size}
        return HubPixels(CLIPImageProcessorPil(size=square, do_center_crop=False, **how), assumed)
    raise ModelError(
        f"resize mode '{config['resize_mode']}' is not supported for a standard CLIP; shortest and squash are"
    )


def open_clip_preprocess(pixels: HubPixels) -> dict[str, Any]:
    """open_clip's preprocessing configuration for the same pipeline; ModelError where it has no words for that."""
    told = pixels.describe()
    if "pixels" in told:
        raise ModelError(f"its pixels are made with {told['pixels']}, which open_clip's layout cannot say")
    return {
        "mean": told["mean"],
        "std": told["std"],
        "interpolation": told["interpolation"],
        "resize_mode": "shortest" if "shortest_edge" in told["resize"] else "squash",
    }
