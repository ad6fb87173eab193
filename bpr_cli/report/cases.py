"""The instances that a report shows: which they are, their photos cropped, and their outlines."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.evaluation.figures import NOTICEABLE, Evaluation, ImageId
from bpr_cli.evaluation.upper_bound import cut
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import PhotoReader
from bpr_cli.formats.records import ImageRecord, Instance, Results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import Mask

SHOWN = 12  # cases of each kind; a picture is some 60 KB
LONGEST = 640  # side of a picture in pixels
MOST_ENLARGED = 6
MARGIN = 0.12  # of the object's box, on each side
JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Case:
    """An instance to show.

    Attributes:
        kind: "improved", "harmed", or without a baseline "worst".
        index, truth: positions in the results and in the ground truth.
        iou_before: None without a baseline.
    """

    kind: str
    image_id: ImageId
    index: int
    truth: int
    category_id: int
    iou_before: float | None
    iou_after: float


def choose_cases(evaluation: Evaluation, shown: int = SHOWN) -> list[Case]:
    """The instances that changed most, for better and for worse; without a baseline those that fit worst."""
    if evaluation.scored_baseline is None:
        worst = sorted(evaluation.objects, key=lambda item: item.after.contour_f)[:shown]
        return [
            Case("worst", item.image_id, item.detection, item.truth, item.category_id, None, item.after.iou)
            for item in worst
        ]
    ranked = sorted(evaluation.changes, key=lambda change: change.gain)
    harmed = [("harmed", change) for change in ranked[:shown] if change.gain < -NOTICEABLE]
    improved = [("improved", change) for change in ranked[::-1][:shown] if change.gain > NOTICEABLE]
    return [
        Case(kind, c.image_id, c.index, c.truth, c.category_id, c.iou_before, c.iou_after)
        for kind, c in improved + harmed
    ]


class Pictures:
    """Makes the pictures of cases: only their photos are read, one at a time.

    Args:
        finder, reader: where the photos are, and how they are read.
        truth, results, baseline: what was evaluated; None without a baseline.
    """

    def __init__(
        self, finder: ImageFinder, reader: PhotoReader, truth: Results, results: Results, baseline: Results | None
    ) -> None:
        self._finder, self._reader = finder, reader
        self._records: Mapping[ImageId, ImageRecord] = {entry.image.id: entry.image for entry in truth.images}
        self._truth, self._results = _by_index(truth), _by_index(results)
        self._baseline = _by_index(baseline) if baseline else None

    def picture(self, case: Case) -> dict[str, Any]:
        """JSON-ready: `photo` (a data URI), `width`, `height` in pixels, and SVG paths `before`, `after`, `truth`.

        Raises:
            InputError: the photo is missing or broken.
        """
        record = self._records[case.image_id]
        shown = [self._truth[case.truth], self._results[case.index]]
        image_HWC = self._reader.read(self._finder.find(record), record, shown)
        height, width = image_HWC.shape[:2]
        masks: dict[str, Mask | None] = {
            "before": decode_mask(self._baseline[case.index], height, width) if self._baseline else None,
            "after": decode_mask(self._results[case.index], height, width),
            "truth": decode_mask(self._truth[case.truth], height, width),
        }
        return draw(image_HWC, masks)


def _by_index(results: Results) -> dict[int, Instance]:
    return {instance.index: instance for entry in results.images for instance in entry.instances}


def draw(image_HWC: NDArray[np.uint8], masks: Mapping[str, Mask | None]) -> dict[str, Any]:
    """The part of a photo that holds the masks, and their outlines on it.

    Args:
        image_HWC: uint8 RGB.
        masks: by name; None for one that there is not.

    Returns:
        JSON-ready: `photo` (a data URI), `width`, `height` in pixels, and an SVG path or None by each mask's name.
    """
    height, width = image_HWC.shape[:2]
    window = _window([mask for mask in masks.values() if mask], height, width)
    x1, y1, x2, y2 = window
    scale = min(LONGEST / max(x2 - x1, y2 - y1), MOST_ENLARGED)
    shape = max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1)
    shrinks = scale < 1
    photo_HWC = cv2.resize(image_HWC[y1:y2, x1:x2], shape, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return {
        "photo": _data_uri(np.asarray(photo_HWC, np.uint8)),
        "width": shape[0],
        "height": shape[1],
        **{name: outline(cut(mask, window), shape) if mask else None for name, mask in masks.items()},
    }


def _window(masks: Iterable[Mask], height: int, width: int) -> tuple[int, int, int, int]:
    """The box around all masks with a margin, x1 y1 x2 y2 inside the image; the whole image if all are empty."""
    boxes = np.array([mask.box_xyxy for mask in masks if mask.area])
    if not boxes.size:
        return 0, 0, width, height
    x1, y1 = boxes[:, :2].min(axis=0).tolist()
    x2, y2 = boxes[:, 2:].max(axis=0).tolist()
    reach = max(4, round(MARGIN * max(x2 - x1, y2 - y1)))
    return max(x1 - reach, 0), max(y1 - reach, 0), min(x2 + reach, width), min(y2 + reach, height)


def outline(mask_HW: NDArray[np.uint8], shape: tuple[int, int]) -> str:
    """The mask's outline, holes too, as an SVG path for the fill rule evenodd.

    Args:
        mask_HW: uint8, 0 or 1.
        shape: width and height of the picture that it is drawn on, in pixels.
    """
    # On the enlarged mask the outline runs along pixel edges, not through pixel centres half a pixel inside.
    enlarged_HW = cv2.resize(mask_HW, shape, interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(enlarged_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return "".join(_path(np.reshape(cv2.approxPolyDP(line, 0.6, closed=True), (-1, 2)).tolist()) for line in lines)


def _path(points: Sequence[Sequence[float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z"


def _data_uri(photo_HWC: NDArray[np.uint8]) -> str:
    bgr_HWC = cv2.cvtColor(photo_HWC, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
