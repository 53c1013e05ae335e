"""Linear layers computed the fast way are the same layers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compute import onednn
from harness.compute.onednn import OneDnnLinear, fast_linear, has_onednn_linear

needs_onednn = pytest.mark.skipif(not has_onednn_linear(), reason="this torch has no linear layer of oneDNN")


@needs_onednn
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 70), st.integers(1, 50), st.booleans())
def test_linear_layers_are_equal_to_rounding_for_every_number_of_rows(batch, rows, width, out, bias):
    layer = torch.nn.Linear(width, out, bias=bias)
    assert_the_same(layer, torch.randn(batch, rows, width))


def assert_the_same(layer, inputs) -> None:
    with torch.inference_mode():
        plain = layer(inputs)
        for every in (True, False):
            with OneDnnLinear(every):
                fast = layer(inputs)
            assert fast.shape == plain.shape and fast.is_contiguous()
            torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 4, 5, 14, 16, 33, 64, 65])
def test_a_few_rows_through_a_wide_layer_are_equal_to_rounding(rows, bias):
    layer = torch.nn.Linear(1024, 1100, bias=bias)
    assert layer.weight.numel() >= onednn.WIDE
    assert_the_same(layer, torch.randn(rows, 1, 1024))
    assert_the_same(layer, torch.randn(1, rows, 2048)[..., ::2])  # rows that do not lie one behind the other


@needs_onednn
def test_training_is_left_alone():
    layer = torch.nn.Linear(4, 4)
    with OneDnnLinear():
        layer(torch.ones(3, 4)).sum().backward()
    assert layer.weight.grad is not None


def test_a_gpu_and_half_precision_keep_torchs_own_way():
    for device, dtype in (("cuda", torch.float32), ("cpu", torch.bfloat16)):
        assert not isinstance(fast_linear(torch.device(device), dtype), OneDnnLinear)


@needs_onednn
@pytest.mark.parametrize(("slow", "narrow", "wide"), [(False, False, True), (True, True, True)])
def test_a_narrow_model_is_left_alone_where_mkl_is_quick(slow, narrow, wide, monkeypatch):
    monkeypatch.setattr(onednn, "_has_slow_mkl", lambda: slow)
    here = torch.device("cpu"), torch.float32
    assert isinstance(fast_linear(*here, 128), OneDnnLinear) == narrow
    assert isinstance(fast_linear(*here, 768), OneDnnLinear) == wide


@needs_onednn
def test_a_torch_without_the_operator_keeps_torchs_own_way(monkeypatch):
    monkeypatch.setattr(onednn, "_has_slow_mkl", lambda: True)
    here = torch.device("cpu"), torch.float32
    assert isinstance(fast_linear(*here), OneDnnLinear)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert not isinstance(fast_linear(*here), OneDnnLinear)
    with fast_linear(*here):
        assert torch.nn.Linear(2, 3)(torch.ones(4, 2)).shape == (4, 3)
