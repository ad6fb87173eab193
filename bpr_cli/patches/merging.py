"""Refined patches put back into the mask they came from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask
from bpr_cli.patches.window import Window, as_binary, box_size, window_around

HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Caution:
    """What it takes to change a pixel.

    Attributes:
        margin: how far the mean probability must be beyond 0.5, 0 to 0.5. 0 is the paper's rule.
        reach: how far from the coarse boundary a pixel may lie, px (Euclidean, between pixel centres).
    """

    margin: float = 0.0
    reach: float = math.inf


PLAIN = Caution()


def hann_weights(patch_size: int) -> NDArray[np.float32]:
    """Blending weights (P, P) float32 that trust the middle of a patch most: above 0, up to 1."""
    rise = np.sin(np.pi * (np.arange(patch_size) + 0.5) / patch_size) ** 2
    return np.outer(rise, rise).astype(np.float32)


def merge_patches(
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    mask_HW: NDArray[np.generic],
    weights: NDArray[np.float32] | None = None,
    caution: Caution = PLAIN,
) -> NDArray[np.uint8]:
    """`merge_patches_in` for a mask given as a full frame; the result is a new frame, uint8, 0 or 1."""
    pixels = as_binary(mask_HW).copy()
    _merge(Window(pixels, 0, 0), boxes, probabilities_NPP, weights, caution)
    return pixels


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
    window = window_around(mask, boxes, whole_mask=True)
    _merge(window, boxes, probabilities_NPP, weights, caution)
    return crop_mask(window.pixels_HW, window.x1, window.y1, mask.image_height, mask.image_width)


def _merge(
    window: Window,
    boxes: NDArray[np.int64],
    probabilities_NPP: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    caution: Caution,
) -> None:
    """Write the merged patches into the window; it ends only where the boxes or the image end."""
    places = boxes.tolist()
    inner = _inner_part(places, probabilities_NPP)
    if weights is not None:
        weights = weights[inner]
    merged = window.pixels_HW.view(np.bool_)
    height, width = merged.shape
    # Sums of (p - 0.5): a mean above 0.5 is a sum above 0, so the paper's rule need not count a pixel's patches.
    balance = np.zeros((height, width), np.float32)
    total = np.zeros((height, width), np.float32) if caution.margin else None
    written = []
    for patch, (x1, y1, x2, y2) in zip(probabilities_NPP, places, strict=True):
        x, y = x1 - window.x1, y1 - window.y1
        part = np.s_[max(0, -y) : max(0, height - y), max(0, -x) : max(0, width - x)]
        votes = patch[inner][part] - HALF
        if not votes.size:
            continue
        if weights is not None:
            votes *= weights[part]
        place = np.s_[max(0, y) : y2 - window.y1, max(0, x) : x2 - window.x1]
        sums = balance[place]
        sums += votes
        if total is not None:
            total[place] += 1.0 if weights is None else weights[part]
        written.append((sums, merged[place]))
    kept = merged.copy() if caution != PLAIN else None
    for sums, pixels in written:
        np.greater(sums, 0.0, out=pixels)
    if kept is not None:
        _undo(merged, kept, balance, total, caution)


def _undo(
    merged_HW: NDArray[np.bool_],
    coarse_HW: NDArray[np.bool_],
    balance_HW: NDArray[np.float32],
    total_HW: NDArray[np.float32] | None,
    caution: Caution,
) -> None:
    """Give back their coarse value to pixels that caution does not let change."""
    refused = _distance_to_boundary(coarse_HW) > caution.reach
    if total_HW is not None:
        refused |= np.abs(balance_HW) <= np.float32(caution.margin) * total_HW
    np.copyto(merged_HW, coarse_HW, where=refused)


def _distance_to_boundary(mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels from each pixel to the nearest one of the other class; large where there is none."""
    pixels = mask_HW.view(np.uint8)
    inside, outside = (cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (pixels, 1 - pixels))
    return np.maximum(inside, outside)


def _inner_part(places: list[list[int]], probabilities_NPP: NDArray[np.float32]) -> tuple[slice, slice]:
    """The part of each patch that lies on its box."""
    width, height = box_size(places)
    margin = (probabilities_NPP.shape[1] - height) // 2 if places else 0
    fits = probabilities_NPP.shape[1:] == (height + 2 * margin, width + 2 * margin) or not places
    if margin < 0 or len(probabilities_NPP) != len(places) or not fits:
        raise ValueError(f"probabilities {probabilities_NPP.shape} do not fit {len(places)} {width}x{height} boxes")
    return np.s_[margin : margin + height, margin : margin + width]
