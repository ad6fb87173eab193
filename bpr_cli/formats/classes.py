"""Classes of formats that know them by name alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpr_cli.errors import InputError
from bpr_cli.formats.records import ImageInstances, Results

LABEL = "label"  # field of an instance: the name of its class


NUMBERED = {"labelme", "cvat", "label-studio"}  # kinds whose ids are `with_class_ids`'


def with_class_ids(entries: Sequence[ImageInstances]) -> tuple[tuple[ImageInstances, ...], dict[int, str]]:
    """The images with their instances' names of classes (`LABEL`) as ids: from 1, in the order of the names.

    Returns:
        The images, and id -> name.
    """
    names = sorted({instance.fields[LABEL] for entry in entries for instance in entry.instances})
    ids = {name: number for number, name in enumerate(names, 1)}
    numbered = (
        replace(entry, instances=tuple(replace(i, category_id=ids[i.fields[LABEL]]) for i in entry.instances))
        for entry in entries
    )
    return tuple(numbered), {number: name for name, number in ids.items()}


def with_classes_of(results: Results, truth: Results) -> Results:
    """Detections with the ground truth's ids of classes, told by their names where a format has names alone.

    Raises:
        InputError: a class without a name, or with one that the ground truth lacks.
    """
    if not NUMBERED & {results.kind, truth.kind}:
        return results
    ids = {name: number for number, name in truth.categories.items()}
    entries = []
    for entry in results.images:
        instances = []
        for instance in entry.instances:
            number = instance.category_id
            name = None if number is None else results.categories.get(number)
            if name not in ids:
                problem = f"category {number} has no name" if name is None else f"{name!r} is no class of {truth.path}"
                raise InputError(
                    f"{problem}, and classes are told by their names here",
                    file=results.path,
                    image_id=instance.image_id,
                    index=instance.index,
                    remedy="Name classes as the ground truth does (COCO results by --image-info), or leave them out",
                )
            instances.append(replace(instance, category_id=ids[name]))
        entries.append(replace(entry, instances=tuple(instances)))
    return replace(results, images=tuple(entries), categories=truth.categories)
