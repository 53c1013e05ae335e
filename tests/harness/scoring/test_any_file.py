"""Whatever layout answers come in: the right number, or exit code 2; never a wrong number."""

from __future__ import annotations

import csv
import io
import json
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import registry
from harness.data import micro
from harness.errors import UsageError
from harness.scoring.score import make_task, score
from harness.tallies import groups_of
from harness.types import Answer

REPLIES = ("response", "prediction", "output", "model_answer", "answer", "text", "Response")
TRUTHS = ("label", "ground_truth", "gt", "target", "answer")
QUESTIONS = ("question", "prompt", "query", "text")
IMAGES = ("image", "image_path", "image_source", "img", "file_name")

ASKED = {
    "plain": str,
    "suffix": "{}\nAnswer the question using a single word or phrase.".format,
    "please": "{} Please answer yes or no.".format,
    "template": "USER: <image>\n{} ASSISTANT:".format,
    "imange": lambda text: text.replace("in the image", "in the imange"),
    "upper": lambda text: text.upper(),
}
NAMED = {
    "name": lambda image: image.name,
    "path": lambda image: f"/data/val2014/{image.name}",
    "windows": lambda image: f"C:\\val2014\\{image.name}",
    "stem": lambda image: image.stem,
}
IDS = {
    "number": lambda place, sample: int(sample.id.rpartition("/")[2]),
    "text": lambda place, sample: sample.id.rpartition("/")[2],
    "float": lambda place, sample: float(sample.id.rpartition("/")[2]),
    "own": lambda place, sample: sample.id,
    "row": lambda place, sample: place,
}


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def delimited(mark):
    def write(rows):
        kept = io.StringIO()
        writer = csv.DictWriter(kept, list(rows[0]), delimiter=mark, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return kept.getvalue()

    return write


HOLDERS = {
    "lines": jsonl,
    "list": json.dumps,
    "indented": lambda rows: "\n".join(json.dumps(row, indent=4) for row in rows),
    "wrapped": lambda rows: json.dumps({"model": "m", "results": rows}),
    "tsv": delimited("\t"),
    "csv": delimited(","),
}


@cache
def asked(name):
    """A task of the micro world, and its questions for yes or no."""
    registry.load()
    task = make_task(name, micro())
    return task, [sample for sample in task.every() if sample.target in ("yes", "no")]


def totals(task, pairs):
    found = {}
    for sample, text in pairs:
        for path in groups_of(sample.group):
            into = found.setdefault(path, {})
            for key, value in task.count(sample, Answer(text)).items():
                into[key] = into.get(key, 0) + value
    return found


@st.composite
def layouts(draw):
    reply, question = draw(st.sampled_from(REPLIES)), draw(st.sampled_from((None, *QUESTIONS)))
    truth = draw(st.sampled_from((None, *TRUTHS)))
    taken = [name for name in (reply, question, truth) if name]
    return {
        "task": draw(st.sampled_from(("pope", "amber"))),
        "reply": reply,
        "question": question if taken.count(question) == 1 else None,
        "truth": truth if taken.count(truth) == 1 else None,
        "image": draw(st.sampled_from((None, *IMAGES))),
        "id": draw(st.sampled_from((None, *IDS))),
        "id_name": draw(st.sampled_from(("question_id", "id", "index"))),
        "asked": draw(st.sampled_from(list(ASKED))),
        "named": draw(st.sampled_from(list(NAMED))),
        "category": draw(st.booleans()),
        "holder": draw(st.sampled_from(list(HOLDERS))),
        "groups": draw(st.integers(1, 3)),
        "shuffled": draw(st.booleans()),
        "rows": draw(st.integers(1, 80)),
        "seed": draw(st.integers(0, 10_000)),
    }


def laid_out(layout, samples):
    """The samples chosen, what is said to each, and the rows that say so."""
    chance = random.Random(layout["seed"])
    groups = list(dict.fromkeys(sample.group for sample in samples))
    # rows of several samplings that say neither which nor their ids may be word for word rows of a single one
    tells = layout["task"] == "amber" or layout["category"] or layout["id"] == "own"
    wanted = chance.sample(groups, min(layout["groups"] if tells else 1, len(groups)))
    fitting = [sample for sample in samples if sample.group in wanted]
    chosen = [sample for sample in fitting if chance.random() < layout["rows"] / len(fitting)] or fitting[:1]
    if layout["shuffled"]:
        chance.shuffle(chosen)
    said = [chance.choice(["Yes", "No", "yes", "No, there is none.", "Yes, it is."]) for _ in chosen]
    rows = []
    for place, (sample, text) in enumerate(zip(chosen, said, strict=True)):
        row = {layout["reply"]: text, "model_id": "m"}
        if layout["question"]:
            row[layout["question"]] = ASKED[layout["asked"]](sample.prompt)
        if layout["truth"]:
            row[layout["truth"]] = sample.target
        if layout["image"]:
            row[layout["image"]] = NAMED[layout["named"]](sample.image)
        if layout["id"]:
            row[layout["id_name"]] = IDS[layout["id"]](place, sample)
        if layout["category"]:
            row["category"] = sample.group.rpartition("/")[2]
        names = list(row)
        random.Random(layout["seed"] + (0 if layout["holder"] in ("tsv", "csv") else place)).shuffle(names)
        rows.append({name: row[name] for name in names})
    return list(zip(chosen, said, strict=True)), rows


def tells_nothing_else(layout):
    """Whether a count of rows is all that a row says, so that nothing could bear it out or contradict it."""
    return layout["id"] == "row" and not (layout["image"] and layout["question"])


@settings(deadline=None, max_examples=40)
@given(layouts())
def test_columns_ids_images_and_wordings_of_any_kind_never_give_a_wrong_number(tmp_path_factory, layout):
    if tells_nothing_else(layout):
        return
    task, samples = asked(layout["task"])
    pairs, rows = laid_out(layout, samples)
    path = tmp_path_factory.mktemp("any") / "answers.txt"
    path.write_text(HOLDERS[layout["holder"]](rows), encoding="utf-8")
    try:
        found = score(task, path)
    except UsageError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert str(path) in refused
        assert not (layout["image"] and layout["question"] and layout["category"] and one_reply(layout)), refused
        return
    for group, right in totals(task, pairs).items():
        assert {key: found.totals(group)[key] for key in right} == right, group
    assert len(found.records) == len(pairs)


def one_reply(layout):
    """Whether no second field of the row could be taken for the reply, or the reply for something else."""
    return layout["truth"] != "answer" and layout["reply"] != "answer"


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["label", "ground_truth", "target", "answer"]), st.booleans())
def test_rows_with_joined_categories_and_no_image_are_counted_exactly(tmp_path_factory, seed, truth, shuffled):
    task, samples = asked("pope")
    chance = random.Random(seed)
    by_words = {}
    for sample in samples:
        by_words.setdefault((sample.image, sample.prompt), []).append(sample)
    chosen = [alike for alike in by_words.values() if chance.random() < 0.3] or list(by_words.values())[:1]
    if shuffled:
        chance.shuffle(chosen)
    said = [chance.choice(["Yes", "No"]) for _ in chosen]
    rows = [
        {
            "index": place,
            "question": f"{alike[0].prompt} Please answer yes or no.",
            truth: alike[0].target.capitalize(),
            "category": ",".join(chance.sample([s.group for s in alike], len(alike))),
            "image_path": f"images/POPE/{place}.jpg",
            "prediction": text,
        }
        for place, (alike, text) in enumerate(zip(chosen, said, strict=True))
    ]
    path = tmp_path_factory.mktemp("kit") / "kit.tsv"
    path.write_text(HOLDERS["tsv"](rows))
    found = score(task, path)
    pairs = [(sample, text) for alike, text in zip(chosen, said, strict=True) for sample in alike]
    for group, right in totals(task, pairs).items():
        assert {key: found.totals(group)[key] for key in right} == right


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["Yes", "No", "no", "Yes."]),
    st.text(alphabet="ab .,<>/?\nno yes", max_size=40),
    st.sampled_from(
        ["<think>{}</think>", "{}</think>", "◁think▷{}◁/think▷", "[THINK]{}[/THINK]", "<reasoning>{}</reasoning>"]
    ),
    st.sampled_from(["{}", "\n\n{}\n", "<answer>{}</answer>", " <answer> {} "]),
)
def test_a_trace_of_any_words_changes_nothing_and_one_cut_off_is_no_answer(
    tmp_path_factory, word, trace, marks, around
):
    task, samples = asked("amber")
    sample = samples[0]
    folder = tmp_path_factory.mktemp("traces")

    def totals_of(text):
        path = folder / "answers.json"
        path.write_text(json.dumps([{"id": int(sample.id), "response": text}]))
        found = score(task, path)
        return found.totals("discriminative"), found.failed

    assert totals_of(marks.format(trace) + around.format(word)) == totals_of(word)
    opened = marks.format(trace).replace("</think>", "").replace("◁/think▷", "").replace("[/THINK]", "")
    cut, failed = totals_of(f"<think>{trace}" if opened == trace else opened.replace("</reasoning>", ""))
    assert (cut["n"], failed) == (0, 1)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 19), st.integers(0, 5), st.sampled_from(["\t", ","]))
def test_a_quote_left_open_anywhere_is_told_and_swallows_no_row(tmp_path_factory, at, later, mark):
    task, samples = asked("amber")
    rows = [{"id": int(s.id), "image": s.image.name, "response": "Yes"} for s in samples[:20]]
    lines = HOLDERS["tsv" if mark == "\t" else "csv"](rows).splitlines()
    lines[1 + at] = lines[1 + at].replace(f"{mark}Yes", f'{mark}"Yes')
    if later and at + later < 20:
        lines[1 + at + later] += '"'
    path = tmp_path_factory.mktemp("open") / "answers.txt"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=rf"line {2 + at}: .*quote"):
        score(task, path)
