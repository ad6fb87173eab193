"""What decides the refined masks, beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.patches import SCHEMES

BLENDS = ("uniform", "hann")


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """Options of `bpr refine` that change masks or speed.

    Attributes:
        nms_threshold: patches that overlap more than this IoU are thinned out: 0.25 is fast, 0.55 sees each
            stretch of boundary in several patches (paper, table 7).
        scheme: "dense", "grid" or "instance" (`patches.propose_boxes`); a model does best with the scheme that it
            was trained on.
        flips: predict each patch and its mirror image and average: twice the time.
        blend: how overlapping patches are averaged: "uniform" as in the paper, or "hann", which trusts the
            middle of a patch more than its rim.
        caution: 0 to 1: a pixel changes where the network is surer of it than 0.5 + caution / 2, and only near the
            coarse boundary; and a mask changes only if the photo's edges bear it out (`gate.evidence`), the more so the
            more other objects lie beside it (`crowding`). 0 is the paper's rule: any pixel of a patch, by the mean
            probability.
        passes: how often the network looks: each further pass takes the refined masks as coarse ones.
        batch_size: patches given to the network at once; None chooses by device.
        min_score: detections with a score below it are passed on as they came. 0..1.
    """

    nms_threshold: float = 0.4
    scheme: str = "dense"
    flips: bool = True
    blend: str = "hann"
    caution: float = 0.4
    passes: int = 2
    batch_size: int | None = None
    min_score: float = 0.0

    def __post_init__(self) -> None:
        _check_number("the NMS threshold", self.nms_threshold)
        _check_number("the caution", self.caution)
        _check_number("the least score", self.min_score)
        _check_integer("passes", self.passes)
        if self.batch_size is not None:
            _check_integer("the batch size", self.batch_size)
        if not isinstance(self.flips, (bool, np.bool_)):
            raise InputError(f"flips is {self.flips!r}", remedy="Give True or False")
        if not 0.0 <= self.nms_threshold < 1.0:
            raise InputError(f"the NMS threshold {self.nms_threshold} is not in 0..1")
        if not 0.0 <= self.min_score <= 1.0:
            raise InputError(f"the least score {self.min_score} is not in 0..1")
        if self.scheme not in SCHEMES:
            raise InputError(f"no scheme {self.scheme!r}", remedy=f"Choose from {', '.join(SCHEMES)}")
        if self.blend not in BLENDS:
            raise InputError(f"no blending {self.blend!r}", remedy=f"Choose from {', '.join(BLENDS)}")
        if not 0.0 <= self.caution < 1.0:
            raise InputError(f"the caution {self.caution} is not in 0..1", remedy="0 trusts the network most")
        if self.passes < 1:
            raise InputError(f"{self.passes} passes are too few", remedy="Use 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"the batch size {self.batch_size} is below 1")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}, not a number")


def _check_integer(name: str, value: object) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}, not an integer")
