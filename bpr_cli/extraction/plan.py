"""Who goes where: sampling, the split into train and val, and the groups of images that make a shard each.

Everything random is decided here, before any work and from the seed alone, so that the shards do not depend on
how many processes make them or on how often the work was interrupted.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results

IMAGES_PER_SHARD = 16  # 1,000 to 2,000 patches, 10 to 20 MB: a shard is also the unit of restart


@dataclass(frozen=True, slots=True)
class ImageTask:
    """What to extract from one image.

    Attributes:
        image, path: the image and its file.
        truths: its true objects.
        detections: the detections to use.
        corruptions: (position in `truths`, copy number) of the synthetic coarse masks to make.
        seed: of this image's own random generator.
    """

    image: ImageRecord
    path: Path
    truths: tuple[Instance, ...]
    detections: tuple[Instance, ...]
    corruptions: tuple[tuple[int, int], ...]
    seed: int


@dataclass(frozen=True, slots=True)
class ShardTask:
    """The images of one shard."""

    name: str
    images: tuple[ImageTask, ...]


def plan_shards(
    truth: Results,
    detections: Sequence[Results],
    paths: Mapping[int | str, Path],
    settings: ExtractionSettings,
) -> list[ShardTask]:
    """Divide the work into shards.

    Args:
        truth: the ground truth; its images are the ones used.
        detections: results on those images; several results are simply joined.
        paths: image id -> file.
        settings: sampling, split and seed.

    Raises:
        InputError: no detection lies on an image of the ground truth; `split_by` names an unknown field.
    """
    found: dict[int | str, list[Instance]] = defaultdict(list)
    for results in detections:
        for entry in results.images:
            found[entry.image.id].extend(entry.instances)
    known = {entry.image.id for entry in truth.images}
    if detections and not known & found.keys():
        raise InputError(
            f"none of its image ids is in the ground truth {truth.path}",
            file=detections[0].path,
            remedy="Give the ground truth of the same images",
        )
    rng = np.random.default_rng(settings.seed)
    units = _sampled_units(truth.images, found, settings, rng)
    validation = _validation_ids(truth, settings, rng)
    tasks: list[ShardTask] = []
    for split, wanted in (("train", False), ("val", True)):
        entries = [entry for entry in truth.images if (entry.image.id in validation) == wanted]
        order = rng.permutation(len(entries))
        # An image without true objects gives no patches, and needs no photo.
        images = [_image_task(entries[i], found, units, paths, settings) for i in order if entries[i].instances]
        images = [task for task in images if task.detections or task.corruptions]
        for start in range(0, len(images), IMAGES_PER_SHARD):
            name = f"{split}-{start // IMAGES_PER_SHARD:06d}"
            tasks.append(ShardTask(name, tuple(images[start : start + IMAGES_PER_SHARD])))
    return tasks


Unit = tuple[int | str, str, int, int]  # image id, "detection" or "corruption", position, copy


def _sampled_units(
    entries: Sequence[ImageInstances],
    found: Mapping[int | str, list[Instance]],
    settings: ExtractionSettings,
    rng: np.random.Generator,
) -> set[Unit]:
    """The coarse masks to use: all of them, or a share drawn without replacement."""
    units: list[Unit] = []
    for entry in entries:
        image_id = entry.image.id
        units += [(image_id, "detection", i, 0) for i in range(len(found.get(image_id, ())))]
        truths = [i for i, instance in enumerate(entry.instances) if not instance.iscrowd]
        units += [(image_id, "corruption", i, copy) for i in truths for copy in range(settings.corruptions)]
    if settings.sample == 1.0 or not units:
        return set(units)
    keep = rng.choice(len(units), size=max(1, round(settings.sample * len(units))), replace=False)
    return {units[i] for i in keep}


def _validation_ids(truth: Results, settings: ExtractionSettings, rng: np.random.Generator) -> set[int | str]:
    """Ids of the images whose whole group was drawn for validation."""
    groups: dict[str, list[int | str]] = defaultdict(list)
    for entry in truth.images:
        if settings.split_by == "image":
            groups[str(entry.image.id)].append(entry.image.id)
        elif settings.split_by in entry.image.fields:
            groups[str(entry.image.fields[settings.split_by])].append(entry.image.id)
        else:
            raise InputError(
                f"the image has no field {settings.split_by!r} to split by",
                file=truth.path,
                image_id=entry.image.id,
                remedy="Use --split-by image or a field that all images have",
            )
    names = sorted(groups)
    count = round(settings.val_fraction * len(names))
    if settings.val_fraction > 0 and len(names) > 1:
        count = max(1, count)
    drawn: list[int] = rng.choice(len(names), size=count, replace=False).tolist() if count else []
    return {image_id for i in drawn for image_id in groups[names[i]]}


def _image_task(
    entry: ImageInstances,
    found: Mapping[int | str, list[Instance]],
    units: set[Unit],
    paths: Mapping[int | str, Path],
    settings: ExtractionSettings,
) -> ImageTask:
    image_id = entry.image.id
    detections = tuple(
        instance for i, instance in enumerate(found.get(image_id, ())) if (image_id, "detection", i, 0) in units
    )
    corruptions = tuple(
        (i, copy)
        for i in range(len(entry.instances))
        for copy in range(settings.corruptions)
        if (image_id, "corruption", i, copy) in units
    )
    seed = zlib.crc32(f"{settings.seed}/{image_id}".encode())
    return ImageTask(entry.image, paths[image_id], entry.instances, detections, corruptions, seed)
