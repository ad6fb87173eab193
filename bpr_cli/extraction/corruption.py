"""Coarse masks made from true ones, for people without detections on their training images.

What detectors get wrong is a smooth field along the contour (bulges, cut corners, a general bias outward or
inward) followed by the loss of detail of a low-resolution mask head. So the true mask's signed distance is
disturbed by smooth noise and an offset, then resampled through a coarse grid over the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.masks import Mask, crop_mask


@dataclass(frozen=True, slots=True)
class Corruption:
    """How much a true mask is disturbed.

    Lengths are in pixels of a 480-line photo's typical object (150 px across) and scale with the object.
    The defaults span the 3 to 8 px by which detectors' boundaries are off.

    Attributes:
        jitter: largest amplitude of the contour's displacement.
        wavelength: shortest and longest correlation length of that displacement.
        offset: largest dilation or erosion.
        grids: side lengths of the coarse grid, drawn at random; 28 is Mask R-CNN's mask head. 0 is no resampling.
    """

    jitter: float = 8.0
    wavelength: tuple[float, float] = (4.0, 40.0)
    offset: float = 4.0
    grids: tuple[int, ...] = (0, 14, 28, 28, 56)


TYPICAL_OBJECT = 150.0  # px, square root of the median box area in 480-line photos
MARGIN = 24  # px around the object, as far as jitter and offset together push a contour


def corrupt(truth: Mask, rng: np.random.Generator, settings: Corruption | None = None) -> Mask:
    """A coarse version of `truth`, random but decided by `rng` alone.

    Args:
        truth: the true mask; an empty one comes back as it is.
        rng: where the randomness comes from.
        settings: how strong the disturbance is.
    """
    settings = settings or Corruption()
    height, width = truth.pixels_HW.shape
    if height == 0:
        return truth
    scale = float(np.clip(np.sqrt(height * width) / TYPICAL_OBJECT, 0.15, 4.0))
    margin = int(np.ceil(MARGIN * scale))
    x1, y1, x2, y2 = truth.box_xyxy
    left, top = min(margin, x1), min(margin, y1)
    right, bottom = min(margin, truth.image_width - x2), min(margin, truth.image_height - y2)
    window = np.pad(truth.pixels_HW, ((top, bottom), (left, right)))

    disturbed = _disturb(window, scale, rng, settings)
    grid = int(rng.choice(settings.grids))
    if grid:
        disturbed = _through_grid(disturbed, grid)
    return crop_mask(disturbed, x1 - left, y1 - top, truth.image_height, truth.image_width)


def _disturb(
    window_HW: NDArray[np.uint8], scale: float, rng: np.random.Generator, settings: Corruption
) -> NDArray[np.uint8]:
    inside = cv2.distanceTransform(np.pad(window_HW, 1, mode="edge"), cv2.DIST_L2, 3)[1:-1, 1:-1]
    outside = cv2.distanceTransform(np.pad(1 - window_HW, 1, mode="edge"), cv2.DIST_L2, 3)[1:-1, 1:-1]
    low, high = (length * scale for length in settings.wavelength)
    wavelength = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    amplitude = rng.uniform(0.0, settings.jitter) * scale
    offset = rng.uniform(-settings.offset, settings.offset) * scale
    field = amplitude * _smooth_noise(window_HW.shape, wavelength, rng) + offset
    return (inside - outside + field > 0).astype(np.uint8)


def _smooth_noise(shape: tuple[int, ...], wavelength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of standard deviation about 0.5 that varies over `wavelength` px: a small grid, enlarged."""
    rows, columns = (max(2, int(np.ceil(side / wavelength)) + 1) for side in shape)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32) * 0.5
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _through_grid(window_HW: NDArray[np.uint8], grid: int) -> NDArray[np.uint8]:
    """What is left of a mask that was predicted on a grid x grid raster over its box (0.5 level, bilinear)."""
    rows, columns = np.flatnonzero(window_HW.any(axis=1)), np.flatnonzero(window_HW.any(axis=0))
    if rows.size == 0:
        return window_HW
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    crop = window_HW[box].astype(np.float32)
    small = cv2.resize(crop, (grid, grid), interpolation=cv2.INTER_AREA)
    result = np.zeros_like(window_HW)
    result[box] = cv2.resize(small, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR) > 0.5
    return result
