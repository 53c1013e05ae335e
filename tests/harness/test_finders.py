"""Finders: files in COCO's spellings, and networks, tiny random ones through the same doors as the real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.building import finders
from harness.building.networks import _plain
from harness.errors import UsageError
from harness.images import plain_name
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' processors, as they are made here


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = []
    for n, image in enumerate(tiny.pictures(2)):
        paths.append(tmp_path / f"{n}.png")
        image.save(paths[-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return [*paths, tmp_path / "broken.png"]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"cup": [], "horse": ["pony"]}))
    return path


def test_a_mask2former_finds_what_its_segments_are_called(pictures: list[Path], tmp_path: Path) -> None:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    stages = [f"stage{n}" for n in range(1, 5)]
    backbone = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=stages
    )
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16, num_queries=5,
        id2label={0: "cup", 1: "dining-table-merged", 2: "horse"},
    )  # fmt: skip
    network = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        network.class_predictor.bias[1] += 20  # every query sees a table
    network.save_pretrained(tmp_path / "network")
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path / "network")
    found = finders.find([f"segmenter:{tmp_path / 'network'}?threshold=0.0"], pictures)
    assert set(found.names) == {"cup", "dining table", "horse"}
    assert set(found.objects) == {"0.png", "1.png"}
    assert {name for things in found.objects.values() for name in things} == {"dining table"}


def test_an_owlv2_finds_what_a_file_names_and_is_asked_once(pictures: list[Path], words: Path, tmp_path: Path) -> None:
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    torch.manual_seed(0)
    tokenizer = tiny.clip_tokenizer()
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    text = small | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    config = Owlv2Config(
        text_config=text, vision_config=small | {"image_size": 32, "patch_size": 16}, projection_dim=16
    )
    Owlv2ForObjectDetection(config).save_pretrained(tmp_path / "network")
    processor = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    Owlv2Processor(processor, tokenizer).save_pretrained(tmp_path / "network")
    spec = f"detector:{tmp_path / 'network'}?words={words}&threshold=0.0"
    found = finders.find([spec], pictures)
    assert set(found.names) == {"cup", "horse"} and set(found.objects) == {"0.png", "1.png"}
    assert all(set(things) <= {"cup", "horse"} and things for things in found.objects.values())
    again = finders.find([spec], [path.rename(path.with_name(f"new-{path.name}")) for path in pictures])
    assert {f"new-{name}": things for name, things in found.objects.items()} == again.objects
    assert finders.find([f"{spec[:-3]}0.999999"], pictures[:0]).objects == {}


def test_a_grounding_dino_finds_what_a_file_names(pictures: list[Path], words: Path, tmp_path: Path) -> None:
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cup", "horse", ".", "?"]) + "\n")
    tokenizer = BertTokenizerFast(str(vocabulary))
    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = {
        "model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 64,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, num_queries=8, encoder_layers=1, decoder_layers=2, d_model=32,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(tmp_path / "network")
    processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(processor, tokenizer).save_pretrained(tmp_path / "network")
    found = finders.find([f"detector:{tmp_path / 'network'}?words={words}&threshold=0.0"], pictures[:1])
    assert found.objects["0.png"] and set(found.objects["0.png"]) <= {"cup", "horse"}


def test_a_detector_must_be_told_what_to_look_for() -> None:
    with pytest.raises(UsageError, match="words=FILE"):
        finders.find(["detector:somewhere"], [])


@pytest.mark.parametrize(("label", "name"), [("dining-table-merged", "dining table"), ("tree_trunk", "tree trunk")])
def test_labels_of_segments_are_plain_words(label: str, name: str) -> None:
    assert _plain(label) == name


@pytest.mark.parametrize("here", ["COCO_val2014_{:012d}.jpg", "{:012d}.jpg"])
@pytest.mark.parametrize("there", ["COCO_val2014_{:012d}.jpg", "{:012d}.jpg", "val2014/COCO_val2014_{:012d}.jpg"])
def test_cocos_two_spellings_are_one_picture_in_captions_and_objects(here: str, there: str, tmp_path: Path) -> None:
    pictures = [tmp_path / here.format(n) for n in (42, 73)]
    (tmp_path / "captions.jsonl").write_text(
        "".join(json.dumps({"image": there.format(n), "caption": f"picture {n}"}) + "\n" for n in (42, 73, 99))
    )
    instances = {
        "images": [{"id": n, "file_name": there.format(n)} for n in (42, 73, 99)],
        "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}],
        "annotations": [{"image_id": n, "category_id": 1, "area": 4} for n in (42, 99)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    found = finders.find([f"coco:{tmp_path / 'instances.json'}"], pictures)
    said = finders.captions([tmp_path / "captions.jsonl"])
    assert [said[plain_name(path.name)] for path in pictures] == [["picture 42"], ["picture 73"]]
    assert [found.objects.get(plain_name(path.name), []) for path in pictures] == [["cat"], []]
