"""Refined patches put back into the mask they came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.patches.cutting import box_size
from bpr_cli.patches.window import Window

HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Caution:
    """What it takes to change a pixel.

    Attributes:
        margin: how far the mean probability must be beyond 0.5, 0 to 0.5. 0 is the paper's rule.
        reach: how far from the coarse boundary a pixel may lie: the square of 2 reach + 1 px around it must hold
            pixels of both classes. None: anywhere.
    """

    margin: float = 0.0
    reach: int | None = None


PLAIN = Caution()


@lru_cache(maxsize=8)
def hann_weights(patch_size: int) -> NDArray[np.float32]:
    """Blending weights (P, P) float32 that trust the middle of a patch most: above 0, up to 1; read-only."""
    rise = np.sin(np.pi * (np.arange(patch_size) + 0.5) / patch_size) ** 2
    weights = np.outer(rise, rise).astype(np.float32)
    weights.flags.writeable = False  # made once, for all callers
    return weights


def merge_patches(
    window: Window,
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
    caution: Caution = PLAIN,
) -> Window:
    """Put refined patches back: covered pixels are foreground where the mean probability is above 0.5.

    Args:
        window: the coarse mask around these boxes (`window_around`); kept where no box lies.
        boxes: (N, 4) x1 y1 x2 y2 in the image, all of one size; what lies outside the image is ignored.
        probabilities_NPP: float32 (N, h, w), foreground probability 0..1. Patches larger than their box have
            a margin of context around, which is dropped.
        weights: float32 of one patch's shape (margin included), above 0: what each of its pixels
            weighs in the mean. None is a plain mean.
        caution: which of these pixels may change.

    Returns:
        The same part of the image with the new mask.

    Raises:
        ValueError: boxes of several sizes, or probabilities that do not fit them.
    """
    coarse_HW = window.pixels_HW
    height, width = coarse_HW.shape
    rows, columns = _inner_part(boxes, probabilities_NPP)
    # Sums of (p - threshold): a mean above the threshold is a sum above 0, so nothing counts the patches of a pixel.
    votes_NPP = probabilities_NPP[:, rows, columns] - HALF
    if caution.margin and len(boxes):
        votes_NPP = _cautious_votes(probabilities_NPP[:, rows, columns], window.cut(boxes), caution.margin)
    weights_PP = np.ones(votes_NPP.shape[1:], np.float32) if weights is None else weights[rows, columns]
    balance_HW = np.zeros(coarse_HW.shape, np.float32)
    merged_HW = coarse_HW.copy()
    covered_HW = np.zeros(coarse_HW.shape, np.bool_)
    for votes, (x1, y1, x2, y2) in zip(votes_NPP, window.shift(boxes).tolist(), strict=True):
        place = np.s_[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]  # a slice ends where the array does
        inside = np.s_[max(0, -y1) : max(0, height - y1), max(0, -x1) : max(0, width - x1)]
        if votes[inside].size:
            cv2.accumulateProduct(votes[inside], weights_PP[inside], balance_HW[place])
            covered_HW[place] = True
    np.copyto(merged_HW, (balance_HW > 0).view(np.uint8), where=covered_HW)
    if caution.reach is not None:
        np.copyto(merged_HW, coarse_HW, where=_is_out_of_reach(coarse_HW, caution.reach))
    return Window(merged_HW, window.x1, window.y1)


def _cautious_votes(
    probabilities_NPP: NDArray[np.float32], coarse_NPP: NDArray[np.uint8], margin: float
) -> NDArray[np.float32]:
    """Probabilities less their threshold: 0.5 + margin on background, 0.5 - margin on foreground."""
    flat, coarse = probabilities_NPP.reshape(1, -1), coarse_NPP.reshape(1, -1)
    votes = cv2.addWeighted(flat, 1.0, coarse, 2 * margin, -0.5 - margin, dtype=cv2.CV_32F)
    return np.asarray(votes, np.float32).reshape(probabilities_NPP.shape)


def _is_out_of_reach(coarse_HW: NDArray[np.uint8], reach: int) -> NDArray[np.bool_]:
    """Where the other class is further away than reach."""
    # It is within reach where, one step less far, there is a pixel with both among its neighbours.
    near = cv2.morphologyEx(coarse_HW, cv2.MORPH_GRADIENT, _square(1))
    if reach > 1:
        cv2.dilate(near, _square(reach - 1), dst=near)
    return np.asarray(near, np.uint8) == 0


@lru_cache(maxsize=64)
def _square(radius: int) -> NDArray[np.uint8]:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _inner_part(boxes: NDArray[np.int64], probabilities_NPP: NDArray[np.float32]) -> tuple[slice, slice]:
    """The part of each patch that lies on its box."""
    width, height = box_size(boxes)
    margin = (probabilities_NPP.shape[1] - height) // 2 if len(boxes) else 0
    fits = probabilities_NPP.shape[1:] == (height + 2 * margin, width + 2 * margin) or not len(boxes)
    if margin < 0 or len(probabilities_NPP) != len(boxes) or not fits:
        raise ValueError(f"probabilities {probabilities_NPP.shape} do not fit {len(boxes)} {width}x{height} boxes")
    return np.s_[margin : margin + height, margin : margin + width]
