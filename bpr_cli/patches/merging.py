"""Refined patches put back into the mask they came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.patches.cutting import crop
from bpr_cli.patches.window import Window, as_binary, box_size, window_around

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
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    mask_HW: NDArray[np.generic],
    weights: NDArray[np.float32] | None = None,
    caution: Caution = PLAIN,
) -> NDArray[np.uint8]:
    """`merge_patches_in` for a mask given as a full frame; the result is a new frame, uint8, 0 or 1."""
    return _merge(as_binary(mask_HW), boxes, probabilities_NPP, weights, caution, None)


def merge_patches_in(
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    mask: Mask,
    weights: NDArray[np.float32] | None = None,
    caution: Caution = PLAIN,
) -> Mask:
    """Put refined patches back: covered pixels are foreground where the mean probability is above 0.5.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, all of one size; what lies outside the image is ignored.
        probabilities_NPP: float32 (N, h, w), foreground probability 0..1. Patches larger than their box have
            a margin of context around, which is dropped.
        mask: the coarse mask; kept where no box lies.
        weights: float32 of one patch's shape (margin included), above 0: what each of its pixels
            weighs in the mean. None is a plain mean.
        caution: which of these pixels may change.

    Returns:
        The new mask, cropped tight.

    Raises:
        ValueError: boxes of several sizes, or probabilities that do not fit them.
    """
    if len(boxes) == 0:
        return mask
    merged = merged_window(window_around(mask, boxes, whole_mask=True), boxes, probabilities_NPP, weights, caution)
    return crop_mask(merged.pixels_HW.view(np.bool_), merged.x1, merged.y1, mask.image_height, mask.image_width)


def merged_window(
    window: Window,
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
    caution: Caution = PLAIN,
    coarse_NPP: NDArray[np.uint8] | None = None,
) -> Window:
    """`merge_patches_in` where a window with the whole coarse mask and all boxes (`window_around`) is at hand.

    `coarse_NPP` are the coarse mask's patches of these boxes, if they are at hand too; else they are cut.
    """
    boxes = boxes - (window.x1, window.y1, window.x1, window.y1)
    return window._replace(pixels_HW=_merge(window.pixels_HW, boxes, probabilities_NPP, weights, caution, coarse_NPP))


def _merge(
    coarse_HW: NDArray[np.uint8],
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    caution: Caution,
    coarse_NPP: NDArray[np.uint8] | None,
) -> NDArray[np.uint8]:
    """The merged pixels, a new array, of a window that ends only where the boxes or the image end."""
    rows, columns = _inner_part(boxes, probabilities_NPP)
    # Sums of (p - threshold): a mean above the threshold is a sum above 0, so nothing counts the patches of a pixel.
    inner_NPP = probabilities_NPP[:, rows, columns]
    if caution.margin and len(boxes):
        coarse_NPP = crop(coarse_HW, boxes) if coarse_NPP is None else coarse_NPP
        votes_NPP = _cautious_votes(inner_NPP, coarse_NPP, caution.margin)
    else:
        votes_NPP = inner_NPP - HALF
    weights_PP = np.ones(votes_NPP.shape[1:], np.float32) if weights is None else weights[rows, columns]
    balance_HW = np.zeros(coarse_HW.shape, np.float32)
    uncovered_HW = coarse_HW.copy()
    height, width = coarse_HW.shape
    for votes, (x1, y1, x2, y2) in zip(votes_NPP, boxes.tolist(), strict=True):
        part = votes, weights_PP
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:  # the image's border cuts the patch off
            inside = np.s_[max(0, -y1) : max(0, height - y1), max(0, -x1) : max(0, width - x1)]
            part = votes[inside], weights_PP[inside]
            x1, y1, x2, y2 = max(0, x1), max(0, y1), max(0, x2), max(0, y2)
            if not part[0].size:
                continue
        place = slice(y1, y2), slice(x1, x2)
        cv2.accumulateProduct(*part, balance_HW[place])  # on a part of an array, sooner done than by numpy
        uncovered_HW[place] = 0
    merged_HW = (balance_HW > 0).view(np.uint8) | uncovered_HW
    if caution.reach is not None:
        np.copyto(merged_HW, coarse_HW, where=_is_out_of_reach(coarse_HW, caution.reach))
    return merged_HW


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
