"""A small world of data, for studies that train on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import micro, registry
from harness.micro.folder import Sizes


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few pictures for each task, and ``talk.json``: conversations about those of ``web``."""
    registry.load()
    folder = tmp_path_factory.mktemp("world") / "data"
    micro.write(folder, 0, Sizes(amber=2, caps=6, dev=4, train=32, web=12, pope=6, zero_shot=1))
    told = map(json.loads, (folder / "web" / "captions.json").read_text().splitlines())
    (folder / "talk.json").write_text(json.dumps([conversation(one["image"], one["caption"]) for one in told]))
    return folder


def conversation(image: str, caption: str) -> dict[str, object]:
    """A row to align on."""
    asked = {"from": "human", "value": "<image>\nDescribe this image."}
    return {"image": f"web/images/{image}", "conversations": [asked, {"from": "gpt", "value": caption}]}
