"""Where to compute, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bpr_cli.errors import InputError

INT8 = "int8"  # of OpenVINO alone, which has its own way to it
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1", "mps".

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device is None or (device.index or 0) >= available.get(device.type, 0):
        found = [f"{kind} ({count})" for kind, count in available.items() if count]
        raise InputError(f"there is no device {name!r}", remedy=f"Here are: {', '.join(found)}; or use auto")
    return device


def autocast_dtype(device: torch.device, precision: str = "auto") -> torch.dtype | None:
    """The type in which convolutions run under autocast; None for float32.

    "auto" takes bfloat16 where `gains_from_bfloat16`.

    Raises:
        InputError: no such precision, or float16 on a CPU.
    """
    if precision == "auto":
        return torch.bfloat16 if gains_from_bfloat16(device) else None
    if precision not in DTYPES:
        raise InputError(f"no precision {precision!r}", remedy=f"Choose from auto, {', '.join(DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("fp16 is slow and coarse on CPUs", remedy="Use --precision auto, bf16 or fp32")
    return DTYPES[precision]


def precision_name(dtype: torch.dtype | None) -> str:
    """The precision that `autocast_dtype` gave this type for."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def gains_from_bfloat16(device: torch.device) -> bool:
    """Whether the device is surely faster in bfloat16: CUDA from Ampere on, and CPUs with AMX.

    What the device says of itself decides, never a trial against the clock: two runs on one machine must round alike,
    however busy it is. AVX512-BF16 is not enough. Xeons whose virtual machine hides AMX have it, and take 1.6 times as
    long as in float32; other processors gain from it, and can be told to: --precision bf16.
    """
    if device.type == "cpu":
        return bool(_cpu_capabilities().get("amx_bf16"))
    return knows_bfloat16(device)


def why_precision(device: torch.device) -> str:
    """Why `gains_from_bfloat16` says what it says of a device, in a few words."""
    gains = gains_from_bfloat16(device)
    if device.type == "cpu":
        return "the processor has AMX" if gains else "the processor has no AMX, or torch sees none"
    if device.type == "cuda":
        return "the GPU is Ampere or newer" if gains else "the GPU is older than Ampere"
    return "nothing else was tried there"


def knows_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, be they fast or slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return any(_cpu_capabilities().get(flag) for flag in ("avx512_bf16", "amx_bf16"))
    return False


def cache_folder() -> Path:
    """Where converted networks are kept: beside torch's own cache, where TORCH_HOME says."""
    return Path(torch.hub.get_dir()).parent / "bpr"


def _cpu_capabilities() -> Mapping[str, Any]:
    """The processor's flags; older versions of torch tell none."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
