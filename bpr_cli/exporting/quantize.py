"""A network in 8 bits for OpenVINO: by NNCF, calibrated on patches, checked on others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openvino
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.shards import ShardReader, list_shards

CALIBRATION_PATCHES = 300  # NNCF's own default
CHECKED_PATCHES = 300

Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


class Patches(NamedTuple):
    """Patches to calibrate or check with: uint8 (N, S, S, 3) RGB, and (N, S, S) coarse and true masks, 0 or 1."""

    images_NHWC: NDArray[np.uint8]
    masks_NHW: NDArray[np.uint8]
    truths_NHW: NDArray[np.uint8]


def read_patches(folder: Path, side: int) -> tuple[Patches, Patches]:
    """Patches spread evenly over an extraction's training shards: some to calibrate with, others to check with.

    Args:
        folder: what `bpr extract` wrote.
        side: of the patches that the network takes, in pixels.

    Raises:
        InputError: no shards, too few patches, or patches of another size.
    """
    reader = ShardReader(list_shards(folder, "train"))
    count = CALIBRATION_PATCHES + CHECKED_PATCHES
    if len(reader) < count:
        raise InputError(
            f"{len(reader)} training patches, {count} are needed",
            file=folder,
            remedy="Give a folder that bpr extract made, from more photos",
        )
    chosen = np.linspace(0, len(reader) - 1, count).astype(int)
    read = [reader.arrays(int(index)) for index in chosen]
    others = sorted({array.shape[:2] for arrays in read for array in arrays} - {(side, side)})
    if others:
        height, width = others[0]
        raise InputError(f"there are patches of {width} x {height} px, the model takes {side} x {side}", file=folder)
    images, masks, truths = (np.stack(arrays) for arrays in zip(*read, strict=True))
    return Patches(images[::2], masks[::2], truths[::2]), Patches(images[1::2], masks[1::2], truths[1::2])


def quantize(model: openvino.Model, patches: Patches) -> openvino.Model:
    """The network with 8-bit weights and activations, whose ranges are those that the patches give rise to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the many packages that NNCF imports
        import nncf

    nncf.set_log_level("ERROR")
    items = list(zip(patches.images_NHWC[:, None], patches.masks_NHW[:, None], strict=True))
    return nncf.quantize(model, nncf.Dataset(items, list), subset_size=len(items))


def mean_iou(predict: Predict, patches: Patches) -> float:
    """Mean IoU of the predicted and the true masks, over patches that have foreground in either; 0..1."""
    batch = 16
    starts = range(0, len(patches.truths_NHW), batch)
    parts = [(patches.images_NHWC[i : i + batch], patches.masks_NHW[i : i + batch]) for i in starts]
    found = np.concatenate([predict(*part) > 0.5 for part in parts])
    true = patches.truths_NHW > 0
    shared, either = ((found & true).sum(axis=(1, 2)), (found | true).sum(axis=(1, 2)))
    return float((shared[either > 0] / either[either > 0]).mean())
