"""Figures of refined masks, and how they vary when the photos are drawn anew.

Bootstrap: groups of photos (sequences, or single photos) are drawn with replacement, as many as there are. Draw number
i takes the same groups for every cell of a data set, so that the draws of two cells can be subtracted one by one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from data_sets import DataSet

from bpr_cli.evaluation.average_f import ContourTally
from bpr_cli.evaluation.average_precision import EvaluatedImage, average_precision
from bpr_cli.evaluation.blocks import BlockComparer
from bpr_cli.evaluation.checks import check_truth
from bpr_cli.evaluation.compare import CompareSettings
from bpr_cli.evaluation.comparisons import ImageComparison
from bpr_cli.evaluation.evaluate import BAND, CITYSCAPES_BAND
from bpr_cli.evaluation.figures import NOTICEABLE, mean
from bpr_cli.evaluation.matching import THRESHOLDS
from bpr_cli.evaluation.part_by_part import compare_images
from bpr_cli.evaluation.reading import read_inputs
from bpr_cli.evaluation.rules import Rules
from bpr_cli.formats import cityscapes

TOLERANCE = 1.0  # px, of AF
RADII = (1, 2, 3)  # px, of table 1
DRAWS = 200
DIGITS = 5


@dataclass(frozen=True, slots=True)
class Compared:
    """One refinement's detections beside the objects, image by image, and each image's group."""

    images: list[ImageComparison]
    groups: list[str]
    rules: Rules

    def of(self, groups: Collection[str]) -> Compared:
        """Those images that are of some groups."""
        kept = [place for place, group in enumerate(self.groups) if group in groups]
        return Compared([self.images[place] for place in kept], [self.groups[place] for place in kept], self.rules)


def compare(data: DataSet, results: Path, baseline: Path, *, bounds: bool) -> Compared:
    """Compare a refinement of the validation photos with their ground truth.

    Args:
        data: whose ground truth.
        results, baseline: masks after and before.
        bounds: also what perfect pixels near the boundary of the baseline would reach.
    """
    info = data.gt_val if data.gt_val.is_file() else None
    inputs = read_inputs(results, data.gt_val, baseline, image_info=info)
    categories = check_truth(inputs.gt, data.group_by)
    rules = Rules(sorted(categories), inputs.gt.frequencies)
    usual = CITYSCAPES_BAND if inputs.gt.kind == cityscapes.TRUTH else BAND
    ratio = usual if data.boundary_ratio is None else data.boundary_ratio
    settings = CompareSettings(ratio, TOLERANCE, rules, RADII if bounds else (), data.group_by)
    images, _ = compare_images(inputs, categories, BlockComparer(settings), None, quiet=True)
    records = [entry.image for entry in inputs.gt.images]
    groups = [str(record.id if data.group_by is None else record.fields[data.group_by]) for record in records]
    return Compared(images, groups, rules)


def figures_of(compared: Compared) -> dict[str, float]:
    """What `bpr evaluate` would say, each 0..1."""
    images = compared.images
    objects = [item.after for image in images for item in image.objects]
    gains = [change.gain for image in images for change in image.changes]
    return {
        **_precision([image.after.evaluated for image in images], compared.rules),
        "boundary_ap": average_precision([image.after.evaluated for image in images], compared.rules, "boundary").ap,
        "af": _average_f(images),
        "iou": mean([item.iou for item in objects]),
        "boundary_iou": mean([item.boundary_iou for item in objects]),
        "contour_f": mean([item.contour_f for item in objects]),
        "improved": mean([gain > NOTICEABLE for gain in gains]),
        "harmed": mean([gain < -NOTICEABLE for gain in gains]),
    }


def bounds_of(compared: Compared) -> dict[str, dict[str, float]]:
    """AP and its like of each upper bound, by its radius in pixels."""
    return {
        str(radius): _precision([image.bounds[place].evaluated for image in compared.images], compared.rules)
        for place, radius in enumerate(RADII)
    }


def draws_of(compared: Compared, *, bounds: bool) -> dict[str, list[float]]:
    """AP and AF, and with `bounds` AP of each upper bound (ap_1, ap_2, ap_3), in each draw."""
    places = defaultdict(list)
    for place, group in enumerate(compared.groups):
        places[group].append(place)
    names, rng = sorted(places), np.random.default_rng(0)
    found = defaultdict(list)
    for _ in range(DRAWS):
        drawn = rng.integers(len(names), size=len(names)).tolist()
        images = [compared.images[place] for index in drawn for place in places[names[index]]]
        found["ap"].append(average_precision([image.after.evaluated for image in images], compared.rules).ap)
        found["af"].append(_average_f(images))
        for place, radius in enumerate(RADII if bounds else ()):
            evaluated = [image.bounds[place].evaluated for image in images]
            found[f"ap_{radius}"].append(average_precision(evaluated, compared.rules).ap)
    return {name: [round(value, DIGITS) for value in values] for name, values in found.items()}


def _precision(images: Sequence[EvaluatedImage], rules: Rules) -> dict[str, float]:
    found = average_precision(images, rules)
    return {name: getattr(found, name) for name in ("ap", "ap50", "ap_s", "ap_m", "ap_l")}


def _average_f(images: Sequence[ImageComparison]) -> float:
    tally = ContourTally(len(THRESHOLDS))
    for image in images:
        for category, step, f_score in image.after.contours:
            tally.add(category, step, f_score)
    truths = (item for image in images for item in image.after.evaluated.truths)
    return tally.average(sorted({item.category_id for item in truths if not item.is_ignored})).af


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Figures as JSON takes them: rounded, None for what is not a number."""
    return {name: None if math.isnan(value) else round(value, DIGITS) for name, value in values.items()}
