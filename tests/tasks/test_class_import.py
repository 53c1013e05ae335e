"""``data classes``: data sets in odd shapes are read as meant, or refused in a line with nothing left behind."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness import class_import
from harness.errors import BrokenDataError, DataError


def jpeg(n: int) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (8, 8), (n * 20 % 256, 90, 40)).save(kept, "JPEG")
    return kept.getvalue()


def tar(path, members) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (path.parent.parent / "classnames.txt").write_text("cat\ndog\n")


PAIRS = [(f"{n:04d}.{suffix}", data) for n in range(4) for suffix, data in (("jpg", jpeg(n)), ("cls", b"%d" % (n % 2)))]
ODD = [
    ("readme.txt", b"hello"),
    ("._0001.jpg", b"x"),
    ("0001.json", b"{}"),
    (".DS_Store", b"x"),
    ("0002.seg.png", b"x"),
]


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(PAIRS + ODD), before=st.sampled_from(["", "./", "a.b/", "test/"]))
def test_a_tar_is_read_in_any_order_below_any_folder_and_beside_any_other_member(tmp_path_factory, order, before):
    root = tmp_path_factory.mktemp("wds")
    tar(root / "test" / "0.tar", [(before + name, data) for name, data in order])
    told = class_import.write(f"wds:{root}", root / "out", "test")
    assert (told["pictures"], told["classes"]) == (4, 2)
    for label, own in (("0000", (0, 2)), ("0001", (1, 3))):
        held = {path.read_bytes() for path in (root / "out" / label).iterdir()}
        assert held == {jpeg(n) for n in own}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (PAIRS[:-1], "'/0003' has a picture and no class"),
        ([*PAIRS, ("9.cls", b"1")], "'/9' has a class and no picture"),
        ([*PAIRS, ("9.jpg", jpeg(9)), ("9.cls", b"dog")], "right would be a number"),
        ([*PAIRS, ("9.jpg", jpeg(9)), ("9.cls", b"7")], "is of class 7; there are 2 classes"),
        ([("readme.txt", b"hello")], "holds no pictures"),
    ],
)
def test_what_a_tar_lacks_is_named_and_nothing_is_left_behind(cli, tmp_path, members, why):
    tar(tmp_path / "wds" / "test" / "0.tar", members)
    said = cli("data", "classes", f"wds:{tmp_path / 'wds'}", "--out", tmp_path / "zero_shot" / "own")
    assert said.code == 3 and why in said.err and len(said.err.splitlines()) == 1
    assert not list((tmp_path / "zero_shot").iterdir())


def test_half_a_tar_is_named(cli, tmp_path):
    path = tmp_path / "wds" / "test" / "0.tar"
    tar(path, PAIRS)
    path.write_bytes(path.read_bytes()[:700])
    said = cli("data", "classes", f"wds:{tmp_path / 'wds'}", "--out", tmp_path / "own")
    assert said.code == 3 and "0.tar" in said.err and not (tmp_path / "own").exists()


def saved(folder, columns, features) -> str:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict(columns, features=datasets.Features(features(datasets))).save_to_disk(folder)
    return f"hf:{folder}"


PICTURES = [{"bytes": jpeg(n), "path": None} for n in range(4)]


def test_a_saved_data_set_says_its_classes_by_label_or_by_word_under_any_name(tmp_path):
    typed = saved(
        tmp_path / "typed", {"img": PICTURES, "coarse": [0, 0, 1, 1], "fine_label": [0, 1, 2, 0]},
        lambda d: {
            "img": d.Image(), "coarse": d.ClassLabel(names=["x", "y"]),
            "fine_label": d.ClassLabel(names=["a", "b", "c"]),
        },
    )  # fmt: skip
    with pytest.raises(DataError, match=r"more than one column of class labels; .*\?label=COLUMN"):
        class_import.write(typed, tmp_path / "none", "test")
    assert class_import.write(f"{typed}?label=fine_label", tmp_path / "fine", "test")["classes"] == 3
    worded = saved(
        tmp_path / "worded", {"picture": PICTURES, "label": ["café", "猫", "café", "猫"]},
        lambda d: {"picture": d.Image(), "label": d.Value("string")},
    )  # fmt: skip
    class_import.write(worded, tmp_path / "words", "test")
    assert (tmp_path / "words" / "classnames.txt").read_text(encoding="utf-8") == "café\n猫\n"
    with pytest.raises(DataError, match="has no column 'kind'"):
        class_import.write(f"{worded}?label=kind", tmp_path / "none", "test")


@pytest.mark.parametrize(
    ("images", "labels", "why"),
    [
        (PICTURES, [0, 1, None, 1], "row 2: its class is null"),
        (PICTURES, [0, 1, -1, 1], "is of class -1; there are 2 classes"),
        ([*PICTURES[:3], None], [0, 1, 0, 1], "row 3: there is no picture"),
    ],
)
def test_a_row_without_picture_or_class_is_named(tmp_path, images, labels, why):
    source = saved(
        tmp_path / "rows", {"image": images, "label": labels},
        lambda d: {"image": d.Image(), "label": d.ClassLabel(names=["a", "b"])},
    )  # fmt: skip
    with pytest.raises(BrokenDataError, match=why):
        class_import.write(source, tmp_path / "out", "test")
    assert not (tmp_path / "out").exists()


def test_a_csv_with_splits_gives_the_one_that_is_asked_for(tmp_path):
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(n))
    rows = "".join(f"{n}.jpg,{'café' if n % 2 else 'tree'},{'train' if n < 2 else 'test'}\n" for n in range(4))
    (tmp_path / "list.csv").write_text(f"\ufeffimage,label,split\n{rows}", encoding="utf-8")
    assert class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "out", "test")["pictures"] == 2
    with pytest.raises(DataError, match="no row of the split 'val'"):
        class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "none", "val")
    (tmp_path / "list.csv").write_text("image,label\n0.jpg,\n1.jpg,tree\n")
    with pytest.raises(BrokenDataError, match="line 2: right would be a picture and its class"):
        class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "none", "test")
    (tmp_path / "list.csv").write_bytes("image,label\n0.jpg,café\n".encode("latin-1"))
    with pytest.raises(BrokenDataError, match="is not UTF-8"):
        class_import.write(f"csv:{tmp_path / 'list.csv'}", tmp_path / "none", "test")
