"""``python -m benchmarks`` prints rows that a program can read, and its ways are measured on what they claim."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_a_name_that_nothing_has_is_refused_with_what_there_is():
    done = python("-m", "benchmarks", "--json", "--only", "no-such-row")
    assert (done.returncode, done.stdout) == (2, "")
    assert "captions" in done.stderr and "training-step-l14-all-28" in done.stderr


def test_every_module_that_measures_is_asked_by_its_name_and_by_that_of_each_of_its_rows():
    code = """
import importlib, inspect, json, pkgutil, benchmarks
from benchmarks import __main__ as command
modules = [importlib.import_module(f"benchmarks.{one.name}") for one in pkgutil.iter_modules(benchmarks.__path__)
           if not one.name.startswith("_")]
assert {one.__name__.partition(".")[2] for one in modules if hasattr(one, "rows")} == command.ROWS.keys()
for module in modules:
    name = module.__name__.partition(".")[2]
    for row in command.ROWS.get(name, ()):
        assert row in command._wanted(name, row)
        assert row in inspect.getsource(module) or row.startswith("training-step")
    assert command._wanted(name, name) == list(command.ROWS.get(name, ()))
    assert not command._wanted(name, "no-such-row")
"""
    assert python("-c", code).returncode == 0


def test_every_row_has_the_promised_keys():
    code = """
import json
from benchmarks import measure
print(json.dumps(measure.row("captions", 6.0, 2.0, True, **measure.Beside(6.0, 2.0, 5.0, 2.0).detail())))
"""
    row = json.loads(python("-c", code).stdout)
    assert row == {
        "name": "captions",
        "ratio": 3.0,
        "equal": True,
        "detail": {"reference_s": 6.0, "product_s": 2.0, "cpu_time_ratio": 2.5},
    }


def test_inputs_have_the_shape_of_ambers_and_ohd_caps_and_answers_that_differ_are_not_equal():
    code = """
import json, torch
from benchmarks import ohd_caps, shapes
from benchmarks.amber_questions import same
from harness.vision_language.packed.requests import Prompt, Completion
def said(tokens, logit):
    return [Completion(Prompt(1, (1,), 2), tokens, torch.tensor([0.0, logit]))]
request = shapes.request(3, 2004, 8)
own = [len(p.tokens) - 576 - len(shapes.SYSTEM) - 2 for p in request.prompts]
captions = [len(ids) for n in range(100) for ids in ohd_caps.captions(n)]
others = said((5, 6), 1.0), said((5, 7), 1.0), said((5, 6), 1.001)
equal = [same(others[0], other)[0] for other in others]
print(json.dumps([len(own), min(own), max(own), sum(captions) / len(captions), equal]))
"""
    questions, shortest, longest, mean, equal = json.loads(python("-c", code).stdout)
    assert questions == 14
    assert (shortest, longest) == (13, 15)
    assert 77 / mean > 3.2  # padded tokens for one needed: 3.3 over the 42,000 captions of OHD-Caps
    assert equal == [True, False, False]


def test_a_ratio_far_above_what_the_work_left_out_allows_is_not_honest():
    code = """
import json
from benchmarks import measure
rows = [measure.row("a", ratio, 1.0, True, limit=5.0) for ratio in (4.0, 6.0, 7.0)]
rows.append(measure.row("a", 20.0, 1.0, True, limit=5.0, cpu_time_ratio=5.2))  # by the clock, others' work counts
print(json.dumps([[row["limit"], row["honest"]] for row in rows]))
"""
    assert json.loads(python("-c", code).stdout) == [[5.0, True], [5.0, True], [5.0, False], [5.0, True]]


def test_limits_are_the_flops_that_a_counter_counts():
    code = """
import json, torch
from torch.utils.flop_counter import FlopCounterMode
from benchmarks import ohd_caps
from encoders.towers import trie
from encoders.towers.clip_encoder import padded_features
from encoders.towers.last_layer import pooled
from transformers import CLIPConfig, CLIPModel
small = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2, "num_hidden_layers": 2}
text = {**small, "eos_token_id": ohd_caps.END, "bos_token_id": ohd_caps.START}
config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 64, "patch_size": 16}, projection_dim=64)
config._attn_implementation = "eager"
model = CLIPModel(config).eval()
ids = [one for n in range(2) for one in ohd_caps.captions(n)]
pixels = torch.zeros(2, 3, 64, 64)
def counted(words, eye):
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        words(model, ids), eye()
    return flops.get_total_flops()
reference = counted(padded_features, lambda: model.vision_model(pixel_values=pixels))
ours = counted(trie.text_features, lambda: pooled(model.vision_model, pixels))
print(json.dumps([reference / ours, ohd_caps.work_left_out(model, ids, 2)]))
"""
    counted, limit = json.loads(python("-c", code).stdout)
    assert abs(limit / counted - 1) < 0.03


def test_what_runs_ten_minutes_on_a_card_runs_at_no_size_without_and_names_the_machine(tmp_path):
    done = python("-m", "benchmarks", "--gpu", "--json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    [path] = tmp_path.glob("gpu-*.json")
    assert json.loads(path.read_text()) == found
    assert found["card"]["name"] and found["card"]["versions"]["torch"]
    assert {one["name"]: one["holds"] for one in found["checks"]} == {"halving": True, "device_map": True}
    assert found["checks"][0]["halvings"] > 0
    assert found["rows"] and all(row["equal"] for row in found["rows"])
    assert (found["small"], found["not_reached"], found["failed"]) == (True, [], {})


def test_a_part_out_of_time_is_not_reached_and_one_that_fails_says_why_and_neither_takes_the_others():
    code = """
import json
from benchmarks import gpu
gpu.SMALL = {"checks": 0.01, "no_such_part": 60}
found = gpu.report()
print(json.dumps([found["not_reached"], found["failed"], gpu.passed(found)]))
"""
    not_reached, failed, passed = json.loads(python("-c", code).stdout)
    assert not_reached == ["checks"] and not passed
    assert "no_such_part" in failed["no_such_part"]


def test_all_of_amber_is_priced_by_the_steps_that_the_decoder_takes():
    code = """
import json
from benchmarks import projected, shapes
shapes.AMBER_IMAGES = 40
found = {what: projected.priced(what) for what in ("questions", "captions", "both")}
print(json.dumps({what: [one.steps, one.tokens, one.padded, one.prefill_s] for what, one in found.items()}))
"""
    found = json.loads(python("-c", code).stdout)
    assert found["captions"][0] >= 139 and found["questions"][0] < 10
    assert found["both"][1] == found["questions"][1] + found["captions"][1]  # each word is said once
    assert found["both"][2] <= found["questions"][2]  # and no caption is padded to the questions of another image
    assert max(found["questions"][3], found["captions"][3]) < found["both"][3] < found["questions"][3] * 1.2
