"""One image's detections against its objects: everything of an evaluation that needs pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bpr_cli.evaluation.average_precision import CountedDetection, CountedObject, EvaluatedImage, Overlap
from bpr_cli.evaluation.boundary import boundary_iou, contour_f_score
from bpr_cli.evaluation.checks import FEDERATED
from bpr_cli.evaluation.comparisons import BoundOnImage, FileOnImage, ImageComparison
from bpr_cli.evaluation.figures import ImageId, InstanceChange, MaskScores, ObjectScores, printable
from bpr_cli.evaluation.matching import (
    THRESHOLDS,
    CodedInstance,
    best_detections,
    best_truths,
    same_class_ious,
    true_positives,
    without_ignored,
)
from bpr_cli.evaluation.rules import Rules, coded_detections, coded_objects, counted_detections, mask_area
from bpr_cli.evaluation.upper_bound import true_near_boundary
from bpr_cli.formats.records import ImageRecord, Instance
from bpr_cli.formats.rle import decode_rle, encode_rle
from bpr_cli.masks import Mask, intersection_over_union

MATCHED = 0.5  # a detection's IoU with its object, before refinement, from which a change is counted


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """How images are compared; see `evaluate`.

    Attributes:
        rules: which objects and detections count.
        radii: of upper bounds, in pixels.
        group_by: field of the image record that names its group; None: each image is one.
    """

    boundary_ratio: float
    tolerance: float
    rules: Rules
    radii: tuple[int, ...]
    group_by: str | None


class _Instances:
    """One image's instances as RLE, and as masks where somebody asks."""

    def __init__(
        self, coded: Sequence[CodedInstance], height: int, width: int, masks: Mapping[int, Mask] | None = None
    ) -> None:
        self.height, self.width = height, width
        self.coded = coded
        self._masks = dict(masks or {})

    def mask(self, position: int) -> Mask:
        if position not in self._masks:
            self._masks[position] = decode_rle(self.coded[position].rle)
        return self._masks[position]


def compare_image(
    image: ImageRecord,
    truths: Sequence[Instance],
    after: Sequence[Instance],
    before: Sequence[Instance] | None,
    size: tuple[int, int],
    settings: CompareSettings,
) -> ImageComparison:
    """Compare one image's detections, and the same ones before refinement, with its objects.

    Args:
        image: the ground truth's record.
        truths, after, before: its objects, and detections in one order; None without a baseline.
        size: its height and width.
        settings: see `CompareSettings`.

    Raises:
        InputError: a broken segmentation, or one of another size.
    """
    true = _Instances(coded_objects(truths, *size, settings.rules), *size)
    found = _Instances(coded_detections(after, *size), *size)
    first = None if before is None else _Instances(coded_detections(before, *size), *size)
    deciding = found if first is None else first
    crowded_DT = same_class_ious(deciding.coded, true.coded)
    ious_DT = without_ignored(crowded_DT, true.coded)
    group = printable(image.id if settings.group_by is None else image.fields[settings.group_by])
    return ImageComparison(
        _on_image(image, found, true, same_class_ious(found.coded, true.coded) if first else crowded_DT, settings),
        _on_image(image, first, true, crowded_DT, settings) if first else None,
        _object_scores(image.id, group, found, first, true, ious_DT, settings),
        _changes(image.id, group, found, true, ious_DT) if first else [],
        [_bound(radius, image, deciding, true, ious_DT, settings) for radius in settings.radii],
    )


def _object_scores(
    image_id: ImageId,
    group: str,
    found: _Instances,
    first: _Instances | None,
    true: _Instances,
    ious_DT: NDArray[np.float64],
    settings: CompareSettings,
) -> list[ObjectScores]:
    """Each object with the detection that overlaps it most."""
    objects = []
    for match in best_detections(ious_DT):
        truth = true.coded[match.truth]
        objects.append(
            ObjectScores(
                image_id,
                truth.instance.index,
                found.coded[match.detection].instance.index,
                _scores(found, match.detection, true, match.truth, settings),
                _scores(first, match.detection, true, match.truth, settings) if first else None,
                truth.instance.category_id or 0,
                truth.area,
                group,
            )
        )
    return objects


