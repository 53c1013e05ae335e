"""A merged micro LLaVA behind a real vLLM reads the same token ids and gives the same answers as in this process.

Needs vLLM in an environment of its own: ``OHD_BENCH_VLLM=ITS_PYTHON pytest tests/harness/lvlms/test_vllm.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

PYTHON = os.environ.get("OHD_BENCH_VLLM", "")
START = 600

pytestmark = pytest.mark.skipif(not PYTHON, reason="OHD_BENCH_VLLM names no Python that has vLLM 0.32")


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Path:
    """What ``encoder merge`` writes of micro-llava with another tower than its own."""
    from harness import registry
    from harness.types import Place
    from harness.vision_language.layouts import merge

    registry.load()
    place = Place(device="cpu")
    folder = tmp_path_factory.mktemp("vllm") / "merged"
    merge.merge(registry.make_lvlm("micro-llava", place), registry.make_encoder("micro-ohd", place), folder)
    return folder


@contextlib.contextmanager
def vllm(folder: Path):
    """A server of this folder; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--served-model-name", "merged"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    cpu = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    log = folder.parent / "vllm.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [PYTHON, *words], stdout=out, stderr=out, cwd=folder.parent, env={**kept, **cpu, "HF_HUB_OFFLINE": "1"}
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(START):
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    raise AssertionError(f"vLLM did not start in {START} s: {log.read_text()}")


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


def compared(cli, here: list[str], folder: Path, tmp_path: Path, *more: object) -> None:
    """The same token ids and answers from a server of the folder as from the LVLM here."""
    own, told_here = asked(cli, here, tmp_path / "here", *more)
    with vllm(folder) as url:
        there, told = asked(cli, ["-l", f"openai:{url}?model=merged&concurrency=16"], tmp_path / "there", *more)
    assert set(there) == set(own)  # and none failed: exit 0
    for task in ("amber", "pope"):
        assert told[task]["first_prompt"]["as_here"] is True
        assert told[task]["first_prompt"]["digest"] == told_here[task]["first_prompt"]["digest"]
        ids = [key for key in own if key[0] == task]
        assert sum(own[key]["text"] == there[key]["text"] for key in ids) >= 0.99 * len(ids)
        yes_no = [key for key in ids if own[key]["text"] in ("Yes", "No")]
        assert max((abs(own[key]["p_yes"] - there[key]["p_yes"]) for key in yes_no), default=0) < 0.001
        print(f"{task}: {told[task]['seconds']} s served, {told_here[task]['seconds']} s here")


def test_a_served_merge_answers_amber_and_pope_as_the_swapped_micro_llava_does_here(cli, merged, tmp_path):
    compared(cli, ["-e", "micro-ohd", "-l", "micro-llava"], merged, tmp_path)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_an_eye_that_was_grown_in_answers_served_as_it_does_here(cli, family, tmp_path):
    tower, grown = tmp_path / "tower", tmp_path / "grown"
    saved(family, tower)
    said = cli("align", f"clip:{tower}", "--lvlm", "micro-llava", "--stage", "pretrain", "--data", "micro",
               "--out", grown, "--set", "updates=60", "--set", "validation=0", "--device", "cpu")  # fmt: skip
    assert said.code == 0, said.err
    compared(cli, ["-l", f"llava:{grown}"], grown, tmp_path, "--limit", 40)


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
