"""A merged micro LLaVA behind a real vLLM reads the same token ids and gives the same answers as in this process.

Needs vLLM in an environment of its own: ``OHD_BENCH_VLLM=ITS_PYTHON pytest tests/harness/lvlms/test_vllm.py``.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import httpx
import pytest

from harness import registry
from harness.asking import evaluate
from harness.asking.batches import by_image
from harness.asking.engine import limited
from harness.data import micro
from harness.images import open_image
from harness.lvlms.micro import ONE_THREAD
from harness.types import Asked, Place
from harness.vision_language.vllm import install
from harness.vision_language.vllm.launch import ON_CPU, SPACE
from harness.vision_language.vllm.server import Server

pytestmark = pytest.mark.skipif(not install.named(), reason="OHD_BENCH_VLLM names no Python that has vLLM 0.32")


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Path:
    """What ``encoder merge`` writes of micro-llava with another tower than its own."""
    from harness.vision_language.layouts import merge

    registry.load()
    place = Place(device="cpu")
    folder = tmp_path_factory.mktemp("vllm") / "merged"
    merge.merge(registry.make_lvlm("micro-llava", place), registry.make_encoder("micro-ohd", place), folder)
    return folder


@contextlib.contextmanager
def vllm(folder: Path):
    """A server of this folder; gives its address and its key."""
    server = Server(install.found(), folder, ["--dtype", "float32", *ON_CPU], SPACE | ONE_THREAD)
    try:
        server.wait()
        yield server.url, server.key
    finally:
        server.end()


def asked(cli, lvlm: list[str], results: Path, *more: object) -> tuple[dict, dict]:
    """AMBER's and POPE's answers by task and id, and the tasks' entries in the manifest."""
    said = cli("run", *lvlm, "-t", "amber", "-t", "pope", "--data", "micro", "--results", results, *more)
    assert said.code == 0, said.err
    assert "token ids" not in said.err
    answers = {}
    for path in results.glob("*/*/records.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            answers[path.parent.name, row["id"]] = row["answer"]
    (manifest,) = (json.loads(path.read_text()) for path in results.glob("*/run.json"))
    return answers, manifest["tasks"]


@pytest.fixture
def compared(cli, tmp_path, monkeypatch):
    """Asks both and compares."""

    def compare(here: list[str], folder: Path, *more: object) -> None:
        with vllm(folder) as (url, key):
            monkeypatch.setenv("OPENAI_API_KEY", key)
            same(cli, here, ["-l", f"openai:{url}?model=merged&concurrency=16"], tmp_path, *more)

    return compare


def same(cli, here: list[str], served: list[str], tmp_path: Path, *more: object) -> None:
    """The same token ids and answers from a server of the folder as from the LVLM here."""
    own, told_here = asked(cli, here, tmp_path / "here", *more)
    there, told = asked(cli, served, tmp_path / "there", *more)
    assert set(there) == set(own)  # and none failed: exit 0
    for task in ("amber", "pope"):
        assert told[task]["first_prompt"]["as_here"] is True
        assert told[task]["first_prompt"]["digest"] == told_here[task]["first_prompt"]["digest"]
        ids = [key for key in own if key[0] == task]
        assert sum(own[key]["text"] == there[key]["text"] for key in ids) >= 0.99 * len(ids)
        yes_no = [key for key in ids if own[key]["text"] in ("Yes", "No")]
        assert max((abs(own[key]["p_yes"] - there[key]["p_yes"]) for key in yes_no), default=0) < 0.001
        print(f"{task}: {told[task]['seconds']} s served, {told_here[task]['seconds']} s here")


def test_a_served_merge_answers_amber_and_pope_as_the_swapped_micro_llava_does_here(compared, merged):
    compared(["-e", "micro-ohd", "-l", "micro-llava"], merged)


def test_the_engine_answers_as_this_process_does_and_what_questions_share_is_computed_once(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path))
    registry.load()
    task = evaluate.open_task("amber", micro())
    shown = [Asked(open_image(group[0].image), tuple(group)) for group in by_image(limited(task.every(), 60, 0))]
    tower, cpu = registry.make_encoder("micro-ohd", Place("cpu")), Place("cpu")
    # with LLaVA-1.5's own words before the picture, a question on it is longer than a block of vLLM's cache on a CPU
    own = registry.make_lvlm("micro-llava?template=vicuna-v1", cpu)(tower)
    engine = registry.make_lvlm("micro-llava?engine=vllm&template=vicuna-v1", cpu)
    served = engine(tower)
    here = dict(own.answers(shown))
    try:
        assert served.differs(shown[0], served.prompt_ids(shown[0])) == ""
        there = dict(served.answers(shown))
        metrics = httpx.get(engine.server.url.removesuffix("/v1") + "/metrics").text
    finally:
        engine.end()
    assert served.digests() == own.digests()
    assert there.keys() == here.keys()
    assert sum(there[sample].text == here[sample].text for sample in here) >= 0.99 * len(here)
    answers = [(here[s], there[s]) for s in here if here[s].text in ("Yes", "No")]
    assert max(abs(one.p_yes - other.p_yes) for one, other in answers) < 0.001
    counted = dict(re.findall(r"^vllm:(\w+)_total{[^}]*} ([0-9.e+]+)$", metrics, re.MULTILINE))
    assert float(counted["prefix_cache_hits"]) >= 32 * len(here)  # a block of each
    pictures = float(counted["mm_cache_queries"]) - float(counted["mm_cache_hits"])
    assert pictures <= len(shown)  # each prepared once


def test_a_run_by_the_engine_is_the_run_of_this_process_in_other_digits(cli, tmp_path):
    both = [["-e", "micro-ohd", "-l", name] for name in ("micro-llava", "micro-llava?engine=vllm")]
    same(cli, *both, tmp_path)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_an_eye_that_was_grown_in_answers_served_as_it_does_here(cli, compared, family, tmp_path):
    tower, grown = tmp_path / "tower", tmp_path / "grown"
    saved(family, tower)
    said = cli("align", f"clip:{tower}", "--lvlm", "micro-llava", "--stage", "pretrain", "--data", "micro",
               "--out", grown, "--set", "updates=60", "--set", "validation=0", "--device", "cpu")  # fmt: skip
    assert said.code == 0, said.err
    compared(["-l", f"llava:{grown}"], grown, "--limit", 40)


def saved(family: str, folder: Path) -> None:
    """A random tower of this family, wider and for larger pictures than the micro LLaVA's own, with heads of 64."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    size = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2}
    size |= {"image_size": 96, "patch_size": 16}
    square = {"height": 96, "width": 96}
    torch.manual_seed(0)
    if family == "siglip":
        SiglipVisionModel(SiglipVisionConfig(**size)).save_pretrained(folder)
        SiglipImageProcessorPil(size=square).save_pretrained(folder)
    else:
        CLIPVisionModel(CLIPVisionConfig(**size)).save_pretrained(folder)
        CLIPImageProcessorPil(size={"shortest_edge": 96}, crop_size=square).save_pretrained(folder)
