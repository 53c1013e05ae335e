"""LVLMs of other families answer as they are; a tower is swapped only where theirs is a CLIP ViT."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from harness import registry
from harness.errors import ModelError, UsageError
from harness.types import Answer, Asked, Place, Sample

registry.load()
PLACE = Place(device="cpu")
_FILE = importlib.util.spec_from_file_location("families", Path(__file__).parent / "families.py")
families = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(families)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A tiny random LLaVA-NeXT."""
    folder = tmp_path_factory.mktemp("next")
    return families.save_next(folder, tiny.language_tokenizer(), tiny.CHAT, tiny.clip_config().vision_config)


def ask(lvlm, images, until=""):
    samples = (Sample("1", None, "", prompt="Is there a dog?", tokens=6, until=until),)
    return [reply for _, reply in lvlm.answers(Asked(image, samples) for image in images)]


def test_a_llava_next_answers_as_it_is_and_with_another_tower(folder, tiny, tmp_path):
    host = registry.make_lvlm(f"vlm:{folder}", PLACE)
    own = host(None)
    before = ask(own, tiny.pictures())
    assert all(isinstance(reply, Answer) and 0 < reply.p_yes < 1 for reply in before)
    tiny.save_clip(tiny.clip_model(8), tmp_path / "clip")
    encoder = registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE)
    swapped = host(encoder)
    assert ask(swapped, tiny.pictures()) != before
    assert swapped.digests()["tower"] == encoder.tower_digest != own.digests()["tower"]
    assert ask(own, tiny.pictures()) == before
    assert own.describe()["family"] == "llava_next"
    assert own.render("Is it red?") == "USER: <image>\nIs it red? ASSISTANT:"


def test_a_tower_that_does_not_fit_a_llava_next_is_refused(folder, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(width=48), tmp_path / "clip")
    with pytest.raises(ModelError, match="48 wide"):
        registry.make_lvlm(f"vlm:{folder}", PLACE)(registry.make_encoder(f"clip:{tmp_path / 'clip'}", PLACE))


def test_a_wrong_spec_says_what_is_wrong(folder, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    with pytest.raises(ModelError, match="cannot be loaded as an LVLM"):
        registry.make_lvlm(f"vlm:{tmp_path / 'clip'}", PLACE)
    with pytest.raises(UsageError, match="vlm needs a model"):
        registry.make_lvlm("vlm", PLACE)
    with pytest.raises(UsageError, match=r"chat .* and bare"):
        registry.make_lvlm(f"vlm:{folder}?template=vicuna", PLACE)
