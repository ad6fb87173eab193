"""Average precision by COCO's and LVIS's rules, over masks and over boundaries, counted by faster-coco-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask

from bpr_cli.evaluation.matching import CodedInstance


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """An image of the ground truth with everything that the rules compare on it.

    Attributes:
        negative: LVIS: classes known to be absent.
        not_exhaustive: LVIS: classes of which not every object is annotated.
    """

    height: int
    width: int
    truths: Sequence[CodedInstance]
    detections: Sequence[CodedInstance]
    negative: Sequence[int] = ()
    not_exhaustive: Sequence[int] = ()


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


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision and recall, each 0..1; NaN where the ground truth holds no such object."""

    ap: float
    ap50: float
    ap75: float
    ap_s: float
    ap_m: float
    ap_l: float
    ar: float
    ar_1: float = math.nan
    ar_10: float = math.nan
    ap_r: float = math.nan
    ap_c: float = math.nan
    ap_f: float = math.nan
    by_category: Mapping[int, float] = field(default_factory=dict)


def average_precision(
    images: Sequence[EvaluatedImage],
    rules: Rules,
    kind: Literal["segm", "boundary"] = "segm",
    boundary_ratio: float = 0.02,
) -> Precision:
    """AP over IoU .50:.05:.95.

    The size of an object is its `area` in the ground truth where it has one, that of a detection the area of its
    mask. (pycocotools takes the area of a result's `bbox` if it has one, so it agrees on results without.)

    Args:
        images: all images of the ground truth, those without detections or objects too.
        rules: COCO's or LVIS's.
        kind: "segm" compares masks, "boundary" takes min(mask IoU, Boundary IoU) (Cheng et al., CVPR 2021).
        boundary_ratio: width of the boundary band as a share of the image diagonal.
    """
    # The library writes into the records it is given, so they are made afresh each time.
    silent = {"print_function": _say_nothing}
    truth = COCO(_dataset([image.truths for image in images], images, rules), **silent)
    found = COCO(_dataset([_counted(image.detections, rules) for image in images], images, rules), **silent)
    counting = COCOeval_faster(
        truth, found, kind, lvis_style=rules.is_lvis, boundary_dilation_ratio=boundary_ratio, **silent
    )
    if rules.is_lvis:
        counting.params.maxDets = [rules.limit]
    counting.run()
    stats = {name: math.nan if value < 0 else value for name, value in counting.stats_as_dict.items()}
    precision_RK = counting.eval["precision"][:, :, :, 0, -1].reshape(-1, len(rules.categories))
    common = {
        "ap": stats["AP_all"],
        "ap50": stats["AP_50"],
        "ap75": stats["AP_75"],
        "ap_s": stats["AP_small"],
        "ap_m": stats["AP_medium"],
        "ap_l": stats["AP_large"],
    }
    # A class without objects is -1 throughout.
    means = [float(column.mean()) if column.min() >= 0 else math.nan for column in precision_RK.T]
    by_category = dict(zip(sorted(rules.categories), means, strict=True))
    if rules.is_lvis:
        groups = {f"ap_{name}": stats[f"AP{name}"] for name in ("r", "c", "f")}
        return Precision(**common, **groups, ar=stats["AR_all"], by_category=by_category)
    recalls = {"ar_1": stats["AR_all"], "ar_10": stats["AR_second"], "ar": stats["AR_third"]}
    return Precision(**common, **recalls, by_category=by_category)


def _counted(detections: Sequence[CodedInstance], rules: Rules) -> Sequence[CodedInstance]:
    """LVIS counts the highest scores of an image over all classes; COCO's limit is by class, in the library."""
    if not rules.is_lvis or len(detections) <= rules.limit:
        return detections
    order = np.argsort([-(item.instance.score or 0.0) for item in detections], kind="stable")
    return [detections[position] for position in order[: rules.limit].tolist()]


def _dataset(
    instances: Sequence[Sequence[CodedInstance]], images: Sequence[EvaluatedImage], rules: Rules
) -> dict[str, Any]:
    """A COCO dataset; ids are numbers from 1, as image ids may be strings and 0 means "no match"."""
    annotations: list[dict[str, Any]] = []
    for number, coded in enumerate(instances, start=1):
        for item in coded:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": item.instance.category_id,
                    "segmentation": item.rle,
                    "area": area_of(item),
                    "iscrowd": int(item.instance.iscrowd),
                    "score": item.instance.score,
                }
            )
    return {
        "images": [
            {
                "id": number,
                "height": image.height,
                "width": image.width,
                "neg_category_ids": list(image.negative),
                "not_exhaustive_category_ids": list(image.not_exhaustive),
            }
            for number, image in enumerate(images, 1)
        ],
        "categories": [
            {"id": category, "name": str(category), "frequency": rules.frequencies.get(category)}
            for category in sorted(rules.categories)
        ],
        "annotations": annotations,
    }


def area_of(item: CodedInstance) -> float:
    """The size by which COCO sorts an instance into small, medium and large, in pixels."""
    stated = item.instance.fields.get("area")
    is_truth = item.instance.score is None
    if is_truth and isinstance(stated, (int, float)) and not isinstance(stated, bool) and stated >= 0:
        return float(stated)
    return float(coco_mask.area(item.rle))


def _say_nothing(*_: object) -> None:
    """Stands in for the library's progress lines."""
