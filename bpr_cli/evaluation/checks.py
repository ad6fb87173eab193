"""What must hold before results are compared with ground truth, and refined results with their baseline."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import as_category, described, differing_kinds, is_finite
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results
from bpr_cli.formats.rle import rle_size

SCORE_TOLERANCE = 1e-3  # tools round scores when they write them
FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")  # LVIS's fields of an image


def check_truth(truth: Results, group_by: str | None = None) -> set[int]:
    """The ground truth's category ids: those it lists, or without a list those of its objects.

    Args:
        truth: as read.
        group_by: a field that each of its images must have.

    Raises:
        InputError: it cannot serve as ground truth.
    """
    if truth.kind == "coco-results":
        raise InputError(
            "this is a list of detections, not ground truth",
            file=truth.path,
            remedy="Give the COCO annotation file (with images, annotations and categories) as ground truth",
        )
    for category in truth.categories:
        if not _is_class_id(category):
            raise InputError(
                f"a category has the id {described(category)}", file=truth.path, remedy="Write category ids as integers"
            )
    seen: set[object] = set()
    for instance in in_order(truth):
        _check_object(truth, instance)
        number = instance.fields.get("id")
        if number is not None and number in seen:
            raise _fault(truth, instance, f"the annotation id {number} is used twice", "Give each annotation its own")
        seen.add(number)
    for entry in truth.images:
        _check_image(truth, entry.image, group_by)
    return set(truth.categories) or {i.category_id for i in in_order(truth) if i.category_id is not None}


def _check_object(truth: Results, instance: Instance) -> None:
    """InputError if an object of the ground truth cannot be used."""
    category = instance.category_id
    if category is None:
        raise _fault(truth, instance, "the object has no category_id", "Add one to each annotation")
    if truth.categories and category not in truth.categories:
        raise _fault(
            truth,
            instance,
            f"category {category} is not among the file's categories",
            "Add it there, or remove its annotations",
        )
    if not _is_class_id(category):
        raise _fault(truth, instance, f"the category id is {described(category)}", "Write an integer")
    number = instance.fields.get("id")
    if not (number is None or isinstance(number, str) or is_finite(number)):
        raise _fault(truth, instance, f"the annotation id is {described(number)}", "Write an integer or a string")
    area = instance.fields.get("area")
    if area is not None and not (is_finite(area) and area >= 0):
        raise _fault(truth, instance, f"its area is {described(area)}", "Write the mask's pixels, or leave it out")
    ignore = instance.fields.get("ignore")
    if truth.frequencies and not (ignore is None or _is_flag(ignore)):
        raise _fault(truth, instance, f"its ignore is {described(ignore)}", "Write 0 or 1")


def _check_image(truth: Results, image: ImageRecord, group_by: str | None) -> None:
    """InputError if an image lacks the field that names its group, or LVIS's lists of classes are none."""
    if group_by is not None and group_by not in image.fields:
        known = ", ".join(sorted(name for name in image.fields if name != "id"))
        raise InputError(
            f"the image has no field {group_by}",
            file=truth.path,
            image_id=image.id,
            remedy=f"Name one of its fields: {known}" if known else "Leave out --group-by",
        )
    for name in FEDERATED if truth.frequencies else ():
        classes = image.fields.get(name)
        if classes is not None and not (isinstance(classes, list) and all(map(_is_class_id, classes))):
            raise InputError(
                f"its {name} is {described(classes)}",
                file=truth.path,
                image_id=image.id,
                remedy="Write a list of category ids",
            )


def check_detections(results: Results, truth: Results, categories: Collection[int]) -> None:
    """InputError if a detection has no score, or an image or category that the ground truth does not know."""
    images = {entry.image.id for entry in truth.images}
    for instance in in_order(results):
        if instance.score is not None and not is_finite(instance.score):
            raise _fault(results, instance, f"the score is {described(instance.score)}", "Write a finite number")
        if instance.score is None:
            raise _fault(
                results,
                instance,
                "the detection has no score",
                "Average precision needs one; write 1.0 if all are sure",
            )
        if instance.image_id not in images:
            raise _fault(
                results,
                instance,
                f"this image id is not in the ground truth {truth.path}{differing_kinds(instance.image_id, images)}",
                "Give the ground truth of the same images, or leave out the detections on others",
            )
        if instance.category_id is None:
            raise _fault(results, instance, "the detection has no category_id", "Add one to each detection")
        if instance.category_id not in categories:
            raise _fault(
                results,
                instance,
                f"category {instance.category_id} is not in the ground truth {truth.path}",
                "Use its category ids (COCO counts from 1), or leave out the detections of other classes",
            )


def check_same_detections(baseline: Results, results: Results) -> None:
    """InputError unless both hold the same detections in the same order; only masks and boxes may differ."""
    if baseline.count != results.count:
        raise InputError(
            f"it holds {results.count} detections, its baseline {baseline.path} {baseline.count}",
            file=results.path,
            remedy="The baseline must be the very file that was refined",
        )
    for before, after in zip(in_order(baseline), in_order(results), strict=True):
        if not is_same_detection(before, after):
            raise _fault(
                results,
                after,
                f"it is not the detection at this place in the baseline {baseline.path}",
                "The baseline must be the very file that was refined, in the same order",
            )


def is_same_detection(before: Instance, after: Instance) -> bool:
    """Whether two files have the same detection here: image, class and score; masks and boxes may differ."""
    if (before.image_id, before.category_id) != (after.image_id, after.category_id):
        return False
    return before.score is None or after.score is None or abs(before.score - after.score) <= SCORE_TOLERANCE


def frame_size(entry: ImageInstances, truth: Path) -> tuple[int, int]:
    """Height and width of an image of the ground truth `truth`, from its record or an RLE on it; else InputError."""
    if entry.image.height and entry.image.width:
        return entry.image.height, entry.image.width
    for instance in entry.instances:
        if size := rle_size(instance.segmentation):
            return size
    raise InputError(
        "the image has no height and width",
        file=truth,
        image_id=entry.image.id,
        remedy="Add both to its record in the ground truth",
    )


def in_order(results: Results) -> Iterator[Instance]:
    """All instances in the input's order."""
    return iter(sorted((i for entry in results.images for i in entry.instances), key=lambda i: i.index))


def _is_class_id(value: Any) -> bool:
    return type(value) is int and as_category(value) is not None


def _is_flag(value: Any) -> bool:
    return isinstance(value, (int, float)) and value in (0, 1)


def _fault(results: Results, instance: Instance, problem: str, remedy: str) -> InputError:
    return InputError(problem, file=results.path, image_id=instance.image_id, index=instance.index, remedy=remedy)
