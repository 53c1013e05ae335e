"""A standard CLIP as an encoder under test, whichever library saved it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPVisionModel

from encoders.towers.eight_bit import EightBit
from encoders.towers.kept_pixels import KeptPixels
from encoders.towers.last_layer import pooled
from encoders.towers.pixels import HubPixels
from encoders.towers.tokens import Ids, Words
from encoders.towers.trie import text_features, up_to_the_end
from harness.compute import devices
from harness.compute.onednn import fast_linear
from harness.errors import ModelError
from harness.types import Place, Spec
from harness.vision_language import identity, preprocess


class ClipEncoder:
    """Both towers of a CLIP in transformers' ``CLIPModel``, with the tokenizer and the pixels it came with."""

    def __init__(self, spec: Spec, model: CLIPModel, words: Words | None, pixels: HubPixels, place: Place) -> None:
        identity.check_finite(model, spec.text)
        self.spec = spec.text
        self.words, self.pixels, self.place = words, pixels, place
        preprocess.require_read(pixels([preprocess.ordinary()])[0], model.config.vision_config.image_size, spec.text)
        self.padded = spec.options.get("text", "trie") == "padded"
        self.origin: dict[str, Any] = {}
        self._digest = digest_of(model)
        self.model = model.to(devices.device(place), devices.dtype(place.dtype, torch.float32)).eval()

    @functools.cached_property
    def files(self) -> KeptPixels:
        """Picture files as the pixels its tower reads, each decoded once."""
        return KeptPixels(self.pixels)

    def look(self, path: Path) -> Image:
        """A picture file as it is after resizing, decoded once over all runs; ImageError where it holds none."""
        return self.files.look(path)

    def encode_images(self, images: Sequence[Image]) -> Tensor:
        """Unit rows [N, D] in float32, one for each image."""
        return self._rows(images, self.pixels)

    def encode_files(self, paths: Sequence[Path]) -> Tensor:
        """Unit rows [N, D] in float32, one for each picture file: those of ``encode_images`` to the bit."""
        return self._rows(paths, self.files.moved)

    @torch.no_grad()
    def _rows(self, pictures: Sequence[Any], pixels: Callable[[Sequence[Any]], Tensor | EightBit]) -> Tensor:
        weight = self.model.visual_projection.weight
        step = devices.batch_size(self.place, gpu=128, cpu=16)
        with fast_linear(weight.device, weight.dtype, weight.shape[1]):
            rows = [
                self.model.visual_projection(
                    pooled(self.model.vision_model, pixels(pictures[i : i + step]).to(weight.device, weight.dtype))
                )
                for i in range(0, len(pictures), step)
            ]
        return unit(rows, weight.shape[0], self.spec)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows [N, D] in float32, one for each text."""
        if self.words is None:
            raise ModelError(f"{self.spec} holds a vision tower and no text tower; it can only be put into an LVLM")
        features = padded_features if self.padded else text_features
        step = devices.batch_size(self.place, gpu=1024, cpu=256)
        ids = self.words(texts)
        weight = self.model.text_projection.weight
        # The padded way is the reference, so it keeps torch's own kernels.
        with nullcontext() if self.padded else fast_linear(weight.device, weight.dtype, weight.shape[1]):
            rows = [features(self.model, ids[i : i + step]) for i in range(0, len(ids), step)]
        return unit(rows, self.model.config.projection_dim, self.spec)

    def tower(self) -> CLIPVisionModel:
        """The vision tower; an LVLM takes a copy of it."""
        return self.model.vision_model

    def image_processor(self) -> Any:
        """transformers' image processor that makes its tower's pixels."""
        return self.pixels.processor

    def digest(self) -> str:
        """SHA-256 over the tensors of both towers under the hub's names, by value."""
        return self._digest

    @functools.cached_property
    def tower_digest(self) -> str:
        """SHA-256 over the tensors of the vision tower, by value."""
        return identity.tower_digest(self.model.vision_model)

    def describe(self) -> Mapping[str, Any]:
        """Everything but the weights that decides what comes out."""
        vision, text = self.model.config.vision_config, self.model.config.text_config
        return {
            "activation": vision.hidden_act,
            "text_activation": text.hidden_act,
            "resolution": vision.image_size,
            "patch": vision.patch_size,
            "pooling": "class token, post-norm",
            "text_pooling": "end token",
            "text_length": text.max_position_embeddings,
            "text": "padded" if self.padded else "trie",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            **self._reading,
            **self.pixels.describe(),
            **self.origin,
        }

    @functools.cached_property
    def _reading(self) -> dict[str, Any]:
        """How texts are read, where that does not go without saying."""
        if self.words is None:
            return {}
        told = self.words.told()
        found: dict[str, Any] = {"tokenizer": told} if told else {}
        # Padded texts are read at their last token, others where the configuration says.
        return found if self.padded else found | read_at(self.words, self.model.config.text_config)

    def tensors(self) -> Mapping[str, Tensor]:
        """The weights of both towers under the hub's names."""
        return {n: t.detach().cpu() for n, t in self.model.state_dict().items() if "position_ids" not in n}

    def save(self, folder: Path, to: str) -> None:
        """Writes the encoder in the layout of ``hf`` or ``open-clip``."""
        from encoders.towers.saving import save

        save(self, folder, to)


def digest_of(model: CLIPModel) -> str:
    """SHA-256 of both towers, their values and what computes them; the same for one CLIP in every format."""
    tensors = {n: t for n, t in model.state_dict().items() if "position_ids" not in n}
    return identity.computing(tensors, model.config.vision_config, model.config.text_config)


def read_at(words: Words, text: Any) -> dict[str, Any]:
    """The token at which this text tower reads a text, where that is not the one that its tokenizer ends texts with."""
    end = words([""])[0][-1]
    # 2 stands for the highest id, in configurations that are older than transformers' PR 24773.
    usual = (end, 2) if end == text.vocab_size - 1 else (end,)
    return {} if text.eos_token_id in usual else {"text_end": text.eos_token_id}


def unit(rows: Sequence[Tensor], width: int, whose: str) -> Tensor:
    """These rows as one float32 tensor on the CPU, each of length one; DegenerateError where they are not finite."""
    if not rows:
        return torch.empty(0, width)
    return functional.normalize(identity.finite(torch.cat(list(rows)).float().cpu(), whose), dim=-1)


def padded_features(model: CLIPModel, ids: Ids) -> Tensor:
    """Projected features [N, D] of texts padded to the whole context, computed and pooled by transformers' own code.

    ModelError for a text that holds no end token: transformers would read its start.
    """
    length = model.config.text_config.max_position_embeddings
    device = model.text_projection.weight.device
    ids_NT = torch.zeros(len(ids), length, dtype=torch.long)
    for row, tokens in zip(ids_NT, ids, strict=True):
        up_to_the_end(tuple(tokens), model)
        row[: len(tokens)] = torch.tensor(tokens)
    return model.text_projection(model.text_model(input_ids=ids_NT.to(device)).pooler_output)  # type: ignore[no-any-return]
