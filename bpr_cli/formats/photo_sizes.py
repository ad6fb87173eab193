"""Sizes of photos where the input states none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import image_header
from bpr_cli.formats.orientation import turned_size
from bpr_cli.formats.records import ImageInstances, Results


def with_photo_sizes(results: Results, folder: Path | None) -> Results:
    """The results with each image's size from its photo's header, turned as its EXIF says; nothing is decoded.

    Args:
        results: as read.
        folder: of the photos; None: where the input says that they are.

    Raises:
        InputError: a photo is missing, or cannot be read.
    """
    finder = ImageFinder(folder or results.photos or results.path)
    paths = finder.find_all([entry.image for entry in results.images])
    return replace(results, images=tuple(_sized(entry, paths[entry.image.id]) for entry in results.images))


def _sized(entry: ImageInstances, photo: Path) -> ImageInstances:
    height, width = turned_size(image_header(photo))
    return replace(entry, image=replace(entry.image, height=height, width=width))
