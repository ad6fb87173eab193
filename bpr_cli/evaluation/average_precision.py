"""COCO average precision over masks and over boundaries, counted by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask

from bpr_cli.evaluation.matching import CodedInstance


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """An image of the ground truth with everything that COCO's rules compare on it."""

    height: int
    width: int
    truths: Sequence[CodedInstance]
    detections: Sequence[CodedInstance]


class Precision(NamedTuple):
    """AP over IoU .50:.05:.95, at .50 and at .75, each 0..1; NaN where the ground truth holds no object."""

    ap: float
    ap50: float
    ap75: float


def average_precision(
    images: Sequence[EvaluatedImage],
    categories: Collection[int],
    kind: Literal["segm", "boundary"] = "segm",
    boundary_ratio: float = 0.02,
) -> Precision:
    """AP by COCO's rules: all areas, the 100 highest scores an image, crowds ignored.

    Args:
        images: all images of the ground truth, those without detections or objects too.
        categories: the ground truth's category ids; other detections do not count.
        kind: "segm" compares masks, "boundary" takes min(mask IoU, Boundary IoU) (Cheng et al., CVPR 2021).
        boundary_ratio: width of the boundary band as a share of the image diagonal.
    """
    # The library writes into the records it is given, so they are made afresh each time.
    silent = {"print_function": _say_nothing}
    truth = COCO(_dataset([image.truths for image in images], images, categories), **silent)
    found = COCO(_dataset([image.detections for image in images], images, categories), **silent)
    counting = COCOeval_faster(truth, found, kind, boundary_dilation_ratio=boundary_ratio, **silent)
    counting.run()
    # Slots 0 to 2 are AP, AP50 and AP75 in every version; -1 is COCO's word for "nothing to find".
    return Precision(*(float("nan") if value < 0 else float(value) for value in counting.stats[:3]))


def _dataset(
    instances: Sequence[Sequence[CodedInstance]],
    images: Sequence[EvaluatedImage],
    categories: Collection[int],
) -> Mapping[str, Any]:
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
                    "area": float(coco_mask.area(item.rle)),
                    "iscrowd": int(item.instance.iscrowd),
                    "score": item.instance.score,
                }
            )
    return {
        "images": [
            {"id": number, "height": image.height, "width": image.width} for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": category, "name": str(category)} for category in sorted(categories)],
        "annotations": annotations,
    }


def _say_nothing(*_: object) -> None:
    """Stands in for the library's progress lines."""
