"""Archives among a user's files: what data sets have is taken out of them, and nothing leaves the folder."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.datasets import archives, checking
from harness.datasets.manifests import chosen
from harness.errors import BrokenDataError, DataError

BAD = ("../out.json", "/etc/out.json", "a/../../out.json", "C:/out.json", "a\\..\\out.json", "..", "//server/out.txt")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", BAD)
def test_a_file_that_would_lie_outside_refuses_the_archive_before_anything_is_written(tmp_path, pack, name):
    archive = pack(tmp_path / ("x.zip" if pack is zipped else "x.tar.gz"), {"good.json": b"[]", name: b"out"})
    with pytest.raises(BrokenDataError, match="would lie outside the folder; nothing of it is used"):
        archives.unpack(archive, tmp_path / "in" / "side")
    assert {path.name for path in tmp_path.rglob("*")} == {archive.name}


def test_links_devices_and_other_kinds_of_file_stay_in_the_archive(tmp_path):
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as opened:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.json")
            info.type, info.linkname = kind, "/etc/passwd"
            opened.addfile(info)
        for name in ("a.json", "run.sh", "b/model.pkl"):
            info = tarfile.TarInfo(name)
            info.size = 2
            opened.addfile(info, io.BytesIO(b"[]"))
    assert archives.unpack(archive, tmp_path / "out") == [tmp_path / "out" / "a.json"]


@given(cut=st.integers(0, 400))
def test_a_damaged_archive_is_named(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    for pack, name in ((zipped, "x.zip"), (tarred, "x.tar.gz")):
        archive = pack(folder / name, {f"{n}.json": bytes(range(256)) * 40 for n in range(3)})
        data = archive.read_bytes()
        archive.write_bytes(data[: min(cut, len(data) - 30)])
        with pytest.raises(BrokenDataError, match=f"{name} cannot be unpacked"):
            archives.unpack(archive, folder / "out")


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "x.zip", {"a.json": b" " * 5000})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4000))
    with pytest.raises(DataError, match="does not fit on the disk"):
        archives.unpack(archive, tmp_path / "out")


def jpeg() -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (4, 4)).save(kept, "JPEG")
    return kept.getvalue()


def test_data_sets_are_prepared_out_of_the_archives_they_are_published_in(
    cli: Callable[..., Any], tmp_path: Path, shared: Path
) -> None:
    downloads, data = tmp_path / "downloads", tmp_path / "data"
    downloads.mkdir()
    own = shared / "data" / "hallusion" / "HallusionBench.json"
    figures = {f"hallusion_bench/VD/illusion/{n}_0.png": jpeg() for n in range(2)}
    zipped(downloads / "hallusion_bench.zip", figures | {"hallusion_bench/HallusionBench.json": own.read_bytes()})
    texts = {f"MME_Benchmark_release_version/count/{n:02}.txt": b"Is it?\tYes\nIs it not?\tNo\n" for n in range(30)}
    pictures = {f"MME_Benchmark_release_version/count/{n:02}.jpg": jpeg() for n in range(30)}
    tarred(downloads / "MME.tar.gz", texts | pictures)
    said = cli("data", "prepare", "hallusion", "mme", "--from", downloads, "--data", data)
    assert said.code == 3, "thirteen of MME's kinds are not there"
    assert "hallusion: 1 files put into" in said.out and "2 pictures put" in said.out
    assert "mme: 1 files put into" in said.out
    assert sorted(path.parent.name for path in data.rglob("*.png")) == ["illusion", "illusion"], "0_0.png is many"
    assert len(list((data / "mme" / "count").iterdir())) == 60
    assert "mme/color:" in said.err and "no folder of this name and number of files" in said.err
    assert not [path for path in data.iterdir() if path.name.startswith(".unpacked")]
    told = cli("data", "verify", "mme", "--data", data)
    assert told.code == 3 and "they are known by their number of rows" in told.err
    again = cli("data", "prepare", "hallusion", "--from", downloads / "hallusion_bench.zip", "--data", data)
    assert again.code == 0 and "0 files put into" in again.out


def test_a_file_without_a_sha_256_is_known_by_its_md5_or_its_rows(tmp_path):
    files = {file.path: file for file in chosen("karpathy").files}
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"image": "a.jpg", "caption": []}] * 1000))
    assert checking.holds(files["flickr30k/flickr30k_test.json"], path)
    assert not checking.holds(files["coco/coco_karpathy_test.json"], path), "its MD5 is another"
    path.write_text(json.dumps({"images": [{}] * 31014, "dataset": "flickr30k"}))
    assert checking.holds(files["flickr30k/dataset_flickr30k.json"], path)
    path.write_text("<html>Google Drive can't scan this file for viruses.</html>")
    assert not checking.holds(chosen("aro").files[0], path)
