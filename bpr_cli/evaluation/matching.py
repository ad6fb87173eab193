"""Which detection belongs to which ground-truth object of an image: by mask IoU, within a category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.formats.records import Instance
from bpr_cli.masks import RLE


@dataclass(frozen=True, slots=True)
class CodedInstance:
    """An instance with its mask as compressed RLE of the image's size."""

    instance: Instance
    rle: RLE


@dataclass(frozen=True, slots=True)
class Match:
    """A detection and a ground-truth object, as positions in the lists compared, and their mask IoU."""

    detection: int
    truth: int
    iou: float


def same_class_ious(detections: Sequence[CodedInstance], truths: Sequence[CodedInstance]) -> NDArray[np.float64]:
    """Mask IoU of each detection of an image with each of its ground-truth objects.

    Returns:
        DxT float64, 0..1; 0 where the categories differ or the ground truth is a crowd.
    """
    ious_DT = np.zeros((len(detections), len(truths)))
    if ious_DT.size == 0:
        return ious_DT
    kinds_D = np.array([detection.instance.category_id for detection in detections])
    kinds_T = np.array([truth.instance.category_id for truth in truths])
    wanted_T = np.array([not truth.instance.iscrowd for truth in truths])
    for kind in np.unique(kinds_T[wanted_T]):
        rows = np.flatnonzero(kinds_D == kind).tolist()
        columns = np.flatnonzero((kinds_T == kind) & wanted_T).tolist()
        if rows:
            ious_DT[np.ix_(rows, columns)] = coco_mask.iou(
                [detections[row].rle for row in rows],
                [truths[column].rle for column in columns],
                [0] * len(columns),
            )
    return ious_DT


def best_detections(ious_DT: NDArray[np.float64]) -> list[Match]:
    """For each ground-truth object the detection that overlaps it most; the first one at a tie.

    One detection may be the best of several objects. Objects that nothing overlaps are left out.

    Args:
        ious_DT: IoU of each detection with each object, 0 where they may not match.
    """
    return [Match(match.truth, match.detection, match.iou) for match in best_truths(ious_DT.T)]


def best_truths(ious_DT: NDArray[np.float64], above: float = 0.0) -> list[Match]:
    """For each detection the ground-truth object that it overlaps most, where that IoU is > `above`."""
    if ious_DT.size == 0:
        return []
    best_D = ious_DT.argmax(axis=1)
    pairs = zip(best_D.tolist(), ious_DT.max(axis=1).tolist(), strict=True)
    return [Match(row, column, iou) for row, (column, iou) in enumerate(pairs) if iou > above]
