"""What refinement changed by size, by class and by group of images, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from bpr_cli.evaluation.figures import NOTICEABLE, Evaluation, InstanceChange, ObjectScores, mean

SMALL, LARGE = 32**2, 96**2  # COCO's edges between small, medium and large objects, in pixels
RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0

Slice = Literal["all", "size", "category", "group"]


class Interval(NamedTuple):
    """A mean with its 95 % bootstrap confidence interval; low and high are NaN for fewer than two groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One part of the objects, and what refinement changed in it.

    Attributes:
        label: "small", a class's name, a sequence, ...
        objects: ground-truth objects that have a detection.
        iou_before, boundary_iou_before, contour_f_before: their means, each 0..1.
        iou, boundary_iou, contour_f: mean changes, -1..1.
        detections: those compared: they matched an object with IoU > 0.5 before.
        improved, harmed: shares of these, 0..1.
    """

    label: str
    objects: int
    iou_before: float
    boundary_iou_before: float
    contour_f_before: float
    iou: Interval
    boundary_iou: Interval
    contour_f: Interval
    detections: int
    improved: Interval
    harmed: Interval


def breakdown(evaluation: Evaluation, by: Slice) -> list[BreakdownRow]:
    """One row for each part of the objects and detections; none without a baseline.

    Intervals are drawn by resampling groups (a sequence where `group_by` named that field, else an image), not
    instances: objects of one photo are alike, and treating them as independent would promise too much.

    Args:
        evaluation: with a baseline.
        by: "all" in one row; "size" by COCO's ranges of area; "category"; or "group".
    """
    if evaluation.scored_baseline is None:
        return []
    label = _labels(evaluation, by)
    order: dict[str, tuple[list[ObjectScores], list[InstanceChange]]] = {}
    for item in sorted(evaluation.objects, key=lambda item: _rank(item, by)):
        order.setdefault(label(item), ([], []))[0].append(item)
    for change in sorted(evaluation.changes, key=lambda item: _rank(item, by)):
        order.setdefault(label(change), ([], []))[1].append(change)
    return [_row(name, objects, changes) for name, (objects, changes) in order.items()]


def _labels(evaluation: Evaluation, by: Slice) -> Callable[[ObjectScores | InstanceChange], str]:
    if by == "size":
        return lambda item: "small" if item.area < SMALL else "medium" if item.area < LARGE else "large"
    if by == "category":
        return lambda item: evaluation.category_names.get(item.category_id, str(item.category_id))
    if by == "group":
        return lambda item: item.group
    return lambda item: "all"


def _rank(item: ObjectScores | InstanceChange, by: Slice) -> float | str:
    """Rows come by size, by class id, by name."""
    return item.group if by == "group" else item.category_id if by == "category" else item.area


def _row(label: str, objects: Sequence[ObjectScores], changes: Sequence[InstanceChange]) -> BreakdownRow:
    pairs = [(item.before, item.after, item.group) for item in objects if item.before is not None]
    groups = [group for _, _, group in pairs]
    change_groups = [change.group for change in changes]

    def before(name: str) -> float:
        return mean([getattr(first, name) for first, _, _ in pairs])

    def gain(name: str) -> Interval:
        return interval([getattr(last, name) - getattr(first, name) for first, last, _ in pairs], groups)

    return BreakdownRow(
        label,
        len(pairs),
        before("iou"),
        before("boundary_iou"),
        before("contour_f"),
        gain("iou"),
        gain("boundary_iou"),
        gain("contour_f"),
        detections=len(changes),
        improved=interval([change.gain > NOTICEABLE for change in changes], change_groups),
        harmed=interval([change.gain < -NOTICEABLE for change in changes], change_groups),
    )


def interval(values: Iterable[float], groups: Sequence[str]) -> Interval:
    """The mean of values, with a percentile bootstrap over their groups (2,000 resamples, seeded).

    Args:
        values: one for each instance.
        groups: what each belongs to; a group is drawn as a whole.
    """
    numbers = np.asarray(list(values), float)
    if not numbers.size:
        return Interval(math.nan, math.nan, math.nan)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return Interval(float(numbers.mean()), math.nan, math.nan)
    sums_G, counts_G = np.bincount(members, numbers), np.bincount(members)
    rng = np.random.default_rng(SEED)
    draws_RG = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    means_R = draws_RG @ sums_G / (draws_RG @ counts_G)
    low, high = np.quantile(means_R, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))
