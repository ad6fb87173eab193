"""Photos and masks that people hold in memory, as arrays that can be refined."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpr_cli.errors import InputError

NAMED = 5  # values of a mask named in an error
THRESHOLD = "Threshold them first: masks > 0.5"


def checked_image(image: Any) -> NDArray[np.uint8]:
    """A photo as (H, W, 3) uint8, contiguous; not copied if it is one.

    Args:
        image: an array, a tensor on any device, a Pillow image, or lists.

    Raises:
        InputError: it is not uint8 RGB, or has no pixel.
    """
    image_HWC = as_array(image, "the image")
    if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
        remedy = "Give the photo's pixels 0..255 as RGB"
        if image_HWC.ndim == 3 and image_HWC.shape[0] == 3:
            remedy += ", colours last: image.permute(1, 2, 0)"
        raise InputError(f"the image is {image_HWC.dtype} {image_HWC.shape}, not uint8 (H, W, 3) RGB", remedy=remedy)
    if image_HWC.size == 0:
        raise InputError(f"the image is {image_HWC.shape}: it has no pixel", remedy="Give a photo")
    return np.ascontiguousarray(image_HWC)


def checked_masks(masks: Any, height: int, width: int) -> NDArray[Any]:
    """Masks as (N, H, W), bool or integer, not copied if they are that.

    Args:
        masks: an array, a tensor on any device, or a list of the masks.
        height, width: the photo's size.

    Raises:
        InputError: another shape or type; a mask with several values beside 0, which are several objects or shades.
    """
    if isinstance(masks, (list, tuple)):
        masks = [as_array(mask, f"mask {number}") for number, mask in enumerate(masks)] or np.zeros(
            (0, height, width), bool
        )
    masks_NHW = as_array(masks, "the masks")
    if masks_NHW.ndim != 3 or masks_NHW.shape[1:] != (height, width):
        raise InputError(
            f"the masks are {masks_NHW.shape}, the image is {(height, width)}",
            remedy="Give masks as (N, height, width) of the image's size",
        )
    if masks_NHW.dtype.kind not in "biu":
        raise InputError(f"the masks are {masks_NHW.dtype}", remedy=THRESHOLD)
    if masks_NHW.dtype.kind != "b":
        for number, mask_HW in enumerate(masks_NHW):
            _check_values(number, mask_HW)
    return masks_NHW


def checked_scores(scores: Any, count: int) -> list[float] | None:
    """Scores as floats, one a mask; None where there are none.

    Raises:
        InputError: not `count` finite numbers.
    """
    if scores is None:
        return None
    scores_N = as_array(scores, "the scores")
    if scores_N.shape != (count,):
        score_shape = len(scores_N) if scores_N.ndim == 1 else scores_N.shape
        raise InputError(f"{score_shape} scores for {count} masks", remedy="Give one score a mask")
    if count and (scores_N.dtype.kind not in "biuf" or not np.isfinite(scores_N).all()):
        raise InputError("the scores are not all finite numbers", remedy="Give one score a mask")
    return [float(score) for score in scores_N]


def _check_values(number: int, mask_HW: NDArray[np.integer[Any]]) -> None:
    """All of a mask's foreground must have one value."""
    highest = mask_HW.max()
    value = highest if highest else mask_HW.min()
    if np.count_nonzero(mask_HW) != (np.count_nonzero(mask_HW == value) if value else 0):
        values = np.unique(mask_HW)
        shown = ", ".join(map(str, values[:NAMED].tolist())) + (", ..." if len(values) > NAMED else "")
        raise InputError(
            f"mask {number} has the values {shown}",
            remedy="Give each object a mask of its own (labels == 3), or threshold it (mask > 127)",
        )


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Anything array-like as an array; a tensor of any device is copied to memory.

    Args:
        value: as said.
        name: what messages call it.

    Raises:
        InputError: NumPy cannot read it.
    """
    if hasattr(value, "detach"):  # a tensor; torch itself need not be loaded for arrays
        value = value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # bfloat16, sparse; masks of several sizes
        raise InputError(f"{name} cannot be read as an array ({error})", remedy="Give a NumPy array") from error
