"""Readers and writers, one module a format; all meet in `records.Results`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from bpr_cli.errors import InputError
from bpr_cli.formats import (
    cityscapes,
    coco,
    cvat,
    label_maps,
    label_studio,
    mask_folders,
    panoptic,
    parquet,
    part_folders,
    per_image,
    xml_files,
    yolo,
)
from bpr_cli.formats.finding import SUFFIXES, Folders
from bpr_cli.formats.foreign import foreign_folder
from bpr_cli.formats.json_files import load
from bpr_cli.formats.records import MaskForm, ReadOptions, Results
from bpr_cli.formats.rle import RLE
from bpr_cli.limits import MAX_PIXELS

__all__ = ["check_output", "holds_parts", "read_results", "with_masks_as", "write_results"]


class JsonFormat(NamedTuple):
    """A format of JSON files: whether a document is of it, and how it is read."""

    matches: Callable[[Any], bool]
    read: Callable[[Any, Path, ReadOptions], Results]


class XmlFormat(NamedTuple):
    """A format of XML files: whether a document is of it, by its root, and how it is read."""

    matches: Callable[[Element], bool]
    read: Callable[[Element, Path, ReadOptions], Results]


class FolderFormat(NamedTuple):
    """A format of folders: whether a folder is of it, and how it is read."""

    matches: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Results]


PARTS = FolderFormat(part_folders.is_folder, part_folders.read)

# The first that matches is taken; a document that none claims is COCO's, or is refused by its name.
JSON_FORMATS: tuple[JsonFormat, ...] = (
    JsonFormat(per_image.is_document, per_image.read_document),
    JsonFormat(label_studio.is_export, label_studio.read),
    JsonFormat(panoptic.matches, panoptic.read),
)
XML_FORMATS: tuple[XmlFormat, ...] = (XmlFormat(cvat.is_annotations, cvat.read),)
FOLDER_FORMATS: tuple[FolderFormat, ...] = (
    FolderFormat(cityscapes.is_folder_of_truth, cityscapes.read_truth),
    FolderFormat(yolo.is_label_folder, yolo.read),  # before Cityscapes: its photos too have labels of YOLO
    FolderFormat(cityscapes.is_folder_of_results, cityscapes.read_results),
    FolderFormat(per_image.is_folder, per_image.read_folder),
    FolderFormat(label_maps.is_folder, label_maps.read_folder),
    FolderFormat(mask_folders.is_folder, mask_folders.read_folder),
    PARTS,
)


def read_results(
    path: Path, max_pixels: int = MAX_PIXELS, *, skip_bad: bool = False, images: Folders | None = None
) -> Results:
    """Read results or ground truth; the format is seen from the content.

    Args:
        path: a file or a folder (examples/FORMATS.md).
        max_pixels: larger images are refused.
        skip_bad: leave out what cannot be used, and name it in `Results.skipped`.
        images: folders of the photos, or the one photo; None: where the format has them.

    Raises:
        InputError: it cannot be used; names file, image id and index.
    """
    named = () if images is None else (images,) if isinstance(images, Path) else tuple(images)
    options = ReadOptions(skip_bad, max_pixels, named)
    if path.is_dir():
        return _read_folder(path, options)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise InputError("this is an image", file=path, remedy="Give its masks with --mask, or a COCO JSON file")
    if xml_files.is_xml(path):
        root = xml_files.load(path)
        for xml_format in XML_FORMATS:
            if xml_format.matches(root):
                return xml_format.read(root, path, options)
    if parquet.is_table(path):
        return parquet.read(path, options)
    document = load(path)
    for json_format in JSON_FORMATS:
        if json_format.matches(document):
            return json_format.read(document, path, options)
    return coco.read(document, path, options)


def holds_parts(path: Path) -> bool:
    """Whether it is a folder of COCO results in parts, which need not be in memory all at once."""
    return path.is_dir() and _folder_format(path) is PARTS


def _folder_format(path: Path) -> FolderFormat | None:
    return next((folder_format for folder_format in FOLDER_FORMATS if folder_format.matches(path)), None)


def _read_folder(path: Path, options: ReadOptions) -> Results:
    if folder_format := _folder_format(path):
        return folder_format.read(path, options)
    if found := foreign_folder(path):
        raise InputError(f"this is {found.name}", file=path, remedy=found.remedy)
    raise InputError(
        "the folder holds neither Cityscapes results (*.txt) nor ground truth (*_instanceIds.png)",
        file=path,
        remedy="Give such a folder, one of mask images or label maps alone, or a COCO JSON file",
    )


def with_masks_as(results: Results, form: MaskForm) -> Results:
    """The results, to be written with masks of a form; InputError where their format knows but its own."""
    if form == "same":
        return results
    if not isinstance(results.source, coco.CocoFile):
        raise only_as_read(results.path, form)
    return replace(results, source=replace(results.source, form=form))


def only_as_read(path: Path, form: MaskForm) -> InputError:
    """The error for masks of a form that the format of an input does not know."""
    return InputError(
        f"masks are written here as they were read, not as {form}",
        file=path,
        remedy="Leave out --masks, or give a COCO JSON file",
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