def _changes(
    image_id: ImageId, group: str, found: _Instances, true: _Instances, ious_DT: NDArray[np.float64]
) -> list[InstanceChange]:
    """The detections that matched an object before, by `ious_DT`, and what they have now."""
    changes = []
    for match in best_truths(ious_DT, above=MATCHED):
        truth = true.coded[match.truth]
        changes.append(
            InstanceChange(
                image_id,
                found.coded[match.detection].instance.index,
                truth.instance.index,
                match.iou,
                intersection_over_union(found.mask(match.detection), true.mask(match.truth)),
                truth.instance.category_id or 0,
                truth.area,
                group,
            )
        )
    return changes


def _on_image(
    image: ImageRecord, found: _Instances, true: _Instances, ious_DT: NDArray[np.float64], settings: CompareSettings
) -> FileOnImage:
    """The detections for AP, and the F-score of every true positive."""
    f_scores: dict[tuple[int, int], float] = {}
    contours = []
    counted = counted_detections(found.coded, settings.rules)
    detections = [found.coded[position] for position in counted]
    for step, matches in enumerate(true_positives(ious_DT[counted], detections, true.coded, settings.rules.limit)):
        for match in matches:
            pair = counted[match.detection], match.truth
            if pair not in f_scores:
                f_scores[pair] = contour_f_score(found.mask(pair[0]), true.mask(pair[1]), settings.tolerance)
            contours.append((true.coded[match.truth].instance.category_id or 0, step, f_scores[pair]))
    return FileOnImage(_evaluated(image, found, true, ious_DT, settings), contours)


def _evaluated(
    image: ImageRecord, found: _Instances, true: _Instances, ious_DT: NDArray[np.float64], settings: CompareSettings
) -> EvaluatedImage:
    """What counts for average precision, with all overlaps that can match."""
    truths = [
        CountedObject(item.instance.category_id or 0, item.area, item.instance.iscrowd, item.is_ignored)
        for item in true.coded
    ]
    counted = counted_detections(found.coded, settings.rules)
    negative, not_exhaustive = (
        (image.fields.get(name) or () for name in FEDERATED) if settings.rules.is_lvis else ((), ())
    )
    if settings.rules.is_lvis:  # the library leaves others out too, but fails on an image that has no others
        known = {truth.category_id for truth in truths}.union(negative)
        counted = [position for position in counted if found.coded[position].instance.category_id in known]
    detections = [
        CountedDetection(item.instance.category_id or 0, item.area, item.instance.score or 0.0)
        for item in (found.coded[position] for position in counted)
    ]
    overlaps = []
    for row, truth in np.argwhere(ious_DT[counted] >= THRESHOLDS[0]).tolist():
        iou = boundary = float(ious_DT[counted[row], truth])
        if not truths[truth].iscrowd:
            boundary = min(iou, boundary_iou(found.mask(counted[row]), true.mask(truth), settings.boundary_ratio))
        overlaps.append(Overlap(row, truth, iou, boundary))
    return EvaluatedImage(truths, detections, overlaps, negative, not_exhaustive)


def _bound(
    radius: int,
    image: ImageRecord,
    found: _Instances,
    true: _Instances,
    ious_DT: NDArray[np.float64],
    settings: CompareSettings,
) -> BoundOnImage:
    """The detections with the pixels near their boundary taken from the object of their class they overlap most."""
    coded = list(found.coded)
    masks: dict[int, Mask] = {}
    for match in best_truths(ious_DT):
        mask = true_near_boundary(found.mask(match.detection), true.mask(match.truth), radius)
        masks[match.detection] = mask
        rle = encode_rle(mask)
        coded[match.detection] = replace(coded[match.detection], rle=rle, area=mask_area(rle))
    mixed = _Instances(coded, found.height, found.width, masks)
    scores = [_scores(mixed, match.detection, true, match.truth, settings) for match in best_detections(ious_DT)]
    return BoundOnImage(_evaluated(image, mixed, true, same_class_ious(coded, true.coded), settings), scores)


def _scores(found: _Instances, detection: int, true: _Instances, truth: int, settings: CompareSettings) -> MaskScores:
    mask, object_mask = found.mask(detection), true.mask(truth)
    return MaskScores(
        intersection_over_union(mask, object_mask),
        boundary_iou(mask, object_mask, settings.boundary_ratio),
        contour_f_score(mask, object_mask, settings.tolerance),
    )
