"""Detections in the types that other libraries hold them in: their masks and scores out, refined masks in.

Nothing of these libraries is imported: their objects are recognised by their attributes. Each adapter gives an
`Opened`. What goes back is a new object of the same type; what is not about the mask is as it was.

A box follows its mask where the mask changed, as `bbox` does in files: x1 y1 x2 y2 in pixels, one past the last pixel.
Boxes that all end on the mask's last pixel instead (`supervision.mask_to_xyxy`) go on doing so. An empty mask keeps its
box.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.masks import crop_mask
from bpr_cli.refining.arrays import as_array, checked_masks


@dataclass(frozen=True, slots=True)
class Opened:
    """What a container holds.

    Attributes:
        masks_NHW: bool or integer, of the photo's size.
        scores: one a mask, as the container has them; None: it has none.
        close: a new container of the same type, with the refined masks given.
    """

    masks_NHW: NDArray[Any]
    scores: Any
    close: Callable[[NDArray[Any]], Any]


def open_container(value: Any, image_HWC: NDArray[np.uint8]) -> Opened | None:
    """The masks of a container of one photo's detections; None where it is none (arrays, tensors, lists of masks).

    Args:
        value: `supervision.Detections`, torchvision's dict of detections, ultralytics' `Results`, detectron2's
            `Instances`.
        image_HWC: uint8 RGB.

    Raises:
        InputError: it has no masks, or they do not fit the photo.
    """
    adapter = _adapter_of(value)
    if adapter is not None:
        return adapter(value, image_HWC)
    if isinstance(value, (list, tuple)) and value and _adapter_of(value[0]) is not None:
        raise InputError(f"these are the detections of {len(value)} photos in a list", remedy="Give results[0]")
    return None


def _adapter_of(value: Any) -> Callable[[Any, NDArray[np.uint8]], Opened] | None:
    if isinstance(value, Mapping):
        return _open_torchvision
    if hasattr(value, "xyxy") and hasattr(value, "mask"):
        return _open_supervision
    if hasattr(value, "orig_shape") and hasattr(value, "boxes"):
        return _open_ultralytics
    if hasattr(value, "image_size") and hasattr(value, "get_fields"):
        return _open_detectron2
    return None


def _open_supervision(detections: Any, image_HWC: NDArray[np.uint8]) -> Opened:
    """`supervision.Detections`, whose mask is a bool array or a `CompactMask`."""
    if detections.mask is None:
        return _without_masks(detections, len(detections), "Detections", image_HWC, "Use a model that gives masks")
    coarse_NHW = _checked(detections.mask, image_HWC)

    def close(refined_NHW: NDArray[Any]) -> Any:
        mask = _like(refined_NHW, detections.mask)
        if hasattr(detections.mask, "from_dense"):  # it takes boxes that end on the last pixel
            tight = _tight_boxes(refined_NHW) - (0, 0, 1, 1)
            mask = type(detections.mask).from_dense(refined_NHW != 0, tight, refined_NHW.shape[1:])
        xyxy = _followed(detections.xyxy, coarse_NHW, refined_NHW)
        return dataclasses.replace(detections, mask=mask, xyxy=xyxy, data=dict(detections.data))

    return Opened(coarse_NHW, detections.confidence, close)


def _open_torchvision(detections: Any, image_HWC: NDArray[np.uint8]) -> Opened:
    """torchvision's dict of one photo: "boxes" (N, 4), "labels", "scores", "masks" (N, 1, H, W) of probabilities."""
    if "masks" not in detections:
        remedy = "Give torchvision's dict for one photo, or what other models give as supervision.Detections"
        if "instances" in detections:
            remedy = 'Give what is under "instances"'
        raise InputError(f"the dict has {', '.join(map(str, detections)) or 'nothing'}, no masks", remedy=remedy)
    masks = detections["masks"]
    coarse_NHW = _checked(masks, image_HWC)

    def close(refined_NHW: NDArray[Any]) -> Any:
        refined = copy.copy(detections)
        refined["masks"] = _like(refined_NHW, masks)
        if "boxes" in detections:
            refined["boxes"] = _followed(detections["boxes"], coarse_NHW, refined_NHW)
        return refined

    return Opened(coarse_NHW, detections.get("scores"), close)


def _open_ultralytics(results: Any, image_HWC: NDArray[np.uint8]) -> Opened:
    """ultralytics' `Results`; masks of the network's input, bars beside the photo, become masks of the photo."""
    height, width = image_HWC.shape[:2]
    if tuple(results.orig_shape) != (height, width):
        raise InputError(
            f"the Results are of a photo of {tuple(results.orig_shape)}, the image is {(height, width)}",
            remedy="Give the photo that they were found on",
        )
    if np.array_equal(results.orig_img, image_HWC) and (image_HWC != image_HWC[..., :1]).any():  # grey has no order
        raise InputError("the image is the Results' orig_img, which is BGR", remedy="Give results.orig_img[..., ::-1]")
    if results.masks is None:
        count = 0 if results.boxes is None else len(results.boxes)
        return _without_masks(results, count, "Results", image_HWC, "Use a model for segmentation (-seg)")
    coarse_NHW = _without_bars(_binary(as_array(results.masks.data, "the masks")), height, width)

    def close(refined_NHW: NDArray[Any]) -> Any:
        refined = copy.copy(results)
        refined.masks = type(results.masks)(_like(refined_NHW, results.masks.data, refined_NHW.shape), (height, width))
        if results.boxes is not None:
            boxes = _followed(results.boxes.data, coarse_NHW, refined_NHW)
            refined.boxes = type(results.boxes)(boxes, (height, width))
        return refined

    return Opened(coarse_NHW, None if results.boxes is None else results.boxes.conf, close)


