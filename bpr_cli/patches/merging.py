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


@dataclass(frozen=True, slots=True, eq=False)
class Probabilities:
    """How likely each pixel of a part of an image is foreground; all other pixels are background for sure.

    Attributes:
        values_HW: float32, 0..1.
        seen_HW: bool; where they are the network's answer. Elsewhere they are 0 or 1 of the mask.
        x1, y1: where the top left pixel lies in the image.
    """

    values_HW: NDArray[np.float32]
    seen_HW: NDArray[np.bool_]
    x1: int
    y1: int


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
    rows, columns = _inner_part(boxes, probabilities_NPP)
    # Sums of (p - threshold): a mean above the threshold is a sum above 0, so nothing counts the patches of a pixel.
    votes_NPP = probabilities_NPP[:, rows, columns] - HALF
    if caution.margin and len(boxes):
        votes_NPP = _cautious_votes(probabilities_NPP[:, rows, columns], window.cut(boxes), caution.margin)
    weights_PP = np.ones(votes_NPP.shape[1:], np.float32) if weights is None else weights[rows, columns]
    balance_HW, covered_HW = _weighted_sum(votes_NPP, weights_PP, window, boxes)
    merged_HW = coarse_HW.copy()
    np.copyto(merged_HW, (balance_HW > 0).view(np.uint8), where=covered_HW)
    if caution.reach is not None:
        np.copyto(merged_HW, coarse_HW, where=_is_out_of_reach(coarse_HW, caution.reach))
    return Window(merged_HW, window.x1, window.y1)


def merged_probabilities(
    window: Window,
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    caution: Caution,
    merged: Window,
) -> Probabilities:
    """The mean probabilities by which `merge_patches` decided; 0 or 1 of the mask where it did not look at them.

    Args:
        window, boxes, probabilities_NPP, weights, caution: as `merge_patches` had them.
        merged: what it returned.
    """
    coarse_HW, merged_HW = window.pixels_HW, merged.pixels_HW
    rows, columns = _inner_part(boxes, probabilities_NPP)
    inner_NPP = probabilities_NPP[:, rows, columns]
    weights_PP = np.ones(inner_NPP.shape[1:], np.float32) if weights is None else weights[rows, columns]
    sums_HW, decided_HW = _weighted_sum(inner_NPP, weights_PP, window, boxes)
    weight_HW, _ = _weighted_sum(np.ones_like(inner_NPP), weights_PP, window, boxes)
    if caution.reach is not None:
        decided_HW &= ~_is_out_of_reach(coarse_HW, caution.reach)
    means_HW = np.divide(sums_HW, weight_HW, out=merged_HW.astype(np.float32), where=decided_HW)
    # The mask was decided by a sum, this is a quotient: rounding must not set one against the other.
    thresholds_HW = np.where(coarse_HW, HALF - np.float32(caution.margin), HALF + np.float32(caution.margin))
    above_HW = np.nextafter(thresholds_HW, np.float32(1))
    agreeing_HW = np.where(merged_HW, np.maximum(means_HW, above_HW), np.minimum(means_HW, thresholds_HW))
    return Probabilities(np.clip(agreeing_HW, 0, 1), decided_HW, window.x1, window.y1)


def _weighted_sum(
    values_NPP: NDArray[np.float32], weights_PP: NDArray[np.float32], window: Window, boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sum by pixel of the values times the weights of all boxes over it, and where there are any."""
    height, width = window.pixels_HW.shape
    sums_HW = np.zeros((height, width), np.float32)
    covered_HW = np.zeros((height, width), np.bool_)
    for values_PP, (x1, y1, x2, y2) in zip(values_NPP, window.shift(boxes).tolist(), strict=True):
        place = np.s_[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]  # a slice ends where the array does
        inside = np.s_[max(0, -y1) : max(0, height - y1), max(0, -x1) : max(0, width - x1)]
        if values_PP[inside].size:
            cv2.accumulateProduct(values_PP[inside], weights_PP[inside], sums_HW[place])
            covered_HW[place] = True
    return sums_HW, covered_HW


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
