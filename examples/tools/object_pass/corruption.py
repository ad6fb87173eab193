"""Coarse masks made from true ones, such as detectors' mask heads draw them, and colours such as cameras give.

Masks are uint8 HW, 0 or 1, windows of a photo; `side` is the longer side of the object's box in pixels of the window.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SQUARE = np.ones((3, 3), np.uint8)
HEAD_CELLS = (14, 28, 28, 40)  # cells a side of mask heads' grids, as often as they are drawn
VIEW_CELLS = 128  # of a look at a whole object,
VIEW_SIDE = 1.46  # which is so much wider than the object


def detector_like(rng: np.random.Generator, truth_HW: Pixels, others_HW: Pixels, side: float) -> Pixels:
    """The mask a detector might draw: leaks, parts left out or taken in, a wavy boundary, a coarse grid.

    Args:
        truth_HW: the object; it has foreground.
        others_HW: the objects beside it.
    """
    mask_HW = truth_HW.copy()
    if rng.random() < 0.45 and others_HW.any():
        mask_HW = _leak(rng, mask_HW, others_HW, side)
    if rng.random() < 0.25:
        mask_HW = _swallow(rng, mask_HW, truth_HW, side)
    if rng.random() < 0.2:
        _cut_off(rng, mask_HW, truth_HW)
    if rng.random() < 0.2:
        _take_in(rng, mask_HW, truth_HW, side)
    distance_HW = _signed_distance(mask_HW)
    amplitude = rng.uniform(0, 0.07) * side * rng.uniform(0.2, 1)
    distance_HW += amplitude * _noise(rng, mask_HW, rng.uniform(0.04, 0.4) * side + 1) + rng.normal(0, 0.012) * side
    mask_HW = (distance_HW > 0).astype(np.uint8)
    return on_grid(mask_HW, rng.choice(HEAD_CELLS), side) if rng.random() < 0.8 else mask_HW


def refined_like(rng: np.random.Generator, truth_HW: Pixels, side: float) -> Pixels:
    """The mask a look at the whole object leaves: right but for its grid, a slow wave, now and then a worse place."""
    step = max(1.0, side * VIEW_SIDE / VIEW_CELLS)
    distance_HW = _signed_distance(truth_HW)
    distance_HW += rng.uniform(0, 1.2) * step * _noise(rng, truth_HW, rng.uniform(4, 24) * step)
    is_worse_HW = _noise(rng, truth_HW, rng.uniform(12, 40) * step) > rng.uniform(1.0, 2.5)
    distance_HW += is_worse_HW * rng.normal(0, 5) * step
    mask_HW = (distance_HW > 0).astype(np.uint8)
    return on_grid(mask_HW, VIEW_CELLS / VIEW_SIDE, side) if step > 1 else mask_HW


def on_grid(mask_HW: Pixels, cells: float, side: float) -> Pixels:
    """The mask as a head of so many cells a side over the object draws it."""
    height, width = mask_HW.shape
    rows, columns = (max(3, round(length * cells / side)) for length in (height, width))
    if rows >= height or columns >= width:
        return mask_HW
    grid_HW = cv2.resize(mask_HW.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return (cv2.resize(grid_HW, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5).astype(np.uint8)


def recolour(rng: np.random.Generator, image_HWC: Pixels) -> Pixels:
    """Other contrast, brightness, saturation and tint; at times a blur or noise. uint8 RGB."""
    x = image_HWC.astype(np.float32)
    x = (x - x.mean()) * rng.uniform(0.7, 1.3) + x.mean() + rng.uniform(-28, 28)
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * rng.uniform(0.5, 1.5) if rng.random() > 0.05 else np.repeat(grey, 3, 2)
    x *= rng.uniform(0.93, 1.07, (1, 1, 3)).astype(np.float32)
    if rng.random() < 0.15:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
    if rng.random() < 0.15:
        x += rng.normal(0, rng.uniform(1, 8), x.shape)
    return np.clip(x, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, like_HW: Pixels, length: float) -> NDArray[np.float32]:
    """Smooth noise of unit deviation with a wavelength in pixels: float32 HW."""
    height, width = like_HW.shape
    shape = [max(2, int(np.ceil(side / length)) + 1) for side in (height, width)]
    coarse = rng.standard_normal(shape).astype(np.float32)
    noise_HW = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return noise_HW / (noise_HW.std() + np.float32(1e-6))


def _signed_distance(mask_HW: Pixels) -> NDArray[np.float32]:
    """Distance to the boundary, positive inside: float32 HW."""
    inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, 3) for part in (mask_HW, 1 - mask_HW))
    return np.asarray(inside - outside, np.float32)


def _leak(rng: np.random.Generator, mask_HW: Pixels, others_HW: Pixels, side: float) -> Pixels:
    """Parts of the neighbours that lie near are taken in."""
    reach = rng.uniform(0.05, 0.35) * side
    distance_HW = cv2.distanceTransform(1 - mask_HW, cv2.DIST_L2, 3)
    is_near_HW = distance_HW < reach * (1 + 0.5 * _noise(rng, mask_HW, 0.3 * side + 2))
    is_leak_HW = _noise(rng, mask_HW, 0.5 * side + 2) > rng.uniform(-1, 0.7)
    return mask_HW | (others_HW & is_near_HW & is_leak_HW).astype(np.uint8)


def _swallow(rng: np.random.Generator, mask_HW: Pixels, truth_HW: Pixels, side: float) -> Pixels:
    """A round part of the object is left out."""
    ys, xs = np.nonzero(truth_HW)
    place = rng.integers(len(ys))
    radius = rng.uniform(0.05, 0.3) * side
    hole_HW = np.zeros_like(mask_HW)
    _draw_ellipse(rng, hole_HW, int(xs[place]), int(ys[place]), radius)
    return mask_HW & (1 - hole_HW)


def _cut_off(rng: np.random.Generator, mask_HW: Pixels, truth_HW: Pixels) -> None:
    """A strip at one side of the object is left out, as by a box too small; in place."""
    ys, xs = np.nonzero(truth_HW)
    edge = rng.integers(4)
    share = rng.uniform(0.02, 0.2)
    rows, columns = share * (ys.max() - ys.min()), share * (xs.max() - xs.min())
    if edge == 0:
        mask_HW[: int(ys.min() + rows)] = 0
    elif edge == 1:
        mask_HW[int(ys.max() - rows) :] = 0
    elif edge == 2:
        mask_HW[:, : int(xs.min() + columns)] = 0
    else:
        mask_HW[:, int(xs.max() - columns) :] = 0


def _take_in(rng: np.random.Generator, mask_HW: Pixels, truth_HW: Pixels, side: float) -> None:
    """A round piece of what lies around the boundary is taken in; in place."""
    edge_yx = np.argwhere(cv2.morphologyEx(truth_HW, cv2.MORPH_GRADIENT, SQUARE))
    if len(edge_yx):
        y, x = edge_yx[rng.integers(len(edge_yx))]
        _draw_ellipse(rng, mask_HW, int(x), int(y), rng.uniform(0.04, 0.22) * side)


def _draw_ellipse(rng: np.random.Generator, canvas_HW: Pixels, x: int, y: int, radius: float) -> None:
    axes = [int(radius * rng.uniform(0.4, 1.3)) + 1 for _ in range(2)]
    cv2.ellipse(canvas_HW, (x, y), axes, rng.uniform(0, 180), 0, 360, (1,), -1)
