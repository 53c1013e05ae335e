"""Rows become the tokens, labels and order that LLaVA-1.5's own code makes of them, and unusable ones are counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from harness.errors import DataError, ModelError
from harness.vision_language import template
from harness.vision_language.align import conversation, order, rows, sources
from harness.vision_language.align.conversation import IGNORED, PLACE, Turn, Writing, plain, turns, vicuna
from harness.vision_language.layouts.chat_template import VICUNA_V1
from harness.vision_language.template import SYSTEM
from harness.vision_language.tokens import placed_around

IMAGE_ID, TOKENS = 997, 4


@pytest.fixture(scope="module")
def oracle(shared):
    return shared / "oracle" / "align"


@pytest.fixture(scope="module")
def read(oracle):
    """Every conversation of the oracle with its case, and what we make of it."""
    found = []
    for case in json.loads((oracle / "cases.json").read_text())["cases"]:
        tokenizer = AutoTokenizer.from_pretrained(oracle / "tokenizers" / case["tokenizer"])
        form = plain if case["stage"] == "pretrain" else vicuna(case.get("system", SYSTEM))
        writing = Writing(form, lambda text, tokenizer=tokenizer: placed_around(tokenizer, text))
        for n, one in enumerate(case["conversations"]):
            found.append((case, n, one, writing, writing.tokens(turns(one["conversations"]))))
    return found


def test_prompts_are_llavas(read):
    for case, _, one, writing, _ in read:
        text = "".join(piece.text for piece in writing.form(turns(one["conversations"])))
        assert text == one["prompt"], case["name"]


def test_ids_are_llavas_token_by_token(read):
    for case, _, one, _, found in read:
        limit = len(found.ids) if one["image"] else case["model_max_length"]  # the tokenizer cuts rows of text itself
        assert found.ids[:limit] == one["input_ids"], case["name"]


def test_labels_are_llavas_where_it_does_not_mask_the_row_by_mistake(read):
    for case, n, one, _, found in read:
        if not case["masked_whole"][n]:
            assert found.labels[: len(one["labels"])] == one["labels"], case["name"]


def test_rows_that_llava_masks_by_mistake_are_learnt_from(read):
    masked = [found for case, n, _, _, found in read if case["masked_whole"][n]]
    assert masked
    for found in masked:
        assert found.labels[-1] == found.ids[-1]
        assert any(label == IGNORED for label in found.labels)


def test_with_the_image_in_place_and_cut_the_sequences_are_llavas(read):
    for case, n, _, _, found in read:
        merged = case["merged_at_4_tokens_an_image"]
        length = sum(merged["attention_mask"][n])
        ours = found.expanded(IMAGE_ID, TOKENS, case["model_max_length"])
        assert ours.ids == [IMAGE_ID if x < 0 else x for x in merged["sequence"][n]][:length], case["name"]
        if not case["masked_whole"][n]:
            assert ours.labels == merged["labels"][n][:length], case["name"]


def test_lengths_for_grouping_are_llavas(read, tmp_path):
    for case, _, one, _, _ in read:
        if case["name"] != "two_markers_in_one_turn":  # no row that can be used
            told = {"conversations": one["conversations"], **({"image": "a.png"} if one["image"] else {})}
            assert rows.read(told, tmp_path).words == one["words"], case["name"]


def test_the_order_of_rows_is_llavas(oracle):
    told = json.loads((oracle / "sampler.json").read_text())
    for case in told["length_grouped"]:
        found = order.length_grouped(
            case["lengths"], case["batch_size"], case["world_size"], case["global_seed"], case["generator_seed"]
        )
        assert found == case["indices"], case["name"]
    for case in told["split_to_even_chunks"]:
        assert order.even_chunks(case["indices"], case["lengths"], case["num_chunks"]) == case["chunks"]


# Properties

words = st.text(st.sampled_from(list("ab \n.:</s>éASSISTANT猫")), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(words, words), min_size=1, max_size=3), picture=st.booleans())
def test_exactly_the_answers_and_their_end_marks_are_learnt(tiny, pairs, picture):
    tokenizer = tiny.language_tokenizer()
    said = [turn for q, a in pairs for turn in (Turn("human", q), Turn("gpt", a))]
    if picture:
        said[0] = Turn("human", f"<image>\n{said[0].text}")
    writing = Writing(vicuna(), lambda text: placed_around(tokenizer, text))
    found = writing.tokens(said)
    learnt = [id for id, label in zip(found.ids, found.labels, strict=True) if label != IGNORED]
    assert [x for x in found.labels if x != IGNORED] == learnt
    assert found.ids.count(PLACE) == picture
    # what is learnt, and nothing else, is the answers as they stand in the text
    whole = "".join(piece.text for piece in writing.form(said) if piece.learnt)
    assert learnt.count(tokenizer.eos_token_id) == whole.count("</s>")


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(-50, 50).filter(bool), min_size=1, max_size=60),
    batch=st.integers(1, 4),
    world=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_every_row_is_in_the_order_once_and_filling_repeats_from_the_start(lengths, batch, world, seed):
    found = order.length_grouped(lengths, batch, world, seed)
    assert sorted(found) == list(range(len(lengths)))
    whole = order.filled(found, batch * world)
    assert len(whole) % (batch * world) == 0 and len(whole) - len(found) < batch * world
    assert whole == (found * (batch * world))[: len(whole)]


rows_of_json = st.lists(
    st.dictionaries(st.sampled_from(["a", "é\n", '"', "[{"]), st.text(max_size=6) | st.integers() | st.none()),
    min_size=0, max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(told=rows_of_json, indent=st.sampled_from([None, 2]), ascii=st.booleans(), chunk=st.integers(1, 9))
def test_a_list_is_read_in_pieces_of_any_size_as_json_reads_it(told, indent, ascii, chunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(told, indent=indent, ensure_ascii=ascii), encoding="utf-8")
    before, sources.CHUNK = sources.CHUNK, chunk
    try:
        source = sources.Array(path)
        found = list(source.rows())
        assert [row for _, row in found] == told
        assert [source.row(place) for place, _ in found] == told
    finally:
        sources.CHUNK = before


# Rows that cannot be used


def row(image="a.png", question="<image>\nWhat?", answer="A dog.", **more):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "x", "conversations": talk, **({"image": image} if image else {}), **more}


BAD = [
    (row(image="gone.png"), "the image is missing"),
    (row(answer="  "), "an answer is empty"),
    (row(question="no marker"), "an image without <image>"),
    (row(image=None), "<image> without an image"),
    (row(question="<image> and <image>"), "more than one <image>"),
    (row(answer="see <image>", question="What?"), "<image> outside the first question"),
    ({"image": "a.png"}, "neither a conversation nor a caption"),
    (["no row"], "neither a conversation nor a caption"),
    (row() | {"conversations": [{"from": "human"}]}, "a turn is no {'from': …, 'value': …}"),
    (row() | {"conversations": [*row()["conversations"], *row(question="and")["conversations"][::-1]]},
     "roles out of order"),
    (row() | {"conversations": row()["conversations"][:1]}, "an answer is empty"),
    (row() | {"conversations": row()["conversations"] + [{"from": "human", "value": "and?"}]},
     "the last question has no answer"),
    (row(image=3), "'image' is no file name"),
    (row(image="a" * 300), "'image' is no file name"),
    (row(image="a\0.png"), "'image' is no file name"),
    (row(image=["a.png"]), "'image' is no file name"),
    ({"image": "a.png", "text": ["a dog"]}, "a caption is no text in UTF-8"),
    (row() | {"conversations": []}, "an answer is empty"),
    (row() | {"conversations": None}, "neither a conversation nor a caption"),
    (row() | {"conversations": [{"from": "user", "value": "<image>"}, {"from": "assistant", "value": "x"}]},
     "roles out of order"),
    (row(answer=None), "a turn is no {'from': …, 'value': …}"),
    (row(image="../a.png"), rows.OUTSIDE),
    (row(image="/etc/a.png"), rows.OUTSIDE),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_row_that_cannot_be_used_is_counted_by_its_reason_and_named(tmp_path, tiny, bad, why):
    tiny.pictures(1)[0].save(tmp_path / "a.png")
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row(), bad]))
    found = rows.load(path, None, lambda row: "", 0.5)
    assert found.counts.bad == {why: 1}
    assert found.counts.first[why].startswith("row 2")
    assert len(found) == 1
    assert found[0].said[1].text == "A dog."
    with pytest.raises(DataError, match="1 of 2 rows cannot be used, more than --max-bad 49 %"):
        rows.load(path, None, lambda row: "", 0.49)


def test_a_link_that_leads_out_of_the_folder_of_images_is_followed_where_that_is_allowed(tmp_path, tiny):
    folder, away = tmp_path / "images", tmp_path / "away"
    folder.mkdir()
    away.mkdir()
    tiny.pictures(1)[0].save(away / "a.png")
    (folder / "b.png").symlink_to(away / "a.png")
    (folder / "inner").symlink_to(away)
    path = tmp_path / "rows.json"
    for name in ("b.png", "inner/a.png", str(away / "a.png"), "../away/a.png"):
        path.write_text(json.dumps([row(image=name)]))
        with pytest.raises(DataError, match="--allow-outside"):
            rows.load(path, folder, lambda row: "", 0.0)
        assert rows.load(path, folder, lambda row: "", 0.0, allow_outside=True)[0].image.samefile(away / "a.png")


def test_captions_and_sidecars_are_read_as_conversations(tmp_path, tiny):
    for n, image in enumerate(tiny.pictures(3)):
        image.save(tmp_path / f"{n}.png")
        (tmp_path / f"{n}.txt").write_text(f"picture {n}\n")
    lines = tmp_path / "captions.jsonl"
    lines.write_text("".join(json.dumps({"image": f"{n}.png", "text": f"picture {n}"}) + "\n" for n in range(3)))
    for where in (lines, tmp_path):
        found = rows.load(where, None, lambda row: "", 0.0)
        assert [one.said[1].text for one in found] == ["picture 0", "picture 1", "picture 2"]
        assert found[1].said[0].text == "<image>\nDescribe this image."
        assert found[2].image == tmp_path / "2.png"


def test_a_caption_beside_its_image_that_is_no_text_is_counted(tmp_path, tiny):
    for n, image in enumerate(tiny.pictures(2)):
        image.save(tmp_path / f"{n}.png")
        (tmp_path / f"{n}.txt").write_bytes((b"a red cat", b"caf\xe9")[n])
    found = rows.load(tmp_path, None, lambda row: "", 0.5)
    assert found.counts.bad == {"a caption is no text in UTF-8": 1}
    assert found.counts.first["a caption is no text in UTF-8"] == "row 2, image 1.png"


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no rows"), ("[]", "holds no rows"), ("[{}] [{}]", "more after the list's end"),
     ("[{}]" + " " * (1 << 20) + "]", "more after the list's end"),
     ("[{]", "breaks off at byte 1"), ("[{}", "breaks off at byte 3"),
     ('{"a": 1}\n{', "line 2: not JSON")],
)  # fmt: skip
def test_a_broken_file_says_where_it_breaks(tmp_path, text, says):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        rows.load(path, None, lambda row: "", 1.0)


def test_a_chat_template_is_trained_on_as_it_is_asked(tiny, tmp_path):
    from transformers import AutoProcessor

    tiny.save_llava(tiny.llava_model(), tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    processor.chat_template = VICUNA_V1.replace("IMAGE", "<image>\\n")
    writing = conversation.writing("chat", processor)
    pieces = writing.form([Turn("human", "<image>\nIs it red?"), Turn("gpt", "Yes")])
    assert pieces[0].text == template.named("chat", processor).render("Is it red?", True)
    found = writing.tokens([Turn("human", "<image>\nIs it red?"), Turn("gpt", "Yes")])
    learnt = [label for label in found.labels if label != IGNORED]
    assert learnt[-1] == processor.tokenizer.eos_token_id
    assert processor.tokenizer.decode(learnt[:-1]).strip() == "Yes"


def test_a_chat_template_that_rewrites_what_was_said_is_refused(tiny, tmp_path):
    from transformers import AutoProcessor

    tiny.save_llava(tiny.llava_model(), tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    processor.chat_template = "{{ messages|length }}{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}"
    with pytest.raises(ModelError, match="it cannot be trained on"):
        conversation.writing("chat", processor).form([Turn("human", "a"), Turn("gpt", "b")])
