"""The training patches of one image: match each coarse mask to its true object, crop along its boundary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli import patches
from bpr_cli.extraction.corruption import corrupt
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.extraction.plan import ImageTask
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.plausibility import decode_masks
from bpr_cli.formats.records import Instance
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.masks import Mask, crop_mask, intersection_over_union, to_frame
from bpr_cli.shards import Patch


@dataclass(frozen=True, slots=True)
class View:
    """A photo at one scale with its masks.

    Attributes:
        image_HWC: uint8 RGB.
        truths, detections: by their places in the task; those that cannot be used are missing.
        scale: size against the photo as it is, above 0, up to 1.
    """

    image_HWC: NDArray[np.uint8]
    truths: dict[int, Mask]
    detections: dict[int, Mask]
    scale: float


@dataclass(frozen=True, slots=True)
class CoarseMask:
    """A coarse mask with its true object and where it came from."""

    coarse: Mask
    truth: Mask
    iou: float
    record: dict[str, Any]


def image_patches(
    task: ImageTask,
    settings: ExtractionSettings,
    counts: Counter[str],
    skipped: list[str],
    max_pixels: int = MAX_PIXELS,
    *,
    skip_bad: bool = False,
) -> Iterator[Patch]:
    """All patches of one image.

    Args:
        task: the image with its masks.
        settings: see `ExtractionSettings`.
        counts: gains what was used and what was left out.
        skipped: gains a line for each mask that was left out.
        max_pixels: larger photos are refused.
        skip_bad: leave out broken masks.

    Raises:
        InputError: the image is broken, or one of its masks and they are not to be left out.
    """
    image_HWC = PhotoReader(settings.orientation, max_pixels).read(
        task.path, task.image, [*task.truths, *task.detections]
    )
    height, width = image_HWC.shape[:2]
    truths, bad_truths = decode_masks(task.truths, height, width, skip_bad)
    detections, bad_detections = decode_masks(task.detections, height, width, skip_bad)
    for bad in (bad_truths, bad_detections):
        skipped.extend(bad.lines)
        if bad.instances:
            counts["instances_left_out"] += bad.instances
    number = 0
    for scale in settings.scales:
        view = _reduced(View(image_HWC, truths, detections, scale))
        for pair in [*_matched(task, view, settings, counts), *_corrupted(task, view, settings, counts)]:
            for box, image_patch, coarse_patch, target_patch in _crops(view.image_HWC, pair, settings):
                record = {**pair.record, "box": box, "iou": round(pair.iou, 6), "scale": scale}
                yield Patch(f"{number:06d}", image_patch, coarse_patch, target_patch, record)
                number += 1
    counts["images"] += 1
    counts["patches"] += number


def _reduced(view: View) -> View:
    """The photo and its masks at the view's scale, each pixel the mean (of masks: the majority) of what it covers."""
    if view.scale == 1.0:
        return view
    height, width = (max(round(side * view.scale), 1) for side in view.image_HWC.shape[:2])
    photo_HWC = cv2.resize(view.image_HWC, (width, height), interpolation=cv2.INTER_AREA)

    def reduce(mask: Mask) -> Mask:
        frame_HW = to_frame(mask) * np.uint8(255)
        return crop_mask(cv2.resize(frame_HW, (width, height), interpolation=cv2.INTER_AREA) > 127, 0, 0, height, width)

    truths, detections = (
        {place: reduce(mask) for place, mask in masks.items()} for masks in (view.truths, view.detections)
    )
    return View(np.asarray(photo_HWC, np.uint8), truths, detections, view.scale)


def _matched(task: ImageTask, view: View, settings: ExtractionSettings, counts: Counter[str]) -> Iterator[CoarseMask]:
    """Detections with the true object of their class that they overlap most, if that is enough."""
    for place, coarse in view.detections.items():
        detection = task.detections[place]
        best, best_iou = None, settings.min_iou
        for true_place, truth in view.truths.items():
            instance = task.truths[true_place]
            if instance.iscrowd or instance.category_id != detection.category_id:
                continue
            iou = intersection_over_union(coarse, truth)
            if iou > best_iou:
                best, best_iou = truth, iou
        if best is None:
            counts["detections_without_truth"] += 1
            continue
        counts["detections"] += 1
        yield CoarseMask(coarse, best, best_iou, _record(task, detection, detection.source.name))


def _corrupted(task: ImageTask, view: View, settings: ExtractionSettings, counts: Counter[str]) -> Iterator[CoarseMask]:
    """Synthetic coarse masks of the true objects."""
    for position, copy in task.corruptions:
        if position not in view.truths:
            continue
        truth = view.truths[position]
        # Each scale has disturbances of its own; at scale 1 they do not depend on which others there are.
        extra = [] if view.scale == 1.0 else [round(view.scale * 1000)]
        coarse = corrupt(truth, np.random.default_rng([task.seed, position, copy, *extra]))
        iou = intersection_over_union(coarse, truth)
        if iou <= settings.min_iou:
            counts["corruptions_too_strong"] += 1
            continue
        counts["corruptions"] += 1
        yield CoarseMask(coarse, truth, iou, _record(task, task.truths[position], f"corruption {copy}"))


def _record(task: ImageTask, instance: Instance, source: str) -> dict[str, Any]:
    return {"image_id": task.image.id, "instance": instance.index, "source": source}


def _crops(
    image_HWC: NDArray[np.uint8], pair: CoarseMask, settings: ExtractionSettings
) -> Iterator[tuple[list[int], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Box, image patch, coarse patch and target patch of each place along the coarse boundary."""
    boxes = patches.propose_boxes(pair.coarse, settings.patch_size, settings.nms_threshold, settings.scheme)
    if len(boxes) == 0:
        return
    image_patches = patches.crop(image_HWC, boxes, settings.padding)
    coarse_patches, target_patches = (
        patches.window_around(mask, boxes, settings.padding).cut(boxes, settings.padding)
        for mask in (pair.coarse, pair.truth)
    )
    if settings.scheme == "instance":
        side = settings.patch_size
        image_patches = patches.resize_patches(image_patches, side, side, cv2.INTER_LINEAR)
        coarse_patches = patches.resize_patches(coarse_patches, side, side, cv2.INTER_NEAREST)
        target_patches = patches.resize_patches(target_patches, side, side, cv2.INTER_NEAREST)
    yield from zip(boxes.tolist(), image_patches, coarse_patches, target_patches, strict=True)
