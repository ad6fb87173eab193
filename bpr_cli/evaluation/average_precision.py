"""Average precision by COCO's and LVIS's rules, over masks and over boundaries, counted by faster-coco-eval."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from bpr_cli.evaluation.rules import Rules


class CountedObject(NamedTuple):
    """An object as average precision takes it; see `CodedInstance`."""

    category_id: int
    area: float
    iscrowd: bool
    is_ignored: bool


class CountedDetection(NamedTuple):
    """A detection as average precision takes it; see `CodedInstance`."""

    category_id: int
    area: float
    score: float


class Overlap(NamedTuple):
    """A detection and an object of its class that match at the lowest threshold, or may.

    Attributes:
        detection, truth: their positions in the image's lists.
        iou: of the masks; with a crowd the share of the detection inside it.
        boundary_iou: min(mask IoU, Boundary IoU); with a crowd the same share.
    """

    detection: int
    truth: int
    iou: float
    boundary_iou: float


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """An image of the ground truth with everything that the rules compare on it; no pixels.

    Attributes:
        truths: its objects.
        detections: those that count.
        overlaps: all pairs whose mask IoU reaches the lowest of `THRESHOLDS`; others cannot match.
        negative: LVIS: classes known to be absent.
        not_exhaustive: LVIS: classes of which not every object is annotated.
    """

    truths: Sequence[CountedObject]
    detections: Sequence[CountedDetection]
    overlaps: Sequence[Overlap]
    negative: Sequence[int] = ()
    not_exhaustive: Sequence[int] = ()


class _Counting(COCOeval_faster):
    """The library's counting, with overlaps that were measured before."""

    def __init__(self, overlaps: Mapping[tuple[int, int], Sequence[tuple[int, int, float]]], *arguments: Any) -> None:
        truth, found, lvis_style = arguments
        super().__init__(truth, found, iouType="segm", lvis_style=lvis_style, print_function=_silent)
        self.params.compute_rle = False  # no masks are looked at
        self._overlaps = overlaps

    def _prepare(self) -> None:
        super()._prepare()
        # The library takes crowds alone for ignored.
        for truth in self.cocoGt.anns.values():
            truth["ignore"] = truth["is_ignored"]

    def computeIoU(self, imgId: int, catId: int) -> Any:  # noqa: N802 - the library's name
        truths = self.gt_dataset.get_instances([imgId], [catId], True)[0][0]
        found = self.dt_dataset.get_instances([imgId], [catId], True)[0][0]
        order = np.argsort([-each["score"] for each in found], kind="mergesort")[: self.params.maxDets[-1]].tolist()
        rows = {found[place]["position"]: row for row, place in enumerate(order)}
        columns = {each["position"]: column for column, each in enumerate(truths)}
        ious_DT = np.zeros((len(rows), len(columns)))
        for detection, truth, iou in self._overlaps.get((imgId, catId), ()):
            if detection in rows:
                ious_DT[rows[detection], columns[truth]] = iou
        return ious_DT


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
    images: Sequence[EvaluatedImage], rules: Rules, kind: Literal["segm", "boundary"] = "segm"
) -> Precision:
    """AP over IoU .50:.05:.95.

    A detection's size is the area of its mask. (pycocotools and lvis take the area of a result's `bbox` if it has
    one, so they agree on results without.)

    Args:
        images: all images of the ground truth, those without detections or objects too, by `evaluation_order`.
        rules: COCO's or LVIS's.
        kind: "segm" compares masks, "boundary" takes min(mask IoU, Boundary IoU) (Cheng et al., CVPR 2021).
    """
    overlaps: defaultdict[tuple[int, int], list[tuple[int, int, float]]] = defaultdict(list)
    for number, image in enumerate(images, start=1):
        for each in image.overlaps:
            iou = each.iou if kind == "segm" else each.boundary_iou
            overlaps[number, image.truths[each.truth].category_id].append((each.detection, each.truth, iou))
    # The library writes into the records it is given, so they are made afresh each time.
    truth = COCO(_dataset([_objects(image) for image in images], images, rules), print_function=_silent)
    found = COCO(_dataset([_detections(image) for image in images], images, rules), print_function=_silent)
    counting = _Counting(overlaps, truth, found, rules.is_lvis)
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


def _objects(image: EvaluatedImage) -> list[dict[str, Any]]:
    return [
        {
            "category_id": item.category_id,
            "area": item.area,
            "iscrowd": int(item.iscrowd),
            "is_ignored": int(item.is_ignored),
        }
        for item in image.truths
    ]


def _detections(image: EvaluatedImage) -> list[dict[str, Any]]:
    return [
        {"category_id": item.category_id, "area": item.area, "iscrowd": 0, "score": item.score}
        for item in image.detections
    ]


def _dataset(
    records: Sequence[Sequence[dict[str, Any]]], images: Sequence[EvaluatedImage], rules: Rules
) -> dict[str, Any]:
    """A COCO dataset; ids are numbers from 1, as image ids may be strings and 0 means "no match"."""
    annotations: list[dict[str, Any]] = []
    for number, on_image in enumerate(records, start=1):
        for position, record in enumerate(on_image):
            annotations.append({"id": len(annotations) + 1, "image_id": number, "position": position, **record})
    return {
        "images": [
            {
                "id": number,
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
