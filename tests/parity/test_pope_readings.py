"""75 tricky answers, as POPE's script, LLaVA's, lmms-eval and VLMEvalKit read them."""

from __future__ import annotations

import json

import pytest

from harness.yes_no import reading

TOOLS = {
    "paper": "official",
    "aoidragon": "official",
    "llava": "official",
    "lmms_eval": "lmms-eval",
    "vlmevalkit_exact": "vlmevalkit",
}


@pytest.mark.parametrize(("tool", "name"), TOOLS.items())
def test_every_tricky_answer_is_read_as_the_tool_reads_it(shared, tool, name):
    cases = json.loads((shared / "oracle" / "pope" / "answer_verdicts.json").read_text())
    assert len(cases) == 75
    wrong = [
        (case["answer"], case[tool])
        for case in cases
        if reading(name)(case["answer"]) != {"yes": "yes", "no": "no"}.get(case[tool])
    ]
    assert wrong == []
