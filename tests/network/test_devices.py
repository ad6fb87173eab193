"""bfloat16 is used where the processor is faster with it, not where it merely knows it."""

from __future__ import annotations

import pytest
import torch

from bpr_cli.network import devices

CPU = torch.device("cpu")


@pytest.fixture
def fresh_trial():
    devices._cpu_gains_from_bfloat16.cache_clear()
    yield
    devices._cpu_gains_from_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "share", "expected"),
    [
        ({"avx512_bf16": True}, 0.5, torch.bfloat16),
        ({"amx_bf16": True}, 0.3, torch.bfloat16),
        ({"avx512_bf16": True}, 0.95, None),
        ({"avx512_bf16": True}, 1.6, None),
        ({"avx512_f": True}, 0.1, None),
        (None, 0.1, None),
    ],
)
def test_a_cpu_takes_bfloat16_only_if_it_is_clearly_faster(monkeypatch, fresh_trial, capabilities, share, expected):
    if capabilities is None:  # as in torch 2.4
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(devices, "_convolution_time", lambda dtype: share if dtype == torch.bfloat16 else 1.0)
    assert devices.autocast_dtype(CPU) is expected


def test_the_trial_takes_time_and_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    assert 0.0 < devices._convolution_time(torch.float32) < 1.0
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_asked_for_is_taken():
    assert devices.autocast_dtype(CPU, "fp32") is None
    assert devices.autocast_dtype(CPU, "bf16") is torch.bfloat16
