"""Which detection belongs to which ground-truth object of an image: by mask IoU, within a category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from bpr_cli.formats.records import Instance
from bpr_cli.formats.rle import RLE

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's; linspace, as its rounding decides matches on the edge


@dataclass(frozen=True, slots=True)
class CodedInstance:
    """An instance with its mask.

    Attributes:
        rle: compressed, of the image's size.
        area: by which COCO sorts it into small, medium and large, in pixels: an object's `area` in the ground truth
            if it has one, else its mask's.
        is_ignored: an object that nobody has to find, and that makes no detection wrong (`rules.coded_objects`).
    """

    instance: Instance
    rle: RLE
    area: float
    is_ignored: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A detection and a ground-truth object, as positions in the lists compared, and their mask IoU."""

    detection: int
    truth: int
    iou: float


def same_class_ious(detections: Sequence[CodedInstance], truths: Sequence[CodedInstance]) -> NDArray[np.float64]:
    """Mask IoU of each detection of an image with each of its ground-truth objects.

    Returns:
        DxT float64, 0..1; 0 where the categories differ. With a crowd: the share of the detection inside it,
        as COCO counts it.
    """
    ious_DT = np.zeros((len(detections), len(truths)))
    if ious_DT.size == 0:
        return ious_DT
    kinds_D = np.array([detection.instance.category_id for detection in detections])
    kinds_T = np.array([truth.instance.category_id for truth in truths])
    for kind in np.unique(kinds_T):
        rows = np.flatnonzero(kinds_D == kind).tolist()
        columns = np.flatnonzero(kinds_T == kind).tolist()
        if rows:
            ious_DT[np.ix_(rows, columns)] = coco_mask.iou(
                [detections[row].rle for row in rows],
                [truths[column].rle for column in columns],
                [int(truths[column].instance.iscrowd) for column in columns],
            )
    return ious_DT


def without_ignored(ious_DT: NDArray[np.float64], truths: Sequence[CodedInstance]) -> NDArray[np.float64]:
    """The same with 0 for every ignored object."""
    return np.where(np.array([truth.is_ignored for truth in truths], bool), 0.0, ious_DT)


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


def true_positives(
    ious_DT: NDArray[np.float64],
    detections: Sequence[CodedInstance],
    truths: Sequence[CodedInstance],
    limit: int,
) -> list[list[Match]]:
    """The true positives of one image at each of `THRESHOLDS`, matched by COCO's rules for AP.

    In each class the detections take turns by falling score; each takes the free object that it overlaps most,
    if that IoU reaches the threshold. A detection that only reaches an ignored object is none.

    Args:
        ious_DT: what `same_class_ious` gave.
        detections, truths: of the image.
        limit: detections of a class that count, those of highest score.

    Returns:
        One list a threshold.
    """
    found: list[list[Match]] = [[] for _ in THRESHOLDS]
    kinds_T = np.array([truth.instance.category_id for truth in truths])
    ignored_T = np.array([truth.is_ignored for truth in truths], bool)
    kinds_D = np.array([detection.instance.category_id for detection in detections])
    scores_D = np.array([detection.instance.score for detection in detections], float)
    for kind in np.unique(kinds_T[~ignored_T]):
        rows = np.flatnonzero(kinds_D == kind)
        rows = rows[np.argsort(-scores_D[rows], kind="stable")][:limit]
        columns = np.flatnonzero((kinds_T == kind) & ~ignored_T)
        ious_RC = ious_DT[np.ix_(rows, columns)]
        for matches, threshold in zip(found, THRESHOLDS.tolist(), strict=True):
            for row, column in _take_turns(ious_RC, threshold):
                matches.append(Match(int(rows[row]), int(columns[column]), float(ious_RC[row, column])))
    return found


def _take_turns(ious_RC: NDArray[np.float64], threshold: float) -> list[tuple[int, int]]:
    free_C = np.ones(ious_RC.shape[1], bool)
    taken = []
    for row in np.flatnonzero((ious_RC >= threshold).any(axis=1)).tolist():
        candidates_C = np.where(free_C, ious_RC[row], -1.0)
        # The last of equals wins in COCO's code.
        column = candidates_C.size - 1 - int(candidates_C[::-1].argmax())
        if candidates_C[column] >= threshold:
            free_C[column] = False
            taken.append((row, column))
    return taken
