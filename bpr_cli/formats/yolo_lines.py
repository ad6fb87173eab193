"""Lines of YOLO's label files: a class, then a polygon in fractions of the photo, and for predictions a confidence.

`yolo predict save_txt=True save_conf=True` (ultralytics) puts the confidence at the end: an odd number of values tells
it. Four values, or five with a confidence, are a box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bpr_cli.formats.fields import as_category, is_finite
from bpr_cli.formats.polygons import scaled_polygons_mask
from bpr_cli.formats.rle import BrokenSegmentationError
from bpr_cli.formats.segmentation import OwnForm
from bpr_cli.masks import Mask

BOX_VALUES = (4, 5)
FIRST_LINE = re.compile(r"\s*\d+(\.0+)?(\s+[-+]?[\d.]+([eE][-+]?\d+)?){4,}\s*")
DIGITS = 9  # behind the point: a thousandth of a pixel of a photo of a million
REMEDY = "Write class x1 y1 x2 y2 x3 y3 ..., in fractions of the photo"


@dataclass(frozen=True, slots=True)
class LinePolygon(OwnForm):
    """The polygon of one line, kept as text until its photo's size is known.

    Attributes:
        line: as the file has it.
        number: of the line in its file, from 1.
    """

    line: str
    number: int

    def to_mask(self, height: int, width: int) -> Mask:
        """See `OwnForm`."""
        try:
            return scaled_polygons_mask([_coordinates(self.line)], height, width, side=1.0)
        except BrokenSegmentationError as error:
            raise BrokenSegmentationError(
                f"line {self.number}: {error.problem.removeprefix('polygon 0 ')}", REMEDY
            ) from None


def is_first_line(line: str) -> bool:
    """Whether a file that begins with it is one of labels: boxes or polygons."""
    return FIRST_LINE.fullmatch(line) is not None


def is_box(line: str) -> bool:
    """Whether the line holds no polygon, but a box."""
    return len(line.split()) - 1 in BOX_VALUES


def class_and_score(line: str) -> tuple[int, float | None]:
    """The class' number and the confidence of a line with a polygon; BrokenSegmentationError if it is none."""
    word, *values = line.split()
    try:
        category = as_category(float(word))
    except ValueError:
        category = None
    if category is None:
        raise BrokenSegmentationError(f"{word[:40]!r} is not the number of a class", REMEDY)
    if len(values) < 6:
        raise BrokenSegmentationError(f"{len(values)} values are no polygon", REMEDY)
    if len(values) % 2 == 0:
        return category, None
    score = _number(values[-1])
    if not 0 <= score <= 1:
        raise BrokenSegmentationError(
            f"an odd number of values ends in {values[-1][:40]}, which is no confidence (a track's number?)",
            "Write polygons with a confidence from 0 to 1, or without one",
        )
    return category, score


def with_outline(line: str, outline: Sequence[float], height: int, width: int) -> str:
    """The line with another polygon; class, confidence and what ends the line stay.

    Args:
        line: as the file has it.
        outline: x, y, x, y, ... in pixels.
        height, width: the photo's size.
    """
    word, *values = line.split()
    text = line.rstrip()
    fractions = (_fraction(value / (height if place % 2 else width)) for place, value in enumerate(outline))
    return " ".join([word, *fractions, *values[-1:] * (len(values) % 2)]) + line[len(text) :]


def _coordinates(line: str) -> list[float]:
    values = line.split()[1:]
    return [_number(value) for value in values[: len(values) // 2 * 2]]


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not is_finite(value):
        raise BrokenSegmentationError(f"{word[:40]!r} is not a finite number", REMEDY)
    return value


def _fraction(value: float) -> str:
    return f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
