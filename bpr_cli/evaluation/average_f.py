"""AF: how well the contours of true positives fit, averaged in the way of AP.

The boundary patch refinement paper (Tang et al., CVPR 2021, section 4.1) reports AF, the boundary F-score of
detections at 1 px, without code for instances. Here it is:

1. Detections are matched to objects as for AP, at each IoU threshold .50, .55, ... .95.
2. Each true positive gets the F-score of its contour against its object's (`boundary.contour_f_score`).
3. AF is the mean over the true positives of a cell (one class at one threshold), then over the thresholds of a
   class, then over classes. Cells without a true positive are left out, as are classes without any.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpr_cli.evaluation.figures import ContourCells, mean


@dataclass(frozen=True, slots=True)
class AverageF:
    """AF and how sensitive it is to its definition; each 0..1, NaN where nothing matched or there is no object.

    Attributes:
        af: the definition above.
        pooled: one mean over all true positives of all cells.
        zero: cells without a true positive count as 0 instead of being left out.
        cells: true positives, cells, and how many of these were empty.
        by_category: class id -> mean over its cells that are not empty.
    """

    af: float
    pooled: float
    zero: float
    cells: ContourCells
    by_category: Mapping[int, float]


class ContourTally:
    """Gathers the F-scores of true positives, cell by cell."""

    def __init__(self, thresholds: int) -> None:
        self._thresholds = thresholds
        self._sums: dict[tuple[int, int], float] = defaultdict(float)
        self._counts: dict[tuple[int, int], int] = defaultdict(int)

    def add(self, category: int, threshold: int, f_score: float) -> None:
        """Count one true positive of a class at a threshold (by position)."""
        self._sums[category, threshold] += f_score
        self._counts[category, threshold] += 1

    def average(self, categories: Sequence[int]) -> AverageF:
        """AF over the given classes: those with at least one object."""
        by_category = {}
        zeros = []
        for category in categories:
            cells = [
                self._sums[category, step] / self._counts[category, step]
                for step in range(self._thresholds)
                if (category, step) in self._counts
            ]
            by_category[category] = mean(cells)
            zeros.append(sum(cells) / self._thresholds)
        filled = [value for value in by_category.values() if not math.isnan(value)]
        total = sum(self._counts.values())
        cells_in_all = len(categories) * self._thresholds
        return AverageF(
            mean(filled),
            sum(self._sums.values()) / total if total else math.nan,
            mean(zeros),
            ContourCells(total, cells_in_all, cells_in_all - len(self._counts)),
            by_category,
        )
