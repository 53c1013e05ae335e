"""The names by which the tools of this field say image, question, answer, truth, id and category: one table for all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

Role = Literal["id", "place", "image", "question", "truth", "reply", "doubtful", "category", "about"]
"""What a field holds. ``place`` counts rows and is no id; of a ``doubtful`` one the content tells."""

# Read at AoiDragon/POPE 08d957b, haotian-liu/LLaVA c121f04, DAMO-NLP-SG/VCD d6568ff, ustc-hyin/cd_rethink 4303279,
# shikiw/OPERA 61426ef, junyangwang0410/AMBER 534babf, Maxlinn/CHAIR-metric-standalone 640c507, open-compass/VLMEvalKit
# e8e78f0, EvolvingLMMs-Lab/lmms-eval 75571cf, YanNeu/DASH-B 1538d01; and what users' own scripts write.
NAMES: Mapping[Role, tuple[str, ...]] = {
    "id": ("question_id", "qid", "id", "sample_id", "query_id", "data_id", "uid"),
    "place": ("index", "idx", "doc_id", "row", "number", "no", "unnamed:_0", ""),
    "image": (
        "image", "image_id", "image_path", "image_source", "image_file", "image_name", "image_filename", "img",
        "img_id", "img_path", "img_name", "img_file", "file_name", "coco_id", "coco_image_id",
    ),
    "question": ("question", "prompt", "query", "input", "instruction"),
    "truth": (
        "label", "gt", "gt_answer", "gt_ans", "ground_truth", "target", "truth", "gold", "gold_answer",
        "reference", "correct_answer", "answer_gt",
    ),
    "reply": (
        "response", "prediction", "pred", "predict", "predicted", "predicted_answer", "pred_answer", "model_answer",
        "model_response", "model_output", "model_prediction", "output", "outputs", "generated_text", "generated",
        "generation", "completion", "reply", "caption", "generated_caption", "filtered_resps", "resps",
    ),
    "doubtful": ("answer", "text"),
    "category": ("category", "split", "sampling", "type", "subset", "dimension"),
    "about": (
        "answer_id", "model_id", "model", "model_name", "metadata", "doc_hash", "token_counts", "input_media",
        "thinking", "score", "hit", "a", "b", "c", "d", "mscoco_hallucinated_words", "mscoco_gt_words",
        "mscoco_generated_words", "hallucination_idxs", "words", "metrics", "object_name", "hallu", "task_type",
    ),
}  # fmt: skip


def _plain(name: str) -> str:
    """A name as its spellings have it in common: ``imageId``, ``Image ID`` and ``image-id`` are ``image_id``."""
    return re.sub(r"[\s_-]", "", name).lower()


_ROLES: Mapping[str, Role] = {_plain(name): role for role, names in NAMES.items() for name in names}
_BUDGETED = re.compile(r"(?P<name>.+?)[_-]?(?P<tokens>\d+)$")
_REPLY_LIKE = re.compile(r"answer|respon|pred|output|generat|reply|caption|said|completion|extract", re.IGNORECASE)
_PROBABILITY = re.compile(r"prob|logit|p_(yes|no)|(yes|no)_p$|conf|likelihood", re.IGNORECASE)


def role(name: str) -> Role | None:
    """What a field of this name holds; None where the table does not know it.

    ``response_512`` is a reply, as ``response`` is: answers kept at several token budgets.
    """
    plain = _plain(name)
    if plain in _ROLES:
        return _ROLES[plain]
    budgeted = _BUDGETED.fullmatch(plain)
    known = _ROLES.get(budgeted["name"]) if budgeted else None
    return "reply" if known in ("reply", "doubtful") else None


def named(row: Mapping[str, Any], wanted: Role) -> dict[str, Any]:
    """The fields of this role, in the table's order, those without a value left out."""
    order = NAMES[wanted]
    found = {name: value for name, value in row.items() if role(name) == wanted and value is not None}
    return dict(sorted(found.items(), key=lambda one: order.index(key) if (key := one[0].lower()) in order else 99))


def looks_like_a_reply(name: str) -> bool:
    """Whether an unknown field is called like something that a model said."""
    return role(name) is None and bool(_REPLY_LIKE.search(name))


def looks_like_a_probability(name: str) -> bool:
    """Whether a field is called like the probability of an answer."""
    return role(name) is None and bool(_PROBABILITY.search(name))
