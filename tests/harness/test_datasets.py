"""Data sets by name: put in place by what files hold, fetched from where a download broke off, checked byte by byte."""

from __future__ import annotations

import functools
import http.server
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import digest, registry
from harness.data import micro
from harness.datasets import fetching, preparing
from harness.datasets.manifests import chosen, manifests
from harness.errors import DataError

BODY = bytes(range(256)) * 1000


class Server(http.server.ThreadingHTTPServer):
    """A mirror on this machine: ``files`` by path; the first ``broken`` replies end after half of what is due."""

    files: dict[str, bytes]
    broken: int
    ranges: list[str]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Replies(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """A file, the rest of it, half of it, or 404."""
        body = self.server.files.get(self.path)
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        rest = body[start:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.broken:
            self.server.broken -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server = Server(("127.0.0.1", 0), _Replies)
    server.files, server.broken, server.ranges = {"/file": BODY}, 0, []
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_breaks_off_goes_on_from_there(mirror: Server, tmp_path: Path) -> None:
    mirror.broken = 1
    fetching.fetch([f"{mirror.url}/file"], tmp_path / "file", digest.of_bytes(BODY))
    assert (tmp_path / "file").read_bytes() == BODY
    first, second = mirror.ranges
    assert first == "" and second not in ("", "bytes=0-")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_next_command_goes_on_where_a_server_gave_up(mirror: Server, tmp_path: Path) -> None:
    mirror.broken = fetching.TRIES
    with pytest.raises(DataError, match="goes on from there"):
        fetching.fetch([f"{mirror.url}/file"], tmp_path / "file", digest.of_bytes(BODY))
    assert not (tmp_path / "file").exists()
    had = (tmp_path / "file.part").stat().st_size
    fetching.fetch([f"{mirror.url}/file"], tmp_path / "file", digest.of_bytes(BODY))
    assert mirror.ranges[-1] == f"bytes={had}-"
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_file_with_another_checksum_is_refused_and_the_next_mirror_asked(mirror: Server, tmp_path: Path) -> None:
    mirror.files["/bad"] = BODY[:-1] + b"!"
    with pytest.raises(DataError, match="is not the published file"):
        fetching.fetch([f"{mirror.url}/bad"], tmp_path / "file", digest.of_bytes(BODY))
    assert list(tmp_path.iterdir()) == []
    urls = [f"{mirror.url}/{name}" for name in ("absent", "bad", "file")]
    fetching.fetch(urls, tmp_path / "file", digest.of_bytes(BODY))
    assert (tmp_path / "file").read_bytes() == BODY


def test_offline_nothing_is_fetched(mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="--from DIR"):
        fetching.fetch([f"{mirror.url}/file"], tmp_path / "file")
    assert mirror.ranges == []


def test_prepare_fetches_from_a_mirror_what_its_checksum_says(
    cli: Callable[..., Any], mirror: Server, tmp_path: Path, shared: Path
) -> None:
    for name in ("neg", "pos"):
        path = f"dash_b/dash_benchmark_{name}.json"
        mirror.files[f"/{path}"] = (shared / "data" / path).read_bytes()
    said = cli("data", "prepare", "dash-b", "--data", tmp_path, "--mirror", mirror.url)
    assert said.code == 0 and "2 files put into" in said.out and "arXiv:2503.23573" in said.out
    assert cli("data", "verify", "dash-b", "--deep", "--data", tmp_path).code == 0
    mirror.files["/dash_b/dash_benchmark_neg.json"] += b" "
    (tmp_path / "dash_b/dash_benchmark_neg.json").unlink()
    said = cli("data", "prepare", "dash-b", "--data", tmp_path, "--mirror", mirror.url)
    assert said.code == 3 and "is not the published file" in said.err


@pytest.fixture
def prepared(cli: Callable[..., Any], shared: Path, tmp_path: Path) -> Path:
    """RePOPE and POPE, put in place from a folder in which every file lies under another name."""
    mess = tmp_path / "mess"
    mess.mkdir()
    for n, path in enumerate(sorted((shared / "data" / "pope").rglob("*.json"))):
        shutil.copyfile(path, mess / f"{n}.download")
    root = tmp_path / "data"
    said = cli("data", "prepare", "repope", "pope", "--from", mess, "--data", root)
    assert said.code == 0 and "repope: 3 files put into" in said.out and "pope: 9 files put into" in said.out
    return root


@pytest.mark.parametrize("deep", [[], ["--deep"]])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-2] + b"!\n"), "differs: SHA-256 is not"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "is half-written, or another file: 1,000 of 366"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: shutil.rmtree(path.parent), "missing"),
    ],
)
def test_what_is_not_as_published_is_named_and_ends_with_3(
    cli: Callable[..., Any], prepared: Path, damage: Callable[[Path], Any], told: str, deep: list[str]
) -> None:
    assert cli("data", "verify", "pope", *deep, "--data", prepared).code == 0
    file = prepared / "pope" / "coco_pope_popular.json"
    damage(file)
    said = cli("data", "verify", "pope", *deep, "--data", prepared)
    assert said.code == 3
    assert any(file.name in line and told.split(" of")[0] in line for line in said.err.splitlines()), said.err


def test_another_version_is_named_and_replaced_only_by_its_name(cli: Callable[..., Any], prepared: Path) -> None:
    file = prepared / "pope" / "coco_pope_random.json"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2910]))
    said = cli("data", "verify", "pope", "--data", prepared)
    assert said.code == 3 and "is version 2910, not 3000" in said.err
    assert cli("data", "verify", "pope@2910", "--data", prepared).code == 0


