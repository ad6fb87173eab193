"""What decides the patches that an extraction makes; two runs with equal settings make equal shards."""

from __future__ import annotations

from dataclasses import dataclass

from bpr_cli.errors import InputError
from bpr_cli.formats.orientation import ORIENTATIONS
from bpr_cli.patches import SCHEMES
from bpr_cli.shards import LARGEST_SIDE


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """Options of `bpr extract`.

    Attributes:
        patch_size: side of a patch in pixels, without padding (paper: 64).
        padding: context around the patch, in pixels, stored with it.
        nms_threshold: patches that overlap more than this IoU are thinned out (paper: 0.25 for training).
        scheme: "dense", "grid" or "instance" (`patches.propose_boxes`).
        min_iou: a detection is used if its IoU with a true object is above this (paper: 0.5).
        scales: sizes at which each photo is used, 1 for as it is, less for reduced. Objects smaller than a patch
            look unlike the boundary of a large one; photos of large objects, reduced, teach them.
        corruptions: synthetic coarse masks made of each true object, besides the detections.
        sample: share of the detections and corrupted masks to use, drawn without replacement.
        val_fraction: share of the groups whose patches go to the validation shards.
        split_by: "image", or a field of the images such as "sequence": images that share its value stay together.
        seed: decides sample, split, order and corruption.
        orientation: which way up photos are where neither sizes nor masks tell: "exif" or "stored" (`read_image`).
    """

    patch_size: int = 64
    padding: int = 0
    nms_threshold: float = 0.25
    scheme: str = "dense"
    min_iou: float = 0.5
    scales: tuple[float, ...] = (1.0,)
    corruptions: int = 0
    sample: float = 1.0
    val_fraction: float = 0.05
    split_by: str = "image"
    seed: int = 0
    orientation: str = "exif"

    def __post_init__(self) -> None:
        rules = [
            (self.patch_size >= 8, "patch size must be at least 8 px"),
            (self.padding >= 0, "padding must not be negative"),
            (self.patch_size + 2 * self.padding <= LARGEST_SIDE, f"patches must not exceed {LARGEST_SIDE} px"),
            (self.padding == 0 or self.scheme != "instance", "the instance scheme takes no padding"),
            (0.0 <= self.nms_threshold < 1.0, "the NMS threshold must lie in 0..1"),
            (self.scheme in SCHEMES, f"scheme must be one of {', '.join(SCHEMES)}"),
            (0.0 <= self.min_iou < 1.0, "the least IoU must lie in 0..1"),
            (bool(self.scales), "there must be at least one scale"),
            (all(0.0 < scale <= 1.0 for scale in self.scales), "scales must be above 0, up to 1"),
            (len(set(self.scales)) == len(self.scales), "a scale is given twice"),
            (self.corruptions >= 0, "the number of corruptions must not be negative"),
            (0.0 < self.sample <= 1.0, "the sample must be a share above 0, up to 1"),
            (self.orientation in ORIENTATIONS, f"orientation must be one of {', '.join(ORIENTATIONS)}"),
            (0.0 <= self.val_fraction < 1.0, "the validation fraction must lie in 0..1"),
            (self.seed >= 0, "the seed must not be negative"),
        ]
        for holds, rule in rules:
            if not holds:
                raise InputError(rule)


def parse_scales(text: str) -> tuple[float, ...]:
    """Scales as the command line writes them: "1,0.5"; InputError unless they are numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--scales {text}: not numbers", remedy="Write it as 1,0.5,0.25") from None
