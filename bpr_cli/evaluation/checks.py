"""What must hold before results are compared with ground truth, and refined results with their baseline."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import described, differing_kinds
from bpr_cli.formats.records import ImageInstances, Instance, Results
from bpr_cli.formats.segmentation import rle_size

SCORE_TOLERANCE = 1e-3  # tools round scores when they write them


def check_truth(truth: Results, group_by: str | None = None) -> set[int]:
    """The ground truth's category ids; InputError if it cannot serve as ground truth.

    Args:
        truth: as read.
        group_by: a field that each of its images must have.
    """
    if truth.kind == "coco-results":
        raise InputError(
            "this is a list of detections, not ground truth",
            file=truth.path,
            remedy="Give the COCO annotation file (with images, annotations and categories) as ground truth",
        )
    categories = set(truth.categories)
    seen: set[object] = set()
    for instance in in_order(truth):
        if instance.category_id is None:
            raise _fault(truth, instance, "the object has no category_id", "Add one to each annotation")
        number = instance.fields.get("id")
        if number is not None and type(number) not in (int, float, str):
            raise _fault(truth, instance, f"the annotation id is {described(number)}", "Write an integer or a string")
        if number is not None and number in seen:
            raise _fault(truth, instance, f"the annotation id {number} is used twice", "Give each annotation its own")
        seen.add(number)
        categories.add(instance.category_id)
    for entry in truth.images:
        if group_by is not None and group_by not in entry.image.fields:
            known = ", ".join(sorted(name for name in entry.image.fields if name != "id"))
            raise InputError(
                f"the image has no field {group_by}",
                file=truth.path,
                image_id=entry.image.id,
                remedy=f"Name one of its fields: {known}",
            )
    return categories


def check_detections(results: Results, truth: Results, categories: Collection[int]) -> None:
    """InputError if a detection has no score, or an image or category that the ground truth does not know."""
    images = {entry.image.id for entry in truth.images}
    for instance in in_order(results):
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
        if not _same(before, after):
            raise _fault(
                results,
                after,
                f"it is not the detection at this place in the baseline {baseline.path}",
                "The baseline must be the very file that was refined, in the same order",
            )


def frame_size(entry: ImageInstances, truth: Results) -> tuple[int, int]:
    """Height and width of a ground-truth image, from its record or an RLE on it."""
    if entry.image.height and entry.image.width:
        return entry.image.height, entry.image.width
    for instance in entry.instances:
        if size := rle_size(instance.segmentation):
            return size
    raise InputError(
        "the image has no height and width",
        file=truth.path,
        image_id=entry.image.id,
        remedy="Add both to its record in the ground truth",
    )


def in_order(results: Results) -> Iterator[Instance]:
    """All instances in the input's order."""
    return iter(sorted((i for entry in results.images for i in entry.instances), key=lambda i: i.index))


def _same(before: Instance, after: Instance) -> bool:
    if (before.image_id, before.category_id) != (after.image_id, after.category_id):
        return False
    return before.score is None or after.score is None or abs(before.score - after.score) <= SCORE_TOLERANCE


def _fault(results: Results, instance: Instance, problem: str, remedy: str) -> InputError:
    return InputError(problem, file=results.path, image_id=instance.image_id, index=instance.index, remedy=remedy)
