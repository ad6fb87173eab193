"""bfloat16 is used where the processor is surely faster with it, by what it says of itself."""

from __future__ import annotations

import time

import pytest
import torch

from bpr_cli.engines import devices

CPU = torch.device("cpu")


@pytest.fixture
def flags(monkeypatch):
    """Sets what the processor says of itself; None: torch does not tell."""

    def set_to(found):
        if found is None:
            monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        else:
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)

    return set_to


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True, "amx_bf16": False}, None),  # 1.6 times as slow on a Xeon whose AMX is hidden
        ({"avx512_f": True}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_cpu_takes_bfloat16_if_it_has_amx(flags, found, expected):
    flags(found)
    assert devices.autocast_dtype(CPU) is expected


def test_no_clock_decides(flags, monkeypatch):
    def fail(*arguments):
        raise AssertionError("the clock was asked")

    flags({"avx512_bf16": True, "amx_bf16": True})
    for clock in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(time, clock, fail)
    assert devices.autocast_dtype(CPU) is torch.bfloat16


def test_what_is_asked_for_is_taken(flags):
    flags({"amx_bf16": True})
    assert devices.autocast_dtype(CPU, "fp32") is None
    flags({})
    assert devices.autocast_dtype(CPU, "bf16") is torch.bfloat16
