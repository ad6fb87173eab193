"""Where to compute, and in which precision."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from bpr_cli.errors import InputError

INT8 = "int8"  # of OpenVINO alone, which has its own way to it
CLEARLY = 0.8  # of float32's time: bfloat16 rounds, so a draw goes to float32
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
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device is None or (device.index or 0) >= there.get(device.type, 0):
        found = [f"{kind} ({count})" for kind, count in there.items() if count]
        raise InputError(f"there is no device {name!r}", remedy=f"Here are: {', '.join(found)}; or use auto")
    return device


def autocast_dtype(device: torch.device, precision: str = "auto") -> torch.dtype | None:
    """The type in which convolutions run under autocast; None for float32.

    "auto" takes bfloat16 where the processor computes with it (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX, if a
    trial says so): there it is up to three times as fast, elsewhere slower than float32. MPS stays at float32.

    Raises:
        InputError: no such precision, or float16 on a CPU.
    """
    if precision == "auto":
        gains = knows_bfloat16(device) and (device.type != "cpu" or _cpu_gains_from_bfloat16())
        return torch.bfloat16 if gains else None
    if precision not in DTYPES:
        raise InputError(f"no precision {precision!r}", remedy=f"Choose from auto, {', '.join(DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("fp16 is slow and coarse on CPUs", remedy="Use --precision auto, bf16 or fp32")
    return DTYPES[precision]


def precision_name(dtype: torch.dtype | None) -> str:
    """The precision that `autocast_dtype` gave this type for."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def knows_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, be they fast or slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


@lru_cache(maxsize=1)
def _cpu_gains_from_bfloat16() -> bool:
    """Whether this processor is clearly faster in bfloat16, by a trial of torch's convolution, well under a second.

    Its word alone is not enough: Xeons whose virtual machine hides AMX have AVX512-BF16, and take 1.6 times as long as
    in float32, with OpenVINO too.
    """
    trials = [(_convolution_time(torch.float32), _convolution_time(torch.bfloat16)) for _ in range(6)]
    float32, bfloat16 = (min(times) for times in zip(*trials[1:], strict=True))  # the first one warms up
    return bfloat16 < CLEARLY * float32


@torch.inference_mode()
def _convolution_time(dtype: torch.dtype) -> float:
    """Seconds of a convolution as the networks have them."""
    features, weights = (
        torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for shape in ((8, 64, 32, 32), (64, 64, 3, 3))
    )
    start = time.perf_counter()
    torch.nn.functional.conv2d(features, weights, padding=1)
    return time.perf_counter() - start
