"""The loss against the oracle's numbers, and each term against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders.training.loss import Margins, ObjectContrast, object_contrastive_loss

CASES = ("case00", "case02", "case06", "case08", "case10", "case17")
FORMS = {"released": ("released", "logit"), "paper": ("paper", "logit"), "paper_cos": ("paper", "cosine")}


class Case:
    """One case of the oracle: inputs, settings and what must come out."""

    def __init__(self, folder: Path, name: str, form: str) -> None:
        cases = json.loads((folder / "cases.json").read_text())["cases"]
        self.settings = next(case for case in cases if case["name"] == name)
        self.expected: dict[str, Any] = self.settings["results"][form]
        self.form, self.name = form, name
        with np.load(folder / "cases.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files if key.startswith(name)}

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[f"{self.name}/{key}"]).clone()

    def loss(self, image_BD: Tensor, text_BKD: Tensor) -> ObjectContrast:
        form, units = FORMS[self.form]
        return object_contrastive_loss(
            image_BD,
            text_BKD,
            self.tensor("valid") if f"{self.name}/valid" in self.arrays else None,
            scale=self.settings["scale"],
            margins=Margins(
                tau1=self.expected.get("tau1", self.settings["tau1"]),
                tau2=self.expected.get("tau2", self.settings["tau2"]),
                lambda1=self.settings["lam1"],
                lambda2=self.settings["lam2"],
                form=form,  # type: ignore[arg-type]
                units=units,  # type: ignore[arg-type]
            ),
        )


@pytest.fixture(params=[(name, form) for name in CASES for form in FORMS], ids="-".join)
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    return Case(shared / "oracle/trainer", *request.param)


def test_values_match_the_oracle_to_a_billionth(case: Case) -> None:
    found = case.loss(case.tensor("image"), case.tensor("text"))
    for term, value in zip(("total", "L0", "L1", "L2"), found, strict=True):
        assert value.item() == pytest.approx(case.expected[term], abs=1e-9), term


@pytest.mark.parametrize("term", ["total", "L0", "L1", "L2"])
def test_gradients_match_the_oracle_to_a_billionth(case: Case, term: str) -> None:
    image, text = case.tensor("image").requires_grad_(), case.tensor("text").requires_grad_()
    value = getattr(case.loss(image, text), term.lower())
    grads = torch.autograd.grad(value, (image, text), allow_unused=True, materialize_grads=True)
    for name, grad in zip(("image", "text"), grads, strict=True):
        expected = case.tensor(f"{case.form}/unit/grad_{name}_{term}")
        torch.testing.assert_close(grad, expected, atol=1e-9, rtol=1e-9)


def test_gradients_through_normalisation_match_the_oracle(case: Case) -> None:
    image, text = case.tensor("image_raw").requires_grad_(), case.tensor("text_raw").requires_grad_()
    case.loss(
        torch.nn.functional.normalize(image, dim=-1), torch.nn.functional.normalize(text, dim=-1)
    ).total.backward()
    for name, raw in (("image", image), ("text", text)):
        expected = case.tensor(f"{case.form}/raw/grad_{name}_total")
        torch.testing.assert_close(raw.grad, expected, atol=1e-9, rtol=1e-9)


def test_the_terms_of_two_pairs_are_those_worked_out_by_hand() -> None:
    # cosines: I1.T1 = 1, I1.T2 = 0, I2.T1 = 0, I2.T2 = 1; hallucinated captions: 0.6 with I1, 0.8 with I2.
    image = torch.eye(2, dtype=torch.float64)
    text = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.6, 0.8]]], dtype=torch.float64)
    found = object_contrastive_loss(image, text, scale=1.0, margins=Margins(0.5, 1.0, 1.0, 10.0))
    e = np.exp
    i2t = (np.log(e(1) + 1 + e(0.6)) - 1 + np.log(e(1) + 1 + e(0.8)) - 1) / 2
    t2i = np.log(e(1) + 1) - 1
    assert found.l0.item() == pytest.approx((i2t + t2i) / 2)
    assert found.l1.item() == pytest.approx((0.1 + 0.3) / 4)
    assert found.l2.item() == pytest.approx((0.4 + 0.2) / 2)
    assert found.total.item() == pytest.approx(found.l0.item() + found.l1.item() + 10 * found.l2.item())


def test_a_masked_caption_leaves_no_trace_in_the_paper_form() -> None:
    torch.manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(3, 5), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(3, 4, 5), dim=-1)
    valid = torch.tensor([[1, 1, 0, 1]] * 3)
    knobs: dict[str, Any] = {"scale": 10.0, "margins": Margins(lambda1=0.5, lambda2=0.5)}
    masked = object_contrastive_loss(image, text, valid, **knobs)
    without = object_contrastive_loss(image, text[:, [0, 1, 3]], **knobs)
    torch.testing.assert_close(masked, without)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_no_hallucinated_captions_leaves_plain_contrast(form: Any) -> None:
    image = torch.nn.functional.normalize(torch.randn(3, 5), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(3, 1, 5), dim=-1)
    found = object_contrastive_loss(image, text, scale=10.0, margins=Margins(form=form))
    logits = 10 * image @ text[:, 0].T
    contrast = torch.nn.functional.cross_entropy
    expected = (contrast(logits, torch.arange(3)) + contrast(logits.T, torch.arange(3))) / 2
    assert found.l0.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.l2.item() == 0


def test_half_precision_rows_are_scored_in_float32() -> None:
    image = torch.nn.functional.normalize(torch.randn(3, 5), dim=-1).bfloat16()
    text = torch.nn.functional.normalize(torch.randn(3, 2, 5), dim=-1).bfloat16()
    found = object_contrastive_loss(image, text, scale=100.0)
    exact = object_contrastive_loss(image.float(), text.float(), scale=100.0)
    assert found.total.dtype == torch.float32
    assert torch.equal(found.total, exact.total)


def test_the_scale_gets_a_gradient() -> None:
    scale = torch.tensor(10.0, requires_grad=True)
    image = torch.nn.functional.normalize(torch.randn(3, 5), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(3, 2, 5), dim=-1)
    object_contrastive_loss(image, text, scale=scale).total.backward()
    assert scale.grad is not None
    assert scale.grad.abs() > 0


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="no form 'paperish'"):
        Margins(form="paperish")  # type: ignore[arg-type]
