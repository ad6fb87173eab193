"""Average precision by COCO's and LVIS's rules, over masks and over boundaries, counted by faster-coco-eval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from bpr_cli.evaluation.boundary import boundary_iou
from bpr_cli.evaluation.matching import THRESHOLDS, CodedInstance
from bpr_cli.evaluation.rules import Rules, counted_detections
from bpr_cli.formats.rle import RLE, decode_rle, encode_rle
from bpr_cli.masks import Mask


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


class _Counting(COCOeval_faster):
    """Counts with mask IoU as overlap."""

    def _prepare(self) -> None:
        super()._prepare()
        # The library takes crowds alone for ignored.
        for truth in self.cocoGt.anns.values():
            truth["ignore"] = truth["is_ignored"]


class _BoundaryCounting(_Counting):
    """Counts with min(mask IoU, Boundary IoU) as overlap.

    The library can do that itself, but decodes and erodes every mask on its full frame. Here Boundary IoU is taken
    on crops, and only of pairs whose mask IoU reaches the lowest threshold: the others cannot match anyway.
    """

    def __init__(self, ratio: float, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ratio = ratio

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802 - the library's name
        ious_DT = super().computeIoU(imgId, catId)
        if len(ious_DT) == 0:
            return ious_DT
        truths = self.gt_dataset.get_instances([imgId], [catId], True)[0][0]
        found = self.dt_dataset.get_instances([imgId], [catId], True)[0][0]
        order = np.argsort([-each["score"] for each in found], kind="mergesort")[: len(ious_DT)].tolist()
        crowds_T = np.array([each["iscrowd"] for each in truths], bool)
        candidates_DT = (ious_DT >= THRESHOLDS[0]) & ~crowds_T
        for column in np.flatnonzero(candidates_DT.any(axis=0)).tolist():
            truth = decode_rle(truths[column]["segmentation"])
            for row in np.flatnonzero(candidates_DT[:, column]).tolist():
                overlap = boundary_iou(decode_rle(found[order[row]]["segmentation"]), truth, self._ratio)
                ious_DT[row, column] = min(ious_DT[row, column], overlap)
        return ious_DT


class _Annotation(NamedTuple):
    """An instance and the mask that the library is given for it."""

    item: CodedInstance
    rle: RLE


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

    A detection's size is the area of its mask. (pycocotools and lvis take the area of a result's `bbox` if it has
    one, so they agree on results without.)

    Args:
        images: all images of the ground truth, those without detections or objects too, by `evaluation_order`.
        rules: COCO's or LVIS's.
        kind: "segm" compares masks, "boundary" takes min(mask IoU, Boundary IoU) (Cheng et al., CVPR 2021).
        boundary_ratio: width of the boundary band as a share of the image diagonal.
    """
    # The library writes into the records it is given, so they are made afresh each time.
    silent = {"print_function": _silent}
    objects = [[_Annotation(item, item.rle) for item in image.truths] for image in images]
    truth = COCO(_dataset(objects, images, rules), **silent)
    found = COCO(_dataset([_compared(image, rules) for image in images], images, rules), **silent)
    options = {"iouType": "segm", "lvis_style": rules.is_lvis, **silent}
    if kind == "segm":
        counting = _Counting(truth, found, **options)
    else:
        counting = _BoundaryCounting(boundary_ratio, truth, found, **options)
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


def _compared(image: EvaluatedImage, rules: Rules) -> list[_Annotation]:
    """The image's detections that count, as annotations.

    No mask is looked at where the image has no object of the detection's class, so it is left out there: with most
    of a detector's results that saves the work of decoding, and changes nothing (size and score are kept).
    """
    detections = [image.detections[position] for position in counted_detections(image.detections, rules)]
    present = {item.instance.category_id for item in image.truths}
    if rules.is_lvis:  # the library leaves these out too, but fails on an image that has no others
        known = present.union(image.negative)
        detections = [item for item in detections if item.instance.category_id in known]
    nothing = encode_rle(Mask(np.zeros((0, 0), np.uint8), 0, 0, image.height, image.width))
    return [_Annotation(item, item.rle if item.instance.category_id in present else nothing) for item in detections]


def _dataset(
    instances: Sequence[Sequence[_Annotation]], images: Sequence[EvaluatedImage], rules: Rules
) -> dict[str, Any]:
    """A COCO dataset; ids are numbers from 1, as image ids may be strings and 0 means "no match"."""
    annotations: list[dict[str, Any]] = []
    for number, on_image in enumerate(instances, start=1):
        for item, rle in on_image:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": item.instance.category_id,
                    "segmentation": rle,
                    "area": item.area,
                    "iscrowd": int(item.instance.iscrowd),
                    "is_ignored": int(item.is_ignored),
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


def _silent(*_: object) -> None:
    """Stands in for the library's progress lines."""
