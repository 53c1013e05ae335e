"""Pixels are LLaVA's own; p(yes) counts every spelling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from harness.errors import UsageError
from harness.vision_language import preprocess, yes_no_tokens


def llava_pixels(image: Image.Image, size: int, mean, std) -> np.ndarray:
    """LLaVA's ``expand2square`` and CLIP's normalisation from first principles: a grid of numbers filled in."""
    pixels = np.asarray(image)
    height, width, _ = pixels.shape
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = [int(m * 255) for m in mean]
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    resized = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))
    return ((resized / 255 - np.asarray(mean)) / np.asarray(std)).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(64, 64), (90, 40), (41, 90), (333, 250)])
def test_padded_pixels_are_those_of_llavas_own_code(tiny, shape):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8))
    processor = tiny.image_processor(56)
    found = preprocess.pipeline(processor, "pad")(image)
    expected = llava_pixels(image, 56, processor.image_mean, processor.image_std)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_cropped_pixels_are_the_processors_own(tiny):
    image = tiny.pictures(1)[0]
    processor = tiny.image_processor(32)
    own = processor(images=[image], return_tensors="pt")["pixel_values"][0]
    assert torch.equal(preprocess.pipeline(processor, "crop")(image), own)
    assert not torch.equal(preprocess.pipeline(processor, "pad")(image), own)
    with pytest.raises(UsageError, match="pad"):
        preprocess.pipeline(processor, "stretch")


def test_real_pictures_are_padded_as_llavas_own_code_pads_them(tiny, shared):
    processor = tiny.image_processor(336)
    for path in sorted((shared / "data/images/ohd_overlap").glob("*.jpg"))[:3]:
        image = Image.open(path).convert("RGB")
        found = preprocess.pipeline(processor, "pad")(image).numpy()
        np.testing.assert_allclose(
            found, llava_pixels(image, 336, processor.image_mean, processor.image_std), atol=1e-5
        )


class Vocabulary:
    """A tokenizer that is only its vocabulary."""

    unk_token_id = 0

    def __init__(self, *tokens: str) -> None:
        self.tokens = {token: n for n, token in enumerate(tokens)}

    def get_vocab(self) -> dict[str, int]:
        return self.tokens

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [self.tokens.get(letter, 0) for letter in text]}


@pytest.mark.parametrize(
    ("tokens", "yes", "no"),
    [
        (("<unk>", "▁Yes", "Yes", "▁yes", "YES", "▁No", "no", "▁Not", "▁Yesterday"), (1, 2, 3, 4), (5, 6)),
        (("<unk>", "ĠYes", "Yes", "ĠNo", "NO", "Ġnone"), (1, 2), (3, 4)),
        (("<unk>", "yes</w>", "no</w>", "now</w>"), (1,), (2,)),
        (("<unk>", "y", "e", "s", "n", "o", "Y", "N", " "), (1, 6), (4, 7)),
        (("<unk>", "a", "b"), (), ()),
    ],
)
def test_every_spelling_of_yes_and_no_is_found(tokens, yes, no):
    found = yes_no_tokens.of_tokenizer(Vocabulary(*tokens))
    assert (found.yes, found.no) == (yes, no)


def test_p_yes_is_the_mass_of_all_yes_tokens_against_all_no_tokens():
    found = yes_no_tokens.YesNoTokens((1, 2), (3,))
    logits = torch.tensor([9.0, np.log(2.0), np.log(4.0), np.log(3.0)])
    assert found.p_yes(logits) == pytest.approx(6 / 9)
    assert found.p_yes(logits.half()) == pytest.approx(6 / 9, abs=1e-3)
    assert yes_no_tokens.YesNoTokens((), (3,)).p_yes(logits) is None


def test_the_tiny_tokenizer_knows_six_spellings(tiny):
    tokenizer = tiny.language_tokenizer()
    found = yes_no_tokens.of_tokenizer(tokenizer)
    words = {tokenizer.convert_ids_to_tokens(n) for n in (*found.yes, *found.no)}
    assert {"▁Yes", "▁yes", "▁YES", "▁No", "▁no", "▁NO"} <= words
