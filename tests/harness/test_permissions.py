"""What is written can be read by whom the umask lets read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
@pytest.mark.parametrize("layout", ["hf", "open-clip"])
def test_a_written_encoder_has_the_permissions_of_any_new_file(cli, tiny, tmp_path, umask, layout):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    before = os.umask(umask)
    try:
        said = cli("encoder", "convert", f"clip:{tmp_path / 'clip'}", "--to", layout, "--out", tmp_path / "out")
    finally:
        os.umask(before)
    assert said.code == 0, said.err
    found = modes(tmp_path / "out")
    assert any(name.endswith(".safetensors") for name in found)
    assert set(found.values()) == {0o666 & ~umask}


def test_a_merged_lvlm_has_the_permissions_of_any_new_file(cli, tiny, tmp_path):
    tiny.save_clip(tiny.clip_model(), tmp_path / "clip")
    tiny.save_llava(tiny.llava_model(), tmp_path / "llava")
    out = tmp_path / "out"
    said = cli("encoder", "merge", f"clip:{tmp_path / 'clip'}", "--into", f"llava:{tmp_path / 'llava'}", "--out", out)
    assert said.code == 0, said.err
    umask = os.umask(0o022)
    os.umask(umask)
    assert set(modes(out).values()) == {0o666 & ~umask}
