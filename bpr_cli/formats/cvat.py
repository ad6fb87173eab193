"""CVAT's XML for images (version 1.1): polygons and masks on images; all else in it is kept.

Shapes of one label and one `group_id` are parts of one object, as in CVAT's own export to COCO.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from bpr_cli.errors import InputError
from bpr_cli.files import check_file_output
from bpr_cli.formats import xml_files
from bpr_cli.formats.classes import LABEL, with_class_ids
from bpr_cli.formats.cvat_shapes import MASK, POLYGON, Shapes, mask_attributes, polygon_points
from bpr_cli.formats.fields import as_side, described
from bpr_cli.formats.outlines import mask_polygons
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, decode_rle
from bpr_cli.formats.shapes import objects, with_parts
from bpr_cli.masks import Mask
from bpr_cli.notices import warn_of_input

KIND = "cvat"
GROUP = "group_id"
OTHER_SHAPES = "shapes that are neither polygons nor masks (boxes, lines, points) stay as they were"
EMPTY = "a mask became empty, for which there is no shape: it stays as it was"


@dataclass(frozen=True, slots=True)
class CvatFile:
    """The parsed file.

    Attributes:
        path: where it was read.
        root: its content.
        images: the images' elements by their place in the root, each with the index of its first object.
    """

    path: Path
    root: Element
    images: Mapping[int, int]

    def check_output(self, out: Path) -> None:
        """See `check_file_output`."""
        check_file_output(self.path, out, "an XML")

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. Each part of a new mask is a shape, with all but its points from an old one."""
        self.check_output(out)
        root = copy.copy(self.root)
        for place, first in self.images.items():
            count = len(_objects(self.root[place]))
            new = {n: rle for n, rle in enumerate(segmentations[first : first + count]) if rle is not None}
            root[place] = _with_masks(self.root[place], new, self.path)
        try:
            xml_files.dump(root, out)
        except RecursionError as error:
            raise InputError("an element is nested too deeply to be written", file=self.path) from error


def is_annotations(root: Element) -> bool:
    """Whether it is CVAT's."""
    return root.tag == "annotations"


def read(root: Element, path: Path, options: ReadOptions) -> Results:
    """Read the images with their polygons and masks; an image's id is its name.

    Raises:
        InputError: it is of a video, or an image or shape lacks what it needs.
    """
    if root.find("track") is not None:
        raise InputError(
            "this is CVAT XML of a video (tracks)", file=path, remedy="Export the task as CVAT for images 1.1"
        )
    entries: list[ImageInstances] = []
    starts: dict[int, int] = {}
    seen: set[int | str] = set()
    skipped: list[Skipped] = []
    count = 0
    for place, element in enumerate(root):
        if element.tag != "image":
            continue
        try:
            entry = _image(element, path, count)
            if entry.image.id in seen:
                raise InputError("the image is listed twice", file=path, image_id=entry.image.id, remedy="Keep one")
        except InputError as error:
            if not options.skip_bad:
                raise
            skipped.append(Skipped(images=1, lines=(str(error),)))
            continue
        seen.add(entry.image.id)
        starts[place] = count
        count += len(entry.instances)
        entries.append(entry)
    images, categories = with_class_ids(entries)
    source = CvatFile(path, root, starts)
    return Results(path, KIND, images, count, categories, source, skipped=Skipped.joined(skipped))


def _image(element: Element, path: Path, first: int) -> ImageInstances:
    attributes = element.attrib
    name = attributes.get("name")
    if name is None:
        raise InputError(f"an image has no name: {described(dict(attributes))}", file=path, remedy="Export it again")
    for shape in element:
        if shape.tag in (POLYGON, MASK) and LABEL not in shape.attrib:
            raise InputError(f"a {shape.tag} has no label", file=path, image_id=name, remedy="Export it again")
        if shape.tag not in (POLYGON, MASK, "tag") and LABEL in shape.attrib:
            warn_of_input(OTHER_SHAPES, path)
    instances = []
    for index, places in enumerate(_objects(element), first):
        shapes = [element[place] for place in places]
        fields = {LABEL: shapes[0].attrib[LABEL]}
        segmentation = Shapes(tuple((shape.tag, shape.attrib) for shape in shapes))
        instances.append(Instance(index, name, segmentation, None, None, False, fields, path))
    sides = as_side(attributes.get("height")), as_side(attributes.get("width"))
    return ImageInstances(ImageRecord(name, name, *sides, dict(attributes)), tuple(instances))


def _objects(image: Element) -> list[list[int]]:
    """The places of each object's shapes among an image's children."""
    groups: dict[int, Any] = {}
    for place, shape in enumerate(image):
        if shape.tag in (POLYGON, MASK):
            group = shape.attrib.get(GROUP)
            groups[place] = None if group in (None, "", "0") else (shape.attrib.get(LABEL), group)
    return objects(groups)


def _with_masks(image: Element, new: Mapping[int, RLE], path: Path) -> Element:
    """The image with new masks of some of its objects, which may have more parts or fewer."""
    shapes, places_of = list(image), _objects(image)
    used = [shape.attrib.get(GROUP, "") for shape in shapes]
    group = max((int(number) for number in used if number.isdecimal()), default=0)
    parts_of = {}
    for number, rle in new.items():
        mask = decode_rle(rle)
        if mask.area == 0:
            warn_of_input(EMPTY, path)
            continue
        old = [shapes[place] for place in places_of[number]]
        parts = [_with(old[0], mask_attributes(mask))] if old[0].tag == MASK else _polygons(old, mask)
        if len(parts) > 1 and old[0].attrib.get(GROUP) in (None, "", "0"):
            group += 1
            parts = [_with(part, {GROUP: str(group)}) for part in parts]
        parts_of[number] = parts
    changed = copy.copy(image)
    changed[:] = with_parts(shapes, places_of, parts_of)
    return changed


def _polygons(old: Sequence[Element], mask: Mask) -> list[Element]:
    """A polygon a part, after the object's old ones; further ones after the first that is a polygon."""
    models = [shape for shape in old if shape.tag == POLYGON]
    parts = []
    for number, polygon in enumerate(mask_polygons(mask)):
        model = models[number] if number < len(models) else models[0]
        parts.append(_with(model, {"points": polygon_points(polygon)}))
    return parts


def _with(shape: Element, attributes: Mapping[str, str]) -> Element:
    changed = copy.copy(shape)
    changed.attrib = {**shape.attrib, **attributes}
    return changed