def test_a_damaged_picture_is_found_by_deep_and_never_put_in_place(
    cli: Callable[..., Any], prepared: Path, tmp_path: Path, shared: Path
) -> None:
    name = json.loads((prepared / "pope" / "coco_pope_random.json").read_text().splitlines()[0])["image"]
    source = tmp_path / "pictures"
    source.mkdir()
    real = next((shared / "data" / "images" / "tiny_coco" / "val2017").glob("*.jpg"))
    (source / name.removeprefix("COCO_val2014_")).write_bytes(real.read_bytes()[:400])
    said = cli("data", "prepare", "coco", "--from", source, "--data", prepared)
    assert said.code == 3 and "cannot be read as a picture" in said.err
    assert not (prepared / "images").exists()
    shutil.copyfile(real, source / name.removeprefix("COCO_val2014_"))
    assert cli("data", "prepare", "coco", "--from", source, "--data", prepared).code == 0
    assert (prepared / "images" / name).read_bytes() == real.read_bytes()
    (prepared / "images" / name).write_bytes(real.read_bytes()[:400])
    assert cli("data", "verify", "pope", "--data", prepared).code == 0
    said = cli("data", "verify", "pope", "--deep", "--data", prepared)
    assert said.code == 3 and name in said.err


def test_a_missing_folder_or_an_unknown_name_is_one_line(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert cli("data", "verify", "--data", tmp_path / "nowhere").code == 3
    assert cli("data", "verify", "--data", tmp_path).code == 3
    said = cli("data", "prepare", "pop", "--data", tmp_path)
    assert said.code == 2 and "pope" in said.err
    assert cli("data", "prepare", "pope@1234", "--data", tmp_path).code == 2


def test_data_that_only_its_owner_gives_says_where_and_the_rest_goes_on(
    cli: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    said = cli("data", "prepare", "flickr30k", "dash-b", "--from", shared / "data" / "dash_b", "--data", tmp_path)
    assert said.code == 0 and "DenotationGraph" in said.err and "dash-b: 2 files" in said.out


def test_a_source_without_any_file_of_a_data_set_is_one_line_that_says_where_they_are(
    cli: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    source = shared / "data" / "dash_b"
    said = cli("data", "prepare", "mme", "sugar-crepe", "dash-b", "--from", source, "--data", tmp_path / "data")
    assert said.code == 3 and "dash-b: 2 files put" in said.out
    [mme] = [line for line in said.err.splitlines() if line.startswith("mme: ")]
    assert "has none of its 14 files" in mme and "Evaluation" in mme
    [pairs] = [line for line in said.err.splitlines() if line.startswith("sugar-crepe: ") and "none" in line]
    assert "github.com/RAIVNLab/sugar-crepe" in pairs


def test_links_share_the_file_and_lie_inside(cli: Callable[..., Any], tmp_path: Path, shared: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(shared / "data" / "dash_b", source)
    assert cli("data", "prepare", "dash-b", "--from", source, "--link", "--data", tmp_path / "data").code == 0
    name = "dash_benchmark_neg.json"
    assert (tmp_path / "data" / "dash_b" / name).samefile(source / name)


def test_a_run_says_which_version_of_the_published_files_it_asked(
    cli: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    root, results = tmp_path / "data", tmp_path / "results"
    assert cli("data", "prepare", "ohd-caps", "--from", shared / "data", "--data", root).code == 0
    words = ("run", "-e", "hashing", "-t", "ohd-caps?source=coco", "--data", root, "--results", results)
    assert cli(*words).code == 3
    said = cli(*words, "--available")
    assert said.code == 0 and "1 of 500 images are there" in said.err
    [run] = results.iterdir()
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["data_versions"] == {"ohd-caps": "8a748e6"}


def test_every_manifest_says_all_and_names_tasks_that_there_are(cli: Callable[..., Any]) -> None:
    registry.load()
    for name, one in manifests().items():
        assert all((one.about, one.version, one.source, one.licence, one.citation)), name
        assert all((len(file.sha256) == 64 and file.size) or file.rows for file in one.files), name
        assert all(registry.parse_spec(spec).name in registry.tasks for spec in one.tasks), name
        assert chosen(name).files == chosen(f"{name}@{one.version}").files
    listed = {row["name"] for row in cli("data", "list", "--json").json()}
    assert listed == set(manifests())


def test_one_file_is_fetched_out_of_the_archive_it_is_published_in(mirror: Server, tmp_path: Path) -> None:
    file = next(one for one in chosen("karpathy/original").files if one.part == "original")
    small = replace(file, rows=2, urls=(f"{mirror.url}/caption_datasets.zip",))
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr(file.member, json.dumps({"images": [{}, {}]}))
        archive.writestr("dataset_flickr8k.json", "{}")
    mirror.files["/caption_datasets.zip"] = kept.getvalue()
    one = replace(chosen("karpathy/original"), files=(small,), manifest=replace(chosen("karpathy").manifest, tasks=()))
    done = preparing.prepare(one, tmp_path, None)
    assert (done.placed, done.wrong) == (1, [])
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")].count(file.path) == 1
    assert not list(tmp_path.glob(".unpacked*")) and not list(tmp_path.glob(".caption*"))
    (tmp_path / file.path).unlink()
    other = replace(one, files=(replace(small, rows=3),))
    assert "holds no such file as is published" in preparing.prepare(other, tmp_path, None).wrong[0]


@pytest.mark.parametrize("names", [(), ("sugar-crepe",), ("pope", "winoground")])
def test_the_micro_world_is_published_nowhere_and_said_to_be_so_in_one_line(cli, names):
    for data in ("micro", micro()):
        said = cli("data", "verify", *names, "--data", data)
        assert said.code == 2 and not said.out
        assert len(said.err.strip().splitlines()) == 1 and "published nowhere" in said.err
