"""Training samples: views of whole objects, and of places on their boundaries, each with a coarse mask, its neighbours
and the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import corruption
import cv2
import numpy as np
from numpy.typing import NDArray
from photos import Match, Object, Photo
from views import (
    VIEW,
    View,
    Window,
    around,
    common,
    cut,
    in_photo,
    neighbour_levels,
    object_box,
    rounded,
    stored,
    truth_of,
    view_of,
)

from bpr_cli.masks import Mask, common_pixels, crop_mask, intersection_over_union

PATCH = 96  # px of the photo that a patch's view shows, about
PATCH_SHARE = 0.35  # of the samples
DETECTED_SHARE = 0.67  # of the samples whose coarse mask is a detector's, where there are any
SMALLEST_PATCHED = 60**2  # px of area; smaller objects are seen as a whole only
CORRUPTED_SIDE = 256  # px; larger masks are corrupted at this size
LEAST_IOU = 0.35  # of a corrupted mask


class Sample(NamedTuple):
    """A view with its truth (uint8, 0 or 1) and each pixel's weight in the loss."""

    view: View
    truth_HW: NDArray[np.uint8]
    weights_HW: NDArray[np.float16]
    is_patch: bool = False


class SampleSource:
    """Draws samples without end, each set as often as its share says; the same for the same seed.

    Args:
        photos: of each data set, by its name.
        shares: of each data set.
        seed: anything numpy takes.
        patch_share: of the samples that show a place on a boundary instead of a whole object.
    """

    def __init__(
        self,
        photos: Mapping[str, list[Photo]],
        shares: Mapping[str, float],
        seed: int | Sequence[int],
        patch_share: float = PATCH_SHARE,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.patch_share = patch_share
        self.truths = [[(photo, i) for photo in found for i in range(len(photo.truths))] for found in photos.values()]
        self.matches = [[(photo, match) for photo in found for match in photo.matches] for found in photos.values()]
        likelihoods = np.array([shares[name] for name in photos])
        self.likelihoods = likelihoods / likelihoods.sum()

    def draw(self) -> Sample:
        """The next sample."""
        while True:
            if (sample := self._try()) is not None:
                return sample

    def draw_patches(self, count: int) -> list[Sample]:
        """The next samples that show a place on a boundary."""
        found: list[Sample] = []
        while len(found) < count:
            sample = self.draw()
            if sample.is_patch:
                found.append(sample)
        return found

    def _try(self) -> Sample | None:
        """A sample, or None where what was drawn is of no use."""
        rng = self.rng
        number = rng.choice(len(self.likelihoods), p=self.likelihoods)
        match = None
        if self.matches[number] and rng.random() < DETECTED_SHARE:
            photo, match = self.matches[number][rng.integers(len(self.matches[number]))]
            index = match.truth
        else:
            photo, index = self.truths[number][rng.integers(len(self.truths[number]))]
        truth = photo.truths[index].mask
        is_patch = bool(rng.random() < self.patch_share and truth.area > SMALLEST_PATCHED)
        coarse, levels = self._detected(photo, match) if match else self._corrupted(photo, index, is_patch)
        if coarse is None:
            return None
        if is_patch:
            if match and rng.random() < 0.6:
                coarse = self._refined(truth)
            window = self._patch_window(coarse)
        else:
            window = self._object_window(coarse)
        x1, y1, x2, y2 = window
        neighbours_HW = np.zeros((y2 - y1, x2 - x1), np.float32) if rng.random() < 0.15 else levels(window)
        return self._sample(photo, truth, view_of(photo.image_HWC, coarse, neighbours_HW, window), window, is_patch)

    def _detected(self, photo: Photo, match: Match) -> tuple[Mask, Callable[[Window], NDArray[np.float32]]]:
        """A detector's mask; and what gives the neighbours of a window, their scores varied, some missing."""
        form = photo.forms[match.form]

        def levels(window: Window) -> NDArray[np.float32]:
            factor = self.rng.uniform(0.8, 1.2)
            return neighbour_levels(form, match.detection, window, factor, lambda: self.rng.random() < 0.15)

        return form[match.detection].mask, levels

    def _corrupted(
        self, photo: Photo, index: int, is_patch: bool
    ) -> tuple[Mask | None, Callable[[Window], NDArray[np.float32]]]:
        """A mask made from the truth, None where it fails; and what gives the neighbours of a window."""
        rng, truth = self.rng, photo.truths[index].mask
        side = max(truth.pixels_HW.shape)
        window = around(truth, 0.35 * side + 6)
        truth_HW = cut(truth, window)
        others_HW = _others(photo.truths, truth, window) & (1 - truth_HW)
        scale = min(1.0, CORRUPTED_SIDE / max(truth_HW.shape))
        small_truth_HW, small_others_HW = _shrunk(truth_HW, scale), _shrunk(others_HW, scale)

        def levels(view_window: Window) -> NDArray[np.float32]:
            factor = np.float32(self.rng.uniform(0.4, 1))
            return cut(others, view_window).astype(np.float32) * factor

        others = in_photo(others_HW, window, truth)
        if not small_truth_HW.any():
            return None, levels
        kind = rng.random()
        if kind >= 0.06 and is_patch and kind < 0.75:
            coarse_HW = corruption.refined_like(rng, truth_HW, side)
        else:
            coarse_HW = small_truth_HW
            if kind >= 0.06:
                coarse_HW = corruption.detector_like(rng, small_truth_HW, small_others_HW, side * scale)
            if scale < 1:
                size = truth_HW.shape[1], truth_HW.shape[0]
                enlarged = cv2.resize(coarse_HW.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
                coarse_HW = (enlarged > 0.5).astype(np.uint8)
        coarse = in_photo(coarse_HW, window, truth)
        coarse = crop_mask(coarse.pixels_HW, coarse.x1, coarse.y1, truth.image_height, truth.image_width)
        if intersection_over_union(coarse, truth) < LEAST_IOU:
            return None, levels
        if rng.random() >= 0.3:
            others = in_photo(corruption.on_grid(others_HW, 28, side), window, truth)
        return coarse, levels

    def _refined(self, truth: Mask) -> Mask:
        """A mask as the look at the whole object leaves it, for the patches after it."""
        window = around(truth, 16)
        refined_HW = corruption.refined_like(self.rng, cut(truth, window), max(truth.pixels_HW.shape))
        return in_photo(refined_HW, window, truth)

    def _patch_window(self, coarse: Mask) -> Window:
        """A square around some place on the mask's boundary."""
        rng = self.rng
        edge_HW = cv2.morphologyEx(np.pad(coarse.pixels_HW, 1), cv2.MORPH_GRADIENT, corruption.SQUARE)
        edge_yx = np.argwhere(edge_HW)
        y, x = edge_yx[rng.integers(len(edge_yx))]
        half = PATCH * rng.uniform(0.8, 1.25) / 2
        x, y = coarse.x1 + x - 1 + rng.normal(0, 5), coarse.y1 + y - 1 + rng.normal(0, 5)
        return rounded((x - half, y - half, x + half, y + half))

    def _object_window(self, coarse: Mask) -> Window:
        """The window of the object scheme, shifted a little; now and then much too wide."""
        box = object_box(coarse)
        shift = self.rng.uniform(-0.08, 0.08, 4)
        if self.rng.random() < 0.1:
            shift = self.rng.uniform(-0.05, 0.4, 4) * np.array([-1, -1, 1, 1])
        width, height = box[2] - box[0], box[3] - box[1]
        return rounded(
            [edge + part * length for edge, part, length in zip(box, shift, (width, height) * 2, strict=True)]
        )

    def _sample(self, photo: Photo, truth: Mask, view: View, window: Window, is_patch: bool) -> Sample | None:
        """The sample of a view, varied: blurred, mirrored, recoloured."""
        rng = self.rng
        image_HWC, coarse_HW, neighbours_HW = view
        if not is_patch and rng.random() < 0.25:  # small objects are blurred
            side = int(rng.integers(24, 90))
            small = cv2.resize(image_HWC, (side, side), interpolation=cv2.INTER_AREA)
            image_HWC = np.asarray(cv2.resize(small, (VIEW, VIEW), interpolation=cv2.INTER_LINEAR), np.uint8)
        truth_HW = truth_of(truth, window)
        if is_patch and not (0.01 < truth_HW.mean() < 0.99) and rng.random() < 0.7:
            return None
        if rng.random() < 0.5:
            image_HWC, coarse_HW = image_HWC[:, ::-1], coarse_HW[:, ::-1]
            neighbours_HW, truth_HW = neighbours_HW[:, ::-1], np.ascontiguousarray(truth_HW[:, ::-1])
        if rng.random() < 0.8:
            image_HWC = corruption.recolour(rng, image_HWC)
        scale = VIEW / (window[2] - window[0])
        weights_HW = _weights(truth_HW, coarse_HW, scale, photo.has_polygons)
        return Sample(
            stored(View(np.ascontiguousarray(image_HWC), coarse_HW, neighbours_HW)), truth_HW, weights_HW, is_patch
        )


def _shrunk(mask_HW: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return mask_HW
    small_HW = cv2.resize(mask_HW.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return (small_HW > 0.5).astype(np.uint8)


def _others(truths: Sequence[Object], truth: Mask, window: Window) -> NDArray[np.uint8]:
    """The other objects of a photo in a window, without parts and wholes of the object itself: uint8 HW, 0 or 1."""
    others_HW = np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8)
    for mask, _, _ in truths:
        left, top, right, bottom = common(mask.box_xyxy, window)
        is_near = mask is not truth and left < right and top < bottom
        if is_near and common_pixels(mask, truth) < 0.5 * min(mask.area, truth.area):
            others_HW |= cut(mask, window)
    return others_HW


def _weights(
    truth_HW: NDArray[np.uint8], coarse_HW: NDArray[np.floating[Any]], scale: float, has_polygons: bool
) -> NDArray[np.float16]:
    """More along the true boundary and where the coarse mask is wrong; next to none on a polygon's boundary.

    Args:
        scale: pixels of the view for one of the photo.
    """
    distance_HW = sum(cv2.distanceTransform(part, cv2.DIST_L2, 3) for part in (truth_HW, 1 - truth_HW))
    weights_HW = np.ones((VIEW, VIEW), np.float32)
    weights_HW += 2.0 * (distance_HW < max(4, 2 * scale)) + 1.5 * ((coarse_HW > 0) != (truth_HW > 0))
    if has_polygons:
        weights_HW[distance_HW < 2 * max(scale, 0.7)] *= 0.15
    return weights_HW.astype(np.float16)
