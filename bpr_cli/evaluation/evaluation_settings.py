"""What can be set for an evaluation."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass

from bpr_cli.errors import InputError

WIDEST = 100  # px; contours farther apart than this have nothing to do with each other


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How results are compared with ground truth.

    Attributes:
        boundary_ratio: band of Boundary IoU and Boundary AP as a share of the image diagonal; None: 0.02, on
            Cityscapes 0.005.
        tolerance: pixels that two contours may lie apart in contour F-scores.
        upper_bounds: distances in pixels: what the baseline (without one, the results) would reach with every
            pixel that near to its boundary taken from ground truth.
        group_by: field of the images (`sequence`, ...) over which confidence intervals are drawn; None: images.

    Raises:
        InputError: a value out of range.
    """

    boundary_ratio: float | None = None
    tolerance: float = 1.0
    upper_bounds: tuple[int, ...] = ()
    group_by: str | None = None

    def __post_init__(self) -> None:
        if self.boundary_ratio is not None and not 0 < self.boundary_ratio <= 1:
            raise InputError(
                f"the boundary ratio is {self.boundary_ratio:g}", remedy="Give a share of the diagonal, as 0.02"
            )
        if not 0 <= self.tolerance <= WIDEST:
            raise InputError(f"the tolerance is {self.tolerance:g}", remedy=f"Give a distance of 0 to {WIDEST} pixels")
        if not all(1 <= radius <= WIDEST for radius in self.upper_bounds):
            raise InputError(
                f"upper bounds at {', '.join(map(str, self.upper_bounds))} px",
                remedy=f"Give distances of 1 to {WIDEST} pixels",
            )


def parse_distances(text: str) -> tuple[int, ...]:
    """Upper bounds as the command line writes them: "1,2,3"; InputError unless they are whole numbers."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
        raise InputError(f"--upper-bound {reprlib.repr(text)}: not distances in pixels", remedy="Write it as 1,2,3")
    return tuple(dict.fromkeys(int(part) for part in parts))
