"""A LLaVA behind a real ``transformers serve`` process answers as the same folder does in this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from harness import registry
from harness.types import Answer, Asked, Place, Sample

START = 120


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory) -> Path:
    return tiny.save_llava(tiny.llava_model(), tmp_path_factory.mktemp("serve") / "llava")


@pytest.fixture(scope="module")
def url(folder):
    from transformers.utils.import_utils import is_serve_available

    command = Path(sys.executable).with_name("transformers")
    if not is_serve_available() or not command.is_file():
        pytest.skip("transformers serve is not installed: pip install 'ohd-bench[serve]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "serve.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [command, "serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(300)


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(START * 5):
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the server did not start in {START} s: {log.read_text()}")


def test_a_served_llava_gives_the_words_that_the_folder_gives_here(url, folder, tiny):
    registry.load()
    squares = [image.resize((32, 32)) for image in tiny.pictures()]
    questions = ("Is there a dog in this image?", "Describe the photo.")
    asked = [
        Asked(image, tuple(Sample(f"{n}{q}", None, "", prompt=q, tokens=6) for q in questions))
        for n, image in enumerate(squares)
    ]
    here = registry.make_lvlm(f"llava:{folder}?template=chat&pad=crop", Place(device="cpu"))(None)
    there = registry.make_lvlm(f"openai:{url}?model={folder}&concurrency=2", Place())(None)
    local = {sample.id: reply.text for sample, reply in here.answers(asked)}
    served = {sample.id: reply for sample, reply in there.answers(asked)}
    assert all(isinstance(reply, Answer) for reply in served.values()), served
    assert {id: reply.text for id, reply in served.items()} == local
    assert len(set(local.values())) > 1
