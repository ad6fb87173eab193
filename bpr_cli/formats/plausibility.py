"""The masks of an image, without those that can hardly be what their record means though nothing in it is broken."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import cv2

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import is_finite
from bpr_cli.formats.records import Instance, Skipped
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import Mask

# Share of a mask that lies in its box at least; masks of box-prompted models, which leak, have more. A box in
# fractions, or one of another detection, has none of it.
LEAST_IN_BOX = 0.2
SLACK = 1.0  # px; boxes are written with and without their last pixel


def decode_masks(
    instances: Sequence[Instance], height: int, width: int, skip_bad: bool
) -> tuple[dict[int, Mask], Skipped]:
    """The masks of one image's instances by their place in `instances`, without those that are left as they were.

    Args:
        instances: as read.
        height, width: the image's size.
        skip_bad: leave out what is broken: instances, or bad polygons of those that have good ones too.

    Raises:
        InputError: a broken segmentation, unless they are left out. (One that is in doubt always is.)
    """
    masks: dict[int, Mask] = {}
    skipped = []
    for place, instance in enumerate(instances):
        bad: list[str] = []
        try:
            mask = decode_mask(instance, height, width, bad if skip_bad else None)
        except InputError as error:
            if not skip_bad:
                raise
            skipped.append(Skipped(instances=1, lines=(str(error),)))
            continue
        implausible = implausibility(instance, mask)
        if implausible is None:
            masks[place] = mask
            skipped.append(Skipped(polygons=len(bad), lines=tuple(bad)))
        else:
            skipped.append(Skipped(instances=1, lines=(str(implausible),)))
    return masks, Skipped.joined(skipped)


def implausibility(instance: Instance, mask: Mask) -> InputError | None:
    """What speaks against a mask being its record's, as an error that says where; None for nothing.

    Args:
        instance: its record's `bbox` counts where it has an area (some tools write zeros).
        mask: as decoded of it.
    """
    problem, remedy = _problem(instance, mask)
    if not problem:
        return None
    return InputError(problem, file=instance.source, image_id=instance.image_id, index=instance.index, remedy=remedy)


def _problem(instance: Instance, mask: Mask) -> tuple[str, str]:
    area = mask.area
    if area == 0:
        is_list = isinstance(instance.segmentation, list)
        return ("its polygons cover no pixel", "Check their coordinates") if is_list else ("", "")
    box = _stated_box(instance)
    if box is None or _area_in(box, mask) >= LEAST_IN_BOX * area:
        return "", ""
    x1, y1, x2, y2 = mask.box_xyxy
    shown = reprlib.repr(box)
    if max(box) <= 1 and min(box) >= 0:
        return f"its bbox {shown} is in fractions of the photo", "Write pixels: x, y, width, height"
    return (
        f"its bbox {shown} has hardly a pixel of its mask, which lies in [{x1}, {y1}, {x2 - x1}, {y2 - y1}]",
        "Check that both are of the same object, and that bbox is x, y, width, height",
    )


def _stated_box(instance: Instance) -> list[float] | None:
    """Its x, y, width, height; None without, or without an area."""
    box = instance.fields.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)) or box[2] <= 0 or box[3] <= 0:
        return None
    return [float(value) for value in box]


def _area_in(box: list[float], mask: Mask) -> int:
    """Number of a mask's pixels in a box x, y, width, height."""
    x, y, width, height = box
    left, top, right, bottom = x - SLACK, y - SLACK, x + width + SLACK, y + height + SLACK
    x1, y1, x2, y2 = mask.box_xyxy
    if left <= x1 and top <= y1 and right >= x2 and bottom >= y2:
        return mask.area
    columns = slice(*(round(min(max(side, x1), x2)) - x1 for side in (left, right)))
    rows = slice(*(round(min(max(side, y1), y2)) - y1 for side in (top, bottom)))
    inside = mask.pixels_HW[rows, columns]
    return cv2.countNonZero(inside) if inside.size else 0
