"""Readers and writers, one module a format; all meet in `records.Results`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.formats import cityscapes, coco
from bpr_cli.formats.finding import SUFFIXES
from bpr_cli.formats.foreign import foreign_folder
from bpr_cli.formats.records import Results
from bpr_cli.formats.rle import RLE
from bpr_cli.limits import MAX_PIXELS

__all__ = ["check_output", "read_results", "write_results"]


def read_results(path: Path, max_pixels: int = MAX_PIXELS, *, skip_bad: bool = False) -> Results:
    """Read results or ground truth; the format is seen from the content.

    Args:
        path: a COCO or LVIS JSON file, or a Cityscapes folder.
        max_pixels: larger images of instance ids, which are decoded here, are refused.
        skip_bad: of a JSON file, leave out what cannot be used, and name it in `Results.skipped`.

    Raises:
        InputError: it cannot be used; names file, image id and index.
    """
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise InputError("this is an image", file=path, remedy="Give its masks with --mask, or a COCO JSON file")
    if not path.is_dir():
        return coco.read(path, skip_bad=skip_bad)
    if cityscapes.is_folder_of_truth(path):
        return cityscapes.read_truth(path, max_pixels)
    is_cityscapes = any(cityscapes.image_name(file.name) for file in path.rglob("*.txt"))
    if not is_cityscapes and (found := foreign_folder(path)):
        raise InputError(f"this is {found.name}", file=path, remedy=found.remedy)
    if cityscapes.is_folder_of_results(path):
        return cityscapes.read_results(path)
    raise InputError(
        "the folder holds neither Cityscapes results (*.txt) nor ground truth (*_instanceIds.png)",
        file=path,
        remedy="Give such a folder, or a COCO JSON file",
    )


def check_output(results: Results, out: Path) -> None:
    """Make sure, before the work, that `write_results` could write there; InputError if not."""
    results.source.check_output(out)


def write_results(results: Results, segmentations: Sequence[RLE | None], out: Path) -> None:
    """Write results in the form they were read in, with new masks by index (None: as it was).

    Raises:
        InputError: `out` cannot be written, or is the input.
    """
    results.source.write(segmentations, out)
