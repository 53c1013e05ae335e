"""A finished run is found finished without its models; whatever may have changed an answer has them loaded again."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import digest, registry
from harness.asking import remembered
from harness.types import Place

JOB = ["run", "--encoder", "micro", "--lvlm", "micro-llava", "-t", "ohd-caps", "-t", "pope", "--limit", "2"]
HEAVY = ("torch", "transformers", "sklearn", "pandas")


@pytest.fixture(scope="module")
def place_of_all(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def alone(place_of_all, monkeypatch):
    """A cache folder of this module's own, which knows of no model what other tests found."""
    written = Path(os.environ.get("OHD_BENCH_CACHE", ""))
    cache = place_of_all / "cache"
    cache.mkdir(exist_ok=True)
    for folder in written.glob("micro-*") if str(written) != "." else ():
        if not (cache / folder.name).exists():
            (cache / folder.name).symlink_to(folder.resolve())
    monkeypatch.setenv("OHD_BENCH_CACHE", str(cache))
    return place_of_all / "results"


def loaded(words: list[str]) -> tuple[list[str], str]:
    """What of the heavy packages a process imports that runs this command, and what it prints."""
    code = (
        f"import sys; sys.argv = ['ohd-bench', *{words!r}]\n"
        "from harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1].replace("'", '"')), done.stdout


def test_a_finished_run_is_found_so_and_printed_as_before_without_torch(cli, alone):
    words = [*JOB, "--results", str(alone), "--json"]
    first = cli(*words)
    assert first.code == 0, first.err
    kept = {path: path.read_bytes() for path in alone.glob("**/*.json*")}
    heavy, printed = loaded(words)
    assert heavy == []
    assert printed == first.out
    assert {path: path.read_bytes() for path in alone.glob("**/*.json*")} == kept


def _drop_last_line(run: Path) -> None:
    path = run / "pope" / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _fail_last(run: Path) -> None:
    path = run / "pope" / "records.jsonl"
    *rest, last = path.read_text().splitlines()
    row = {key: json.loads(last)[key] for key in ("id", "image", "group", "key")}
    from harness.records import record_of

    path.write_text("\n".join(rest) + "\n" + record_of(row | {"failed": "no"}).line())


def _other_version(run: Path) -> None:
    path = run / "run.json"
    told = json.loads(path.read_text())
    told["tasks"]["pope"]["rules"]["version"] = "0"
    path.write_text(json.dumps(told))


def _interrupted(run: Path) -> None:
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))


@pytest.mark.parametrize("change", [_drop_last_line, _fail_last, _other_version, _interrupted])
def test_where_anything_is_left_to_do_the_same_command_does_it(cli, alone, tmp_path, change):
    first = cli(*JOB, "--results", alone)
    shutil.copytree(alone, tmp_path / "results")
    (run,) = (tmp_path / "results").glob("*@*")
    change(run)
    again = cli(*JOB, "--results", tmp_path / "results")
    assert (again.code, again.out) == (0, first.out)
    ours, theirs = (json.loads(next(r.glob("*/run.json")).read_text()) for r in (tmp_path / "results", alone))
    assert ours["status"] == "complete" and ours["tasks"]["pope"]["rules"] == theirs["tasks"]["pope"]["rules"]
    assert ours["tasks"]["pope"]["scored"] == ours["tasks"]["pope"]["expected"]
    answers = [(r / run.name / "pope" / "records.jsonl").read_text() for r in (tmp_path / "results", alone)]
    last = [{json.loads(line)["id"]: line for line in text.splitlines()} for text in answers]
    assert last[0] == last[1]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder that stands for a model, known since long ago, and the call that asks what is known of it."""
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    registry.load()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_name_or_path": str(tmp_path / "base")}))
    (folder / "model.safetensors").write_bytes(b"weights")
    spec = f"clip:{folder}"
    told = {"encoder": {"digest": "d", "describe": {}}, "lvlm": None, "training": None, "alignment": None}
    remembered.keep((spec, ""), Place(), told, {}, time.time() + 60)
    return folder, lambda: remembered.recall(spec, "", Place())


def _same_length_and_dates(folder: Path) -> None:
    path = folder / "model.safetensors"
    before = path.stat()
    path.write_bytes(b"w3ights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "other bytes under the old size and dates": _same_length_and_dates,
    "a file more": lambda folder: (folder / "adapter_config.json").write_text("{}"),
    "a file less": lambda folder: (folder / "model.safetensors").unlink(),
    "another file in its place": lambda folder: shutil.copy2(
        shutil.copy2(folder / "model.safetensors", folder.parent / "copy"), folder / "model.safetensors"
    ),
    "what a configuration names has come to be": lambda folder: (folder.parent / "base").mkdir(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_model_is_known_again_until_any_of_its_files_changes(model, change):
    folder, known = model
    found = known()
    assert found is not None and found.encoder is not None and found.encoder.digest() == "d"
    change(folder)
    assert known() is None


def test_a_file_that_changed_while_or_after_the_model_was_loaded_is_not_taken_for_the_loaded_one(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    registry.load()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    told = {"encoder": {"digest": "d", "describe": {}}, "lvlm": None, "training": None, "alignment": None}
    remembered.keep((f"clip:{tmp_path / 'model'}", ""), Place(), told, {}, time.time())
    assert remembered.recall(f"clip:{tmp_path / 'model'}", "", Place()) is None


def test_a_model_whose_maker_does_not_say_what_it_is_made_of_is_loaded_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    registry.load()
    told = {"encoder": {"digest": "d", "describe": {}}, "lvlm": None, "training": None, "alignment": None}
    remembered.keep(("hashing", ""), Place(), told, {}, time.time() + 60)
    assert remembered.recall("hashing", "", Place()) is None


def _named(folder: Path, name: str, **fields: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text(json.dumps(fields))
    (folder / name / "model.safetensors").write_bytes(b"weights")
    return folder / name


def test_what_a_model_names_is_followed_to_any_depth_and_no_further_than_round(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    registry.load()
    lora = _named(tmp_path, "lora", base_model_name_or_path="base")
    _named(tmp_path, "base", mm_vision_tower=str(tmp_path / "far" / "tower"), hidden_act="silu")
    tower = _named(tmp_path, "far/tower", _name_or_path=str(tmp_path / "base"))
    (tmp_path / "silu").mkdir()  # no field that names a model
    spec, told = f"llava:{lora}", {"digests": {}, "describe": {}, "spec": f"llava:{lora}"}
    remembered.keep(("", spec), Place(), {"encoder": None, "lvlm": told, "training": None, "alignment": None}, {},
                    time.time() + 60)  # fmt: skip
    assert remembered.recall("", spec, Place()) is not None
    (tmp_path / "silu" / "file").write_text("")
    assert remembered.recall("", spec, Place()) is not None
    _same_length_and_dates(tower)
    assert remembered.recall("", spec, Place()) is None


def test_a_base_without_a_slash_is_watched(tmp_path, monkeypatch):
    from harness import model_places

    monkeypatch.chdir(tmp_path)
    lora = _named(tmp_path, "lora", base_model_name_or_path="base")
    assert Path("base") in model_places.named(registry.parse_spec(f"llava:{lora}"))


EYE = """
from pathlib import Path
from ohd_bench import ModelError, encoder


