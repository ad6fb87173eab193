"""The other detections around an instance, as a network that sees them takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bpr_cli.masks import Mask
from bpr_cli.patches import Window
from bpr_cli.refining.crowding import is_same_object, likelihoods_of, relative

CERTAIN = 255  # level of a neighbour that is as likely an object as the instance itself


class Neighbour(NamedTuple):
    """Another detection near an instance.

    Attributes:
        mask: its mask.
        level: how likely it is an object, beside the instance's own likelihood: 1 to CERTAIN.
    """

    mask: Mask
    level: int


def find_neighbours(
    masks: Sequence[Mask], scores: Sequence[float | None] | None, reach: int
) -> list[tuple[Neighbour, ...]]:
    """The neighbours of each mask of one image.

    Args:
        masks: all masks of the image; empty ones are nobody's neighbour.
        scores: of each mask, 0 or more; None for masks that are certain (annotations).
        reach: how far from a mask's box a neighbour's may lie, beside the box's own size, in pixels.

    Returns:
        For each mask its neighbours, in the masks' order. Another try at the same object is none, nor is one too
        unlikely to show (its score below 1 / 510 of the mask's).
    """
    likelihoods = likelihoods_of(scores, len(masks))
    boxes = np.array([mask.box_xyxy for mask in masks]).reshape(-1, 4)
    has_pixels = np.array([mask.pixels_HW.size > 0 for mask in masks])
    found = []
    for index, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        levels = np.rint(relative(likelihoods, likelihoods[index]) * CERTAIN).astype(int)
        far = reach + box[2:] - box[:2]
        near = ((boxes[:, :2] < box[2:] + far) & (boxes[:, 2:] > box[:2] - far)).all(axis=1)
        near[index] = False
        found.append(
            tuple(
                Neighbour(masks[place], int(levels[place]))
                for place in np.flatnonzero(near & (levels > 0) & has_pixels).tolist()
                if not is_same_object(mask, masks[place])
            )
        )
    return found


def neighbour_levels(neighbours: Sequence[Neighbour], window: Window) -> Window:
    """A window of the same part of the image: the level of the likeliest neighbour of each pixel, 0 where none is."""
    height, width = window.pixels_HW.shape
    levels_HW = np.zeros((height, width), np.uint8)
    for mask, level in neighbours:
        x1, y1, x2, y2 = (side - start for side, start in zip(mask.box_xyxy, (window.x1, window.y1) * 2, strict=True))
        left, top = max(0, x1), max(0, y1)
        place = np.s_[top : max(0, y2), left : max(0, x2)]
        pixels_HW = mask.pixels_HW[top - y1 : max(0, height - y1), left - x1 : max(0, width - x1)]
        if levels_HW[place].size and pixels_HW.size:
            np.maximum(levels_HW[place], pixels_HW * np.uint8(level), out=levels_HW[place])
    return Window(levels_HW, window.x1, window.y1)