def _open_detectron2(instances: Any, image_HWC: NDArray[np.uint8]) -> Opened:
    """detectron2's `Instances`: `pred_masks` (N, H, W) bool, `pred_boxes`, `scores`."""
    fields = dict(instances.get_fields())
    if "pred_masks" not in fields:
        count = len(next(iter(fields.values()), ()))
        return _without_masks(instances, count, "Instances", image_HWC, "Use a model that gives masks")
    coarse_NHW = _checked(fields["pred_masks"], image_HWC)

    def close(refined_NHW: NDArray[Any]) -> Any:
        changed = {**fields, "pred_masks": _like(refined_NHW, fields["pred_masks"])}
        boxes = fields.get("pred_boxes")
        if boxes is not None:
            changed["pred_boxes"] = type(boxes)(_followed(boxes.tensor, coarse_NHW, refined_NHW))
        refined = type(instances)(instances.image_size)
        for name, value in changed.items():
            refined.set(name, value)
        return refined

    return Opened(coarse_NHW, fields.get("scores"), close)


def _without_masks(container: Any, count: int, name: str, image_HWC: NDArray[np.uint8], remedy: str) -> Opened:
    """A container without masks is refused, unless nothing was detected."""
    if count:
        raise InputError(f"the {name} have {count} boxes and no masks", remedy=remedy)
    return Opened(np.zeros((0, *image_HWC.shape[:2]), np.bool_), None, lambda refined_NHW: copy.copy(container))


def _checked(masks: Any, image_HWC: NDArray[np.uint8]) -> NDArray[Any]:
    """Masks (N, H, W) or (N, 1, H, W), probabilities cut at one half."""
    masks_NHW = as_array(masks, "the masks")
    if masks_NHW.ndim == 4 and masks_NHW.shape[1] == 1:
        masks_NHW = masks_NHW[:, 0]
    return checked_masks(_binary(masks_NHW), *image_HWC.shape[:2])


def _binary(masks_NHW: NDArray[Any]) -> NDArray[Any]:
    """Probabilities cut at one half; other masks as they are."""
    if masks_NHW.dtype.kind != "f":
        return masks_NHW
    if masks_NHW.size and not (masks_NHW.min() >= 0 and masks_NHW.max() <= 1):
        raise InputError(
            f"the masks reach from {masks_NHW.min():g} to {masks_NHW.max():g}, so they are no probabilities",
            remedy="Give probabilities 0..1 (logits: masks.sigmoid()), or bool",
        )
    return np.asarray(masks_NHW > 0.5)


def _without_bars(masks_NHW: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """Masks of a network's input, in which the photo lies in the middle, at the photo's own size.

    The photo was scaled by one factor until it fitted, its sides rounded; an odd pixel of the bars is at the right or
    below (ultralytics' LetterBox).
    """
    inner_height, inner_width = masks_NHW.shape[1:]
    if (inner_height, inner_width) == (height, width):
        return masks_NHW != 0
    scale = min(inner_height / height, inner_width / width)
    content_height, content_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (inner_height - content_height) // 2, (inner_width - content_width) // 2
    content_NHW = masks_NHW[:, top : top + content_height, left : left + content_width]
    frames_NHW = np.zeros((len(masks_NHW), height, width), np.bool_)
    for frame_HW, mask_HW in zip(frames_NHW, content_NHW, strict=True):
        smooth_HW = cv2.resize((mask_HW != 0).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        np.greater(smooth_HW, 0.5, out=frame_HW)
    return frames_NHW


def _like(array: NDArray[Any], original: Any, shape: tuple[int, ...] | None = None) -> Any:
    """An array in the type, element type and shape (or `shape`) of another; a tensor on its device."""
    array = array.reshape(original.shape if shape is None else shape)
    return original.new_tensor(array) if hasattr(original, "new_tensor") else array.astype(original.dtype)


def _followed(boxes: Any, coarse_NHW: NDArray[Any], refined_NHW: NDArray[Any]) -> Any:
    """New boxes (N, 4 or more columns), as the module says; of `boxes`' type."""
    moved = as_array(boxes, "the boxes").copy()
    before, after = _tight_boxes(coarse_NHW), _tight_boxes(refined_NHW)
    found_N = before.any(axis=1)
    if found_N.any() and np.array_equal(moved[found_N, :4], before[found_N] - (0, 0, 1, 1)):
        after = after - (0, 0, 1, 1)
    pairs = zip(coarse_NHW, refined_NHW, strict=True)
    changed_N = np.array([b.any() and ((a != 0) != (b != 0)).any() for a, b in pairs], np.bool_)
    moved[changed_N, :4] = after[changed_N]
    return _like(moved, boxes)


def _tight_boxes(masks_NHW: NDArray[Any]) -> NDArray[np.int64]:
    """(N, 4) x1 y1 x2 y2, end exclusive; zeros for an empty mask."""
    boxes = [crop_mask(mask_HW, 0, 0, *mask_HW.shape).box_xyxy for mask_HW in masks_NHW]
    return np.array(boxes, np.int64).reshape(-1, 4)
