"""F-CLIPScore: a caption's logit averaged with those of its nouns, as its authors' scorers.py does."""

from __future__ import annotations

import json
from math import prod

import pytest
import torch

from harness import registry
from harness.asking.ask import ranker
from harness.data import micro
from harness.errors import BrokenDataError, UsageError
from harness.images import open_image
from harness.types import Asked, Place
from harness.words.common_nouns import by_nltk
from tasks.ohd_caps import OhdCaps

registry.load()
PLACE = Place(device="cpu")


@pytest.fixture
def world(tmp_path):
    """The micro world's OHD-Caps with a list of nouns of its own."""
    root = tmp_path / "ohd_caps"
    root.mkdir()
    for part in ("test", "images"):
        (root / part).symlink_to(micro() / "ohd_caps" / part)
    (root / "reading.json").write_text(json.dumps({"nouns": ["tree", "cup", "car", "star", "house", "moon"]}))
    return tmp_path


def authors(image_D, encoder, sample, mean):
    """FClipScorerAM and FClipScorerGM, written from their definition: eps for logits that are not positive."""
    scores = []
    for text, nouns in zip(sample.texts, sample.parts, strict=True):
        logits = (100 * encoder.encode_texts([text, *nouns]).double() @ image_D.double()).tolist()
        floored = [logit if logit > 0 else 1e-7 for logit in logits]
        scores.append(sum(floored) / len(floored) if mean == "arithmetic" else prod(floored) ** (1 / len(floored)))
    return [score / 100 for score in scores]


@pytest.mark.parametrize(("scorer", "mean"), [("f-clipscore", "arithmetic"), ("f-clipscore-gm", "geometric")])
def test_a_captions_score_is_the_mean_of_its_logit_and_its_nouns(world, scorer, mean):
    samples = list(OhdCaps(world, scorer=scorer).samples())[:3]
    encoder = registry.make_encoder("micro", PLACE)
    for sample in samples:
        assert any(sample.parts)
        image = open_image(sample.image)
        ((_, answer),) = ranker(encoder, PLACE)([Asked(image, (sample,))])
        expected = authors(encoder.encode_images([image])[0], encoder, sample, mean)
        assert answer.scores == pytest.approx(expected, abs=2e-6)


def test_each_distinct_text_of_a_batch_is_encoded_once(world):
    seen = []

    class Counting:
        spec = "counting"

        def encode_images(self, images):
            return torch.nn.functional.normalize(torch.ones(len(images), 4), dim=-1)

        def encode_texts(self, texts):
            seen.extend(texts)
            return torch.nn.functional.normalize(torch.ones(len(texts), 4), dim=-1)

    samples = list(OhdCaps(world, scorer="f-clipscore").samples())[:4]
    list(ranker(Counting(), PLACE)([Asked(open_image(s.image), (s,)) for s in samples]))
    assert len(seen) == len(set(seen))


def test_another_scorer_is_another_task_with_answers_of_its_own(cli, world, tmp_path):
    def keys(task):
        results = tmp_path / "r"
        words = ("--data", world, "--results", results, "--limit", "4", "--allow-outside")
        said = cli("run", "-e", "micro", "-t", task, *words)
        assert said.code == 0
        (path,) = results.glob(f"*/{task.replace('?', '-')}/records.jsonl")
        return {row["key"] for row in map(json.loads, path.read_text().splitlines())}

    assert not keys("ohd-caps") & keys("ohd-caps?scorer=f-clipscore")


def test_nouns_are_common_nouns_by_nltk(nltk_data):
    assert by_nltk("Two dogs run past a red car near Paris.") == ("dogs", "car")


def test_what_cannot_find_nouns_says_what_can(world):
    with pytest.raises(UsageError, match="has the scorers plain, f-clipscore, f-clipscore-gm, not 'fclip'"):
        OhdCaps(world, scorer="fclip")
    with pytest.raises(UsageError, match="there is nltk, and spacy:MODEL"):
        list(OhdCaps(world, scorer="f-clipscore", nouns="stanza").samples())
    with pytest.raises(UsageError, match="is not installed; nouns=nltk needs neither"):
        list(OhdCaps(world, scorer="f-clipscore", nouns="spacy:no_such_model").samples())
    (world / "ohd_caps" / "reading.json").write_text('{"nouns": "tree"}')
    with pytest.raises(BrokenDataError, match="right would be a list of words"):
        list(OhdCaps(world, scorer="f-clipscore").samples())
