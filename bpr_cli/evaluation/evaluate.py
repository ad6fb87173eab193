"""`bpr evaluate`: how good masks are and, against the file they were refined from, what refinement changed.

Besides AP, which mixes masks with scores and counts, it measures masks alone: for each ground-truth object
the detection that overlaps it most. With a baseline that choice is made on the baseline and kept, so that
before and after compare the same detection with the same object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bpr_cli.evaluation.average_precision import EvaluatedImage, average_precision
from bpr_cli.evaluation.boundary import boundary_iou, contour_f_score
from bpr_cli.evaluation.checks import check_detections, check_same_detections, check_truth, frame_size
from bpr_cli.evaluation.matching import CodedInstance, best_detections, best_truths, same_class_ious
from bpr_cli.formats import read_results
from bpr_cli.formats.records import ImageInstances, Instance, Results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import RLE, Mask, encode_rle, intersection_over_union
from bpr_cli.progress import progress_bar

MATCHED = 0.5  # a detection's IoU with its object, before refinement, from which a change is counted
NOTICEABLE = 0.002  # the change in IoU beyond which an instance counts as improved or harmed

ImageId: TypeAlias = int | str


@dataclass(frozen=True, slots=True)
class MaskScores:
    """How well one mask fits its object; each 0..1."""

    iou: float
    boundary_iou: float
    contour_f: float


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """A ground-truth object and its best detection.

    Attributes:
        truth, detection: their 0-based positions in the ground truth and in the results.
        before: of the same detection in the baseline; None without one.
    """

    image_id: ImageId
    truth: int
    detection: int
    after: MaskScores
    before: MaskScores | None


@dataclass(frozen=True, slots=True)
class InstanceChange:
    """What refinement did to one detection, as IoU with the object `truth` that it fitted best before."""

    image_id: ImageId
    index: int
    truth: int
    iou_before: float
    iou_after: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One file's figures, each 0..1; NaN where there is nothing to average.

    Attributes:
        ap, ap50, ap75: COCO average precision over masks.
        boundary_ap: the same over min(mask IoU, Boundary IoU).
        iou, boundary_iou, contour_f: means over the ground-truth objects that have a detection.
    """

    ap: float
    ap50: float
    ap75: float
    boundary_ap: float
    iou: float
    boundary_iou: float
    contour_f: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that `evaluate` found.

    Attributes:
        figures: of the results.
        baseline: of the file that was refined; None without one.
        images, detections: how many there are in the ground truth and in the results.
        truths: number of ground-truth objects, crowds not counted.
        objects: those of them that some detection of their class overlaps, each with the best one.
        changes: every detection that matched an object with IoU > 0.5 before refinement, in the input's
            order; empty without a baseline.
        boundary_ratio, tolerance: the settings used.
    """

    figures: Figures
    baseline: Figures | None
    images: int
    detections: int
    truths: int
    objects: tuple[ObjectScores, ...] = field(repr=False)
    changes: tuple[InstanceChange, ...] = field(repr=False)
    boundary_ratio: float
    tolerance: float

    @property
    def difference(self) -> Figures | None:
        """Results minus baseline, figure by figure; None without a baseline."""
        if self.baseline is None:
            return None
        names = [item.name for item in fields(Figures)]
        return Figures(**{name: getattr(self.figures, name) - getattr(self.baseline, name) for name in names})

    @property
    def improved(self) -> float:
        """Share of `changes` that gained more than .002 IoU, 0..1; NaN if there are none."""
        return _mean([change.iou_after - change.iou_before > NOTICEABLE for change in self.changes])

    @property
    def harmed(self) -> float:
        """Share of `changes` that lost more than .002 IoU, 0..1; NaN if there are none."""
        return _mean([change.iou_before - change.iou_after > NOTICEABLE for change in self.changes])

    @property
    def unchanged(self) -> float:
        """Share of `changes` within .002 IoU, 0..1; NaN if there are none."""
        return _mean([abs(change.iou_after - change.iou_before) <= NOTICEABLE for change in self.changes])


def evaluate(
    results: Path | Results,
    gt: Path | Results,
    baseline: Path | Results | None = None,
    *,
    boundary_ratio: float = 0.02,
    tolerance: float = 1.0,
    quiet: bool = False,
) -> Evaluation:
    """Compare results with ground truth, and with the file that they were refined from.

    Args:
        results: detections, in any format that `read_results` reads, or read already.
        gt: ground truth, likewise.
        baseline: what the results were refined from: the same detections in the same order.
        boundary_ratio: band of Boundary IoU and Boundary AP as a share of the image diagonal; Cityscapes
            has 0.005.
        tolerance: pixels that two contours may lie apart in the contour F-score.
        quiet: no progress bar.

    Raises:
        InputError: bad input; images or categories that the ground truth does not know; a detection without
            score; a baseline with other detections.
    """
    after, truth = _read(results), _read(gt)
    before = None if baseline is None else _read(baseline)
    categories = check_truth(truth)
    check_detections(after, truth, categories)
    if before is not None:
        check_detections(before, truth, categories)
        check_same_detections(before, after)

    comparison = _Comparison(truth, boundary_ratio, tolerance)
    entries_after, entries_before = _by_image(after), _by_image(before)
    with progress_bar(len(truth.images), "evaluate", "image", quiet=quiet) as bar:
        for entry in truth.images:
            instances_before = entries_before.get(entry.image.id, ()) if before is not None else None
            comparison.add(entry, entries_after.get(entry.image.id, ()), instances_before)
            bar.update()
    objects = tuple(comparison.objects)
    scores_before = [item.before for item in objects if item.before is not None]
    return Evaluation(
        _figures(comparison.after, categories, boundary_ratio, [item.after for item in objects]),
        _figures(comparison.before, categories, boundary_ratio, scores_before) if before is not None else None,
        images=len(truth.images),
        detections=after.count,
        truths=sum(not instance.iscrowd for entry in truth.images for instance in entry.instances),
        objects=objects,
        changes=tuple(sorted(comparison.changes, key=lambda change: change.index)),
        boundary_ratio=boundary_ratio,
        tolerance=tolerance,
    )


class _Comparison:
    """Gathers what is known image by image; keeps RLE, lets go of pixels."""

    def __init__(self, truth: Results, boundary_ratio: float, tolerance: float) -> None:
        self.truth = truth
        self.boundary_ratio = boundary_ratio
        self.tolerance = tolerance
        self.after: list[EvaluatedImage] = []
        self.before: list[EvaluatedImage] = []
        self.objects: list[ObjectScores] = []
        self.changes: list[InstanceChange] = []

    def add(self, entry: ImageInstances, after: Sequence[Instance], before: Sequence[Instance] | None) -> None:
        """Compare one image's detections (and the same ones before refinement) with its objects."""
        height, width = frame_size(entry, self.truth)
        truths = _Decoded(entry.instances, height, width)
        found = _Decoded(after, height, width)
        first = None if before is None else _Decoded(before, height, width)
        self.after.append(EvaluatedImage(height, width, truths.coded, found.coded))
        deciding = found if first is None else first
        ious_DT = same_class_ious(deciding.coded, truths.coded)
        for match in best_detections(ious_DT):
            mask = truths.masks[match.truth]
            self.objects.append(
                ObjectScores(
                    entry.image.id,
                    entry.instances[match.truth].index,
                    after[match.detection].index,
                    self._scores(found.masks[match.detection], mask),
                    None if first is None else self._scores(first.masks[match.detection], mask),
                )
            )
        if first is None:
            return
        self.before.append(EvaluatedImage(height, width, truths.coded, first.coded))
        for match in best_truths(ious_DT, above=MATCHED):
            iou_after = intersection_over_union(found.masks[match.detection], truths.masks[match.truth])
            index, truth_index = after[match.detection].index, entry.instances[match.truth].index
            self.changes.append(InstanceChange(entry.image.id, index, truth_index, match.iou, iou_after))

    def _scores(self, mask: Mask, truth: Mask) -> MaskScores:
        return MaskScores(
            intersection_over_union(mask, truth),
            boundary_iou(mask, truth, self.boundary_ratio),
            contour_f_score(mask, truth, self.tolerance),
        )