@encoder("edited-eye", files=lambda spec: [Path(spec.location)])
def edited_eye(spec, place):
    \"\"\"Mine.\"\"\"
"""


@pytest.mark.parametrize("edited", ["eye.py", "below/words.py"])
def test_a_plug_in_whose_code_is_edited_is_loaded_again(tmp_path, monkeypatch, edited):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "included", [])
    for table in (registry.encoders, registry.encoder_files):
        monkeypatch.delitem(table, "edited-eye", raising=False)
    mine = tmp_path / "mine"
    (mine / "below").mkdir(parents=True)
    (mine / "eye.py").write_text(EYE)
    (mine / "below" / "words.py").write_text("x = 1\n")
    (mine / "notes.txt").write_text("no code")
    (tmp_path / "weights").write_text("1")
    registry.load([mine])
    spec = f"edited-eye:{tmp_path / 'weights'}"
    told = {"encoder": {"digest": "d", "describe": {}}, "lvlm": None, "training": None, "alignment": None}
    remembered.keep((spec, ""), Place(), told, {}, time.time() + 60)
    (mine / "notes.txt").write_text("still no code")
    assert remembered.recall(spec, "", Place()) is not None
    (mine / edited).write_text((mine / edited).read_text() + "# edited\n")
    assert remembered.recall(spec, "", Place()) is None


def test_the_code_of_an_installed_plug_in_is_part_of_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("OHD_BENCH_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "eyes_of_others"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "eye.py").write_text(EYE.replace("edited-eye", "installed-eye"))
    (package / "words.py").write_text("x = 1\n")
    (tmp_path / "weights").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("eyes_of_others.eye")
    spec = f"installed-eye:{tmp_path / 'weights'}"
    told = {"encoder": {"digest": "d", "describe": {}}, "lvlm": None, "training": None, "alignment": None}
    remembered.keep((spec, ""), Place(), told, {}, time.time() + 60)
    assert remembered.recall(spec, "", Place()) is not None
    (package / "words.py").write_text("x = -1\n")
    assert remembered.recall(spec, "", Place()) is None
    for table in (registry.encoders, registry.encoder_files):
        table.pop("installed-eye")


@pytest.mark.parametrize("begun", [[], ["a"], [{"b": 1, "a": [2.5, None]}, "ü"]])
def test_a_digest_that_is_continued_is_that_of_the_whole(begun):
    assert digest.continued(begun)("x", ["y", {"k": 1}]) == digest.of_json([*begun, "x", ["y", {"k": 1}]])
