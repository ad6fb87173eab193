"""Running a network over patches: which device, which precision, how many at once.

uint8 patches go to the device and are enlarged and normalised there; float32 probabilities of the patch's own size
come back.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bpr_cli.errors import InputError
from bpr_cli.network.checkpoint import ModelConfig
from bpr_cli.network.hrnet import FOREGROUND, resize_logits
from bpr_cli.network.inputs import prepare

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

    "auto" takes bfloat16 where the processor computes with it (CUDA from Ampere on, x86 with AVX512-BF16 or AMX): there
    it is two to three times as fast, elsewhere slower than float32. MPS stays at float32.

    Raises:
        InputError: no such precision, or float16 on a CPU.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else None
    if precision not in DTYPES:
        raise InputError(f"no precision {precision!r}", remedy=f"Choose from auto, {', '.join(DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("fp16 is slow and coarse on CPUs", remedy="Use --precision auto, bf16 or fp32")
    return DTYPES[precision]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


class Engine:
    """A network made ready for inference on a device.

    Args:
        module: an `HRNetSegmenter`, in evaluation mode; it is copied, not changed.
        config: what it expects.
        device: where to run it.
        precision: see `autocast_dtype`.

    Attributes:
        max_batch: largest batch that fitted so far after running out of memory; None: not yet met.
    """

    def __init__(self, module: nn.Module, config: ModelConfig, device: torch.device, precision: str = "auto") -> None:
        self.config = config
        self.device = device
        self.dtype = autocast_dtype(device, precision)
        folded = fold_batch_norm(copy.deepcopy(module).eval())
        self.module = folded.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.max_batch: int | None = None

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks_NHW: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """Foreground probability of patches.

        Args:
            images_NHWC: (N, S, S, 3) uint8 RGB, S = patch size + 2 padding.
            masks_NHW: (N, S, S) uint8, coarse masks, 0 or 1.
            flips: average with the prediction of the mirror image.

        Returns:
            (N, P, P) float32, 0..1, P the patch size: the middle of each patch.

        Raises:
            InputError: not even one patch fits the device's memory.
        """
        size, padding = self.config.patch_size, self.config.padding
        output = np.empty((len(images_NHWC), size, size), np.float32)
        start = 0
        while start < len(images_NHWC):
            stop = min(len(images_NHWC), start + (self.max_batch or len(images_NHWC)))
            try:
                probabilities = self._run(images_NHWC[start:stop], masks_NHW[start:stop], flips)
            except RuntimeError as error:
                self._halve(stop - start, error)
                continue
            output[start:stop] = probabilities[:, padding : padding + size, padding : padding + size].numpy()
            start = stop
        return output

    @torch.inference_mode()
    def _run(self, images_NHWC: NDArray[np.uint8], masks_NHW: NDArray[np.uint8], flips: bool) -> Tensor:
        images, masks = self._upload(images_NHWC), self._upload(masks_NHW)
        inputs = prepare(images, masks, self.config.input_size)
        probabilities = self._probabilities(inputs, images.shape[1])
        if flips:
            probabilities = (probabilities + self._probabilities(inputs.flip(3), images.shape[1]).flip(2)) / 2
        return probabilities.cpu()

    def _upload(self, array: NDArray[np.uint8]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _probabilities(self, inputs: Tensor, size: int) -> Tensor:
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            logits = self.module(inputs)
        return torch.softmax(resize_logits(logits.float(), (size, size)), dim=1)[:, FOREGROUND]

    def _halve(self, batch: int, error: RuntimeError) -> None:
        """After running out of memory: go on with half the batch; any other error is passed on."""
        if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error).lower():
            raise error
        if batch == 1:
            raise InputError(
                f"one patch does not fit the memory of {self.device}", remedy="Use --device cpu or a smaller model"
            ) from error
        self.max_batch = batch // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every batch normalisation that directly follows a convolution into it, in place.

    Pairs are a `Sequential`'s neighbours and attributes such as conv1 and bn1. The stem's first one stays: two
    convolutions feed it.
    """
    for child in module.children():
        fold_batch_norm(child)
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):
        pairs = list(pairwise(names))
    else:
        pairs = [(name, name.replace("conv", "bn")) for name in names if name.startswith("conv")]
    for conv_name, norm_name in pairs:
        conv, norm = getattr(module, conv_name), getattr(module, norm_name, None)
        joined = conv_name == "conv1" and hasattr(module, "conv_mask")
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and not joined:
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
    return module