class _Decoded:
    """One image's instances as masks and as RLE."""

    def __init__(self, instances: Sequence[Instance], height: int, width: int) -> None:
        self.masks = [decode_mask(instance, height, width) for instance in instances]
        self.coded = [
            CodedInstance(instance, _rle(instance, mask)) for instance, mask in zip(instances, self.masks, strict=True)
        ]


def _rle(instance: Instance, mask: Mask) -> RLE:
    """The instance's mask as compressed RLE: the one it came with, where it did."""
    given = instance.segmentation
    if isinstance(given, dict) and isinstance(given.get("counts"), str):
        return {"size": [mask.image_height, mask.image_width], "counts": given["counts"]}
    return encode_rle(mask)


def _figures(
    images: Sequence[EvaluatedImage],
    categories: set[int],
    boundary_ratio: float,
    scores: Sequence[MaskScores],
) -> Figures:
    masks = average_precision(images, categories)
    boundaries = average_precision(images, categories, "boundary", boundary_ratio)
    return Figures(
        masks.ap,
        masks.ap50,
        masks.ap75,
        boundaries.ap,
        _mean([item.iou for item in scores]),
        _mean([item.boundary_iou for item in scores]),
        _mean([item.contour_f for item in scores]),
    )


def _by_image(results: Results | None) -> Mapping[ImageId, Sequence[Instance]]:
    return {entry.image.id: entry.instances for entry in results.images} if results is not None else {}


def _read(given: Path | Results) -> Results:
    return given if isinstance(given, Results) else read_results(given)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
