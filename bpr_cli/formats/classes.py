"""Classes of formats that know them by name alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bpr_cli.formats.records import ImageInstances

LABEL = "label"  # field of an instance: the name of its class


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
