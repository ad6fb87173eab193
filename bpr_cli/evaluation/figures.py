"""What an evaluation finds, as plain records; see `evaluate` for how it is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TypeAlias

import numpy as np

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
        category_id, area: the object's class, and its size in pixels as COCO's size ranges count it.
        group: what is resampled as one in confidence intervals: the chosen field of the image, else the image.
    """

    image_id: ImageId
    truth: int
    detection: int
    after: MaskScores
    before: MaskScores | None
    category_id: int = 0
    area: float = 0.0
    group: str = ""


@dataclass(frozen=True, slots=True)
class InstanceChange:
    """What refinement did to one detection, as IoU with the object `truth` that it fitted best before."""

    image_id: ImageId
    index: int
    truth: int
    iou_before: float
    iou_after: float
    category_id: int = 0
    area: float = 0.0
    group: str = ""

    @property
    def gain(self) -> float:
        """IoU after minus IoU before, -1..1."""
        return self.iou_after - self.iou_before


@dataclass(frozen=True, slots=True)
class Figures:
    """One file's figures, each 0..1; NaN where there is nothing to average or the rules have no such figure.

    Attributes:
        ap, ap50, ap75: average precision over masks, at IoU .50:.05:.95, .50 and .75.
        ap_s, ap_m, ap_l: over objects smaller than 32^2 px, up to 96^2, and larger.
        ap_r, ap_c, ap_f: over LVIS's rare, common and frequent classes.
        ar_1, ar_10, ar: average recall with 1, 10 and all counted detections an image (100; LVIS 300).
        boundary_ap and so on: the same over min(mask IoU, Boundary IoU).
        af, af_pooled, af_zero: see `average_f.AverageF`.
        iou, boundary_iou, contour_f: means over the ground-truth objects that have a detection.
        cityscapes_ap, cityscapes_ap50: by the benchmark's own script.
    """

    ap: float
    ap50: float
    ap75: float
    boundary_ap: float
    iou: float
    boundary_iou: float
    contour_f: float
    ap_s: float = math.nan
    ap_m: float = math.nan
    ap_l: float = math.nan
    ap_r: float = math.nan
    ap_c: float = math.nan
    ap_f: float = math.nan
    ar_1: float = math.nan
    ar_10: float = math.nan
    ar: float = math.nan
    boundary_ap50: float = math.nan
    boundary_ap75: float = math.nan
    boundary_ap_s: float = math.nan
    boundary_ap_m: float = math.nan
    boundary_ap_l: float = math.nan
    af: float = math.nan
    af_pooled: float = math.nan
    af_zero: float = math.nan
    cityscapes_ap: float = math.nan
    cityscapes_ap50: float = math.nan

    def minus(self, other: Figures) -> Figures:
        """The difference, figure by figure."""
        return Figures(**{item.name: getattr(self, item.name) - getattr(other, item.name) for item in fields(Figures)})


class ContourCells(NamedTuple):
    """What AF was averaged over: cells are pairs of a class with objects and an IoU threshold."""

    true_positives: int
    cells: int
    empty: int


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """One class: AP, Boundary AP, AF, each 0..1, NaN where undefined."""

    id: int
    name: str
    truths: int
    ap: float
    boundary_ap: float
    af: float


@dataclass(frozen=True, slots=True)
class UpperBound:
    """What results would reach with every pixel within `radius` px of their boundary taken from ground truth.

    Attributes:
        figures: ap, ap50, ap75, ap_s, ap_m, ap_l, boundary_ap and its like, iou, boundary_iou and contour_f.
    """

    radius: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Scored:
    """All figures of one file."""

    figures: Figures
    cells: ContourCells
    categories: tuple[CategoryFigures, ...]
    cityscapes_classes: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # name -> AP, AP50


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that `evaluate` found.

    Attributes:
        scored: the results' figures.
        scored_baseline: those of the file that was refined; None without one.
        images, detections: how many there are in the ground truth and in the results.
        truths: number of ground-truth objects, crowds not counted.
        objects: those of them that some detection of their class overlaps, each with the best one.
        changes: every detection that matched an object with IoU > 0.5 before refinement, in the input's
            order; empty without a baseline.
        upper_bounds: of the baseline (without one, of the results); empty unless asked for.
        category_names: id -> name, for all classes of the ground truth.
        boundary_ratio, tolerance: the settings used.
        rules: "coco", "lvis" or "cityscapes".
        group_by: the images' field that `group` was taken from; None if each image is a group.
    """

    scored: Scored
    scored_baseline: Scored | None
    images: int
    detections: int
    truths: int
    objects: tuple[ObjectScores, ...] = field(repr=False)
    changes: tuple[InstanceChange, ...] = field(repr=False)
    upper_bounds: tuple[UpperBound, ...]
    category_names: Mapping[int, str] = field(repr=False)
    boundary_ratio: float
    tolerance: float
    rules: str = "coco"
    group_by: str | None = None

    @property
    def figures(self) -> Figures:
        """The results' figures."""
        return self.scored.figures

    @property
    def baseline(self) -> Figures | None:
        """The baseline's figures; None without one."""
        return None if self.scored_baseline is None else self.scored_baseline.figures

    @property
    def difference(self) -> Figures | None:
        """Results minus baseline, figure by figure; None without a baseline."""
        return None if self.baseline is None else self.figures.minus(self.baseline)

    def share_gained(self, bound: UpperBound, figure: str) -> float:
        """Which part of the way from the baseline to an upper bound the results went; NaN without a baseline.

        Args:
            bound: one of `upper_bounds`.
            figure: a field of `Figures`.
        """
        if self.baseline is None:
            return math.nan
        before = getattr(self.baseline, figure)
        possible = getattr(bound.figures, figure) - before
        return float((getattr(self.figures, figure) - before) / possible) if possible > 0 else math.nan

    @property
    def improved(self) -> float:
        """Share of `changes` that gained more than .002 IoU, 0..1; NaN if there are none."""
        return mean([change.gain > NOTICEABLE for change in self.changes])

    @property
    def harmed(self) -> float:
        """Share of `changes` that lost more than .002 IoU, 0..1; NaN if there are none."""
        return mean([change.gain < -NOTICEABLE for change in self.changes])

    @property
    def unchanged(self) -> float:
        """Share of `changes` within .002 IoU, 0..1; NaN if there are none."""
        return mean([abs(change.gain) <= NOTICEABLE for change in self.changes])


def printable(name: object) -> str:
    """A name from a file as text that any encoding of Unicode holds: JSON knows halves of characters."""
    return str(name).encode("utf-8", "replace").decode("utf-8")


def mean(values: Sequence[float]) -> float:
    """The mean, NaN of nothing."""
    return float(np.mean(values)) if values else math.nan
