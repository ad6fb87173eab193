"""COCO's and LVIS's rules: which objects and detections of an image count, and as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pycocotools import mask as coco_mask

from bpr_cli.evaluation.matching import CodedInstance
from bpr_cli.formats.records import ImageRecord, Instance
from bpr_cli.formats.rle import RLE
from bpr_cli.formats.segmentation import compress_mask


@dataclass(frozen=True, slots=True)
class Rules:
    """How detections are counted.

    Attributes:
        categories: the ground truth's class ids; other detections do not count.
        frequencies: LVIS: class id -> "r", "c" or "f"; empty for COCO's rules.
    """

    categories: Sequence[int]
    frequencies: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_lvis(self) -> bool:
        """Whether LVIS's rules hold (Gupta et al., CVPR 2019): federated classes, 300 detections an image."""
        return bool(self.frequencies)

    @property
    def limit(self) -> int:
        """Detections that count: of a class on an image (COCO), of an image (LVIS)."""
        return 300 if self.is_lvis else 100


def evaluation_order(image: ImageRecord) -> tuple[bool, int | str]:
    """A key to sort images by: detections of equal score are ranked by ascending image id, as the file writes it.

    Numbers come before strings, which pycocotools cannot mix.
    """
    stated = image.fields.get("id", image.id)
    return isinstance(stated, str), stated


def coded_objects(instances: Sequence[Instance], height: int, width: int, rules: Rules) -> list[CodedInstance]:
    """The objects of an image that count or are ignored.

    COCO ignores crowds. LVIS has no crowds, ignores what is marked with `ignore`, and leaves out objects of area 0.

    Raises:
        InputError: a broken segmentation, or one of another size.
    """
    objects = []
    for instance in instances:
        rle = compress_mask(instance, height, width)
        stated = instance.fields.get("area")
        area = mask_area(rle) if stated is None else float(stated)
        if not rules.is_lvis:
            objects.append(CodedInstance(instance, rle, area, instance.iscrowd))
        elif area > 0:
            is_ignored = bool(instance.fields.get("ignore"))
            objects.append(CodedInstance(replace(instance, iscrowd=False), rle, area, is_ignored))
    return objects


def coded_detections(instances: Sequence[Instance], height: int, width: int) -> list[CodedInstance]:
    """The detections of an image.

    Raises:
        InputError: a broken segmentation, or one of another size.
    """
    detections = []
    for instance in instances:
        rle = compress_mask(instance, height, width)
        detections.append(CodedInstance(instance, rle, mask_area(rle)))
    return detections


def mask_area(rle: RLE) -> float:
    """Pixels of a mask."""
    return float(coco_mask.area(rle))


def counted_detections(detections: Sequence[CodedInstance], rules: Rules) -> list[int]:
    """Positions of an image's detections that count for average precision.

    LVIS takes the highest scores of an image over all classes and, of these, what has pixels. COCO's limit is by
    class, and `average_precision` and `true_positives` heed it.
    """
    positions = list(range(len(detections)))
    if not rules.is_lvis:
        return positions
    if len(detections) > rules.limit:
        order = np.argsort([-(item.instance.score or 0.0) for item in detections], kind="stable")
        positions = order[: rules.limit].tolist()
    return [position for position in positions if detections[position].area > 0]
