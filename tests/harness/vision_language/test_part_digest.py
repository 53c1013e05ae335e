"""A large model is known at once by what its files were last time, and is read again before the first answer counts."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

from harness import digest, registry
from harness.types import Asked, Place, Sample
from harness.vision_language import part_digest

registry.load()
_FILE = importlib.util.spec_from_file_location("families", Path(__file__).parent / "families.py")
families = importlib.util.module_from_spec(_FILE)
_FILE.loader.exec_module(families)
ASKED = [Asked(None, (Sample("1", None, "", prompt="Is there a dog?", tokens=4),))]
WAIT = 300


@pytest.fixture(params=["llava", "vlm"])
def spec(request, tiny, tmp_path):
    if request.param == "llava":
        return f"llava:{tiny.save_llava(tiny.llava_model(), tmp_path / 'model')}"
    return f"vlm:{families.save_qwen(tmp_path / 'model')}"


@pytest.fixture(autouse=True)
def _large(monkeypatch, tmp_path):
    """Any model counts as large, and none was read before."""
    monkeypatch.setattr(part_digest, "LARGE", 0)
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def gate(monkeypatch):
    """Holds whoever takes the digest of tensors, until it is set."""
    opened, whole = threading.Event(), digest.of_tensors

    def taken(tensors):
        if threading.current_thread() is not threading.main_thread():
            assert opened.wait(WAIT)
        return whole(tensors)

    monkeypatch.setattr(digest, "of_tensors", taken)
    return opened


def loaded(spec: str):
    return registry.make_lvlm(spec, Place())(None)


def parts(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "models").glob("*.part"))


def test_what_was_read_before_is_known_at_once_and_answers_wait_until_it_is_read_again(spec, gate):
    first = loaded(spec)
    exact = dict(first.digests())
    expected = dict(first.answers(ASKED))
    again = loaded(spec)
    assert dict(again.digests()) == exact  # the gate is shut: nobody has read it again
    heard: list[object] = []
    asking = threading.Thread(target=lambda: heard.extend(again.answers(ASKED)))
    asking.start()
    asking.join(2)
    assert asking.is_alive() and heard == []
    gate.set()
    asking.join(WAIT)
    assert dict(heard) == expected


def test_weights_that_changed_behind_every_date_answer_nothing_and_are_known_the_next_time(cli, spec, tmp_path):
    words = ["run", "--lvlm", spec, "-t", "pope", "--limit", "4", "--results", tmp_path / "results", "--json"]
    model = loaded(spec)
    model.digests()
    (kept,) = parts(tmp_path)
    exact = kept.read_text()
    kept.write_text("0" * 64)
    done = cli(*words)
    assert done.code == 4 and "its weights are no longer those of its last run" in done.err
    assert not [line for path in (tmp_path / "results").glob("*/*.jsonl") for line in path.read_text().splitlines()]
    assert kept.read_text() == exact
    again = cli(*words)
    assert again.code == 0, again.err
    assert again.json()["runs"]


def test_a_file_that_changed_is_read_before_its_model_is_told(spec, tmp_path):
    loaded(spec).digests()
    before = parts(tmp_path)
    for path in Path(spec.partition(":")[2]).glob("*.safetensors"):
        path.write_bytes(path.read_bytes())  # the same bytes, written anew
    loaded(spec).digests()
    assert len(parts(tmp_path)) == len(before) + 1


def test_a_digest_that_is_none_is_taken_anew(spec, tmp_path):
    exact = dict(loaded(spec).digests())
    (kept,) = parts(tmp_path)
    own = kept.read_text()
    for damage in ("", "0" * 63, "é" * 64):
        kept.write_text(damage)
        assert dict(loaded(spec).digests()) == exact
        assert kept.read_text() == own


def test_small_models_are_read_each_time(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(part_digest, "LARGE", 1e9)
    loaded(spec).digests()
    assert parts(tmp_path) == []


def test_a_merged_folder_is_kept_under_what_is_in_it(tiny, tmp_path):
    from harness.errors import ModelError
    from harness.vision_language.layouts import merged

    spec = f"llava:{tiny.save_llava(tiny.llava_model(), tmp_path / 'model')}"
    loaded(spec).digests()
    (kept,) = parts(tmp_path)
    kept.write_text("0" * 64)
    with pytest.raises(ModelError, match="no longer those"):
        merged.folder(loaded(spec))
