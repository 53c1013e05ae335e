"""Golden prompts: what each task asks, and what a model reads, to the character."""

from __future__ import annotations

import pytest

from harness import registry
from harness.asking import evaluate
from harness.data import micro

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions. USER: <image>\nDescribe this image. ASSISTANT:"
)


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    registry.load()


@pytest.mark.parametrize(
    ("task", "id", "prompt", "tokens", "until"),
    [
        ("amber", "1", "Describe this image.", 512, ""),
        ("amber", "1005", "Is the sky sunny in this image?", 8, ""),
        ("amber", "8633", "Is there a cloud in this image?", 8, ""),
        ("amber", "13557", "Is there direct contact between the person and grass?", 8, ""),
        ("pope", "coco/random/1", "Is there a snowboard in the image?", 16, "."),
        (
            "pope?prompt=llava",
            "coco/random/1",
            "Is there a snowboard in the image?\nAnswer the question using a single word or phrase.",
            16,
            ".",
        ),
    ],
)
def test_a_task_asks_the_official_words(shared, task, id, prompt, tokens, until):
    opened = evaluate.open_task(task, shared / "data")
    sample = next(sample for sample in opened.samples() if sample.id == id)
    assert (sample.prompt, sample.tokens, sample.until) == (prompt, tokens, until)


def test_llava_reads_vicunas_prompt():
    from harness.vision_language import template

    assert template.vicuna_v1("Describe this image.", picture=True) == VICUNA


def test_micro_llava_reads_its_own_template():
    from harness.types import Place

    lvlm = registry.make_lvlm("micro-llava", Place("cpu"))(None)
    sample = next(iter(evaluate.open_task("pope", micro()).samples()))
    assert lvlm.render(sample.prompt) == f"<s>USER: <image>\n{sample.prompt} ASSISTANT:"
