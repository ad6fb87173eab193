"""COCO JSON: a results list, or a dataset dict with images and annotations."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.formats.fields import as_category, as_id, as_side, described, differing_kinds, is_finite
from bpr_cli.formats.foreign import foreign_object, foreign_records
from bpr_cli.formats.json_files import check_output, dump, load, refuse
from bpr_cli.formats.outlines import mask_polygons
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, MaskForm, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, decode_rle, rle_size
from bpr_cli.masks import bbox_xywh

RESULTS, DATASET = "coco-results", "coco-dataset"
NAMED = 5  # keys of an unknown object named in an error


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The parsed file: fields that are not ours stay as they were.

    Attributes:
        path: where it was read.
        document: the list of results, or the dataset.
        form: of the masks that are written.
    """

    path: Path
    document: list[Any] | dict[str, Any]
    form: MaskForm = "same"

    def check_output(self, out: Path) -> None:
        """See `json_files.check_output`."""
        check_output(self.path, out, self.document)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. `bbox` and `area`, where a record has them, follow the new mask."""
        self.check_output(out)
        document = self.document
        records = document if isinstance(document, list) else document["annotations"]
        updated = [
            record if rle is None else with_mask(record, rle, self.form)
            for record, rle in zip(records, segmentations, strict=True)
        ]
        try:
            dump(updated if isinstance(document, list) else {**document, "annotations": updated}, out)
        except RecursionError as error:
            raise InputError("a record is nested too deeply to be written", file=self.path) from error


def read(document: Any, path: Path, options: ReadOptions) -> Results:
    """Read a COCO results list or dataset dict; which of them is seen from the content.

    Args:
        document: as `json_files.load` gives it.
        path: the file, for error messages.
        options: `skip_bad` leaves out images and records that cannot be used.

    Raises:
        InputError: neither of the two, or a record that cannot be used; names file, image id, index.
    """
    bad: list[Skipped] | None = [] if options.skip_bad else None
    if isinstance(document, list):
        refuse(foreign_records(document), path)
        instances = _instances(document, path, bad)
        images = images_of_results(instances, path)
        grouped = group(images, instances)
        skipped = Skipped.joined(bad or ())
        return Results(path, RESULTS, grouped, len(document), {}, CocoFile(path, document), skipped=skipped)
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        return _dataset(document, path, bad)
    refuse(foreign_object(document) if isinstance(document, dict) else None, path)
    found = described(document)
    if isinstance(document, dict):
        found = f"an object with {', '.join(key[:40] for key in list(document)[:NAMED]) or 'nothing in it'}"
    raise InputError(
        f"neither a list of results nor a dataset with the lists images and annotations (found {found})",
        file=path,
        remedy="See examples/FORMATS.md for what the input looks like",
    )


def _dataset(document: dict[str, Any], path: Path, bad: list[Skipped] | None) -> Results:
    annotations = document.get("annotations")
    if not isinstance(annotations, list):
        problem = "there are no annotations" if annotations is None else "annotations is not a list"
        raise InputError(problem, file=path, remedy="Give a dataset with annotations, or a list of results")
    refuse(foreign_records(annotations), path)
    images = images_of_dataset(document["images"], path, bad)
    categories, frequencies, synsets = categories_of(document, path)
    if frequencies:
        _check_lvis_images(images.values(), path)
    return Results(
        path,
        DATASET,
        group(images, _instances(annotations, path, bad, images)),
        len(annotations),
        categories,
        CocoFile(path, document),
        frequencies,
        synsets,
        Skipped.joined(bad or ()),
    )


def group(images: Mapping[int | str, ImageRecord], instances: Iterable[Instance]) -> tuple[ImageInstances, ...]:
    """The images with their instances, each in the file's order."""
    grouped: dict[int | str, list[Instance]] = {image_id: [] for image_id in images}
    for instance in instances:
        grouped[instance.image_id].append(instance)
    return tuple(ImageInstances(images[image_id], tuple(found)) for image_id, found in grouped.items())


def _instances(
    records: Sequence[Any], path: Path, bad: list[Skipped] | None, images: Collection[int | str] | None = None
) -> list[Instance]:
    """The records that can be used; `bad` gains a line for each other one, or else that is an error.

    Args:
        images: ids that there are; None: any will do.
    """
    found = []
    for index, record in enumerate(records):
        try:
            instance = _instance(record, index, path)
            if images is not None and instance.image_id not in images:
                raise InputError(
                    f"its image id is not among the images{differing_kinds(instance.image_id, images)}",
                    file=path,
                    image_id=instance.image_id,
                    index=index,
                    remedy="Add the image or remove the annotation",
                )
        except InputError as error:
            if bad is None:
                raise
            bad.append(Skipped(instances=1, lines=(str(error),)))
            continue
        found.append(instance)
    return found


def _instance(record: Any, index: int, path: Path) -> Instance:
    image_id = _image_id(record, index, path)

    def fault(problem: str, remedy: str) -> InputError:
        return InputError(problem, file=path, image_id=image_id, index=index, remedy=remedy)

    if record.get("segmentation") is None:
        raise fault("there is no segmentation", "Give instance segmentation results, not boxes alone")
    score = record.get("score")
    if score is not None and not is_finite(score):
        raise fault(f"the score is {described(score)}", "Write a finite number")
    category = as_category(record.get("category_id"))
    if category is None and record.get("category_id") is not None:
        raise fault(f"the category id is {described(record['category_id'])}", "Write an integer")
    iscrowd = record.get("iscrowd")
    if iscrowd not in (None, 0, 1):
        raise fault(f"iscrowd is {described(iscrowd)}", "Write 0 or 1")
    return Instance(index, image_id, record["segmentation"], category, score, bool(iscrowd), record, path)


def _image_id(record: Any, index: int, path: Path) -> int | str:
    if not isinstance(record, dict):
        raise InputError(
            f"it is {described(record)}, not an object", file=path, index=index, remedy="See examples/FORMATS.md"
        )
    value = record.get("image_id")
    image_id = as_id(value)
    if image_id is None:
        missing = " or missing" if value is None else ""
        raise InputError(
            f"its image_id is {described(value)}{missing}",
            file=path,
            index=index,
            remedy="Write an integer or a string",
        )
    return image_id


def images_of_results(instances: Iterable[Instance], path: Path) -> dict[int | str, ImageRecord]:
    """A results list has no list of images: id, size and (rarely) file_name come from its records.

    Where masks of one image differ in size, the size stays open: the photo or the ground truth tells which is wrong.
    """
    sizes: dict[int | str, set[tuple[int, int]]] = {}
    names: dict[int | str, str] = {}
    for instance in instances:
        image_id = instance.image_id
        name = _file_name(instance.fields, path, image_id, instance.index)
        if name is not None and names.setdefault(image_id, name) != name:
            raise InputError(
                f"its file_name is {name}, that of the same image was {names[image_id]} before",
                file=path,
                image_id=image_id,
                index=instance.index,
                remedy="Give each image an id of its own",
            )
        size = rle_size(instance.segmentation)
        sizes.setdefault(image_id, set()).update([size] if size else [])
    records_by_id = {}
    for image_id, found in sizes.items():
        height, width = found.pop() if len(found) == 1 else (None, None)
        records_by_id[image_id] = ImageRecord(image_id, names.get(image_id), height, width)
    return records_by_id


def _file_name(record: Mapping[str, Any], path: Path, image_id: int | str, index: int | None = None) -> str | None:
    name = record.get("file_name")
    if name is not None and not isinstance(name, str):
        raise InputError(
            f"its file_name is {described(name)}", file=path, image_id=image_id, index=index, remedy="Write a string"
        )
    return name


def images_of_dataset(
    images: Sequence[Any], path: Path, bad: list[Skipped] | None = None
) -> dict[int | str, ImageRecord]:
    records: dict[int | str, ImageRecord] = {}
    for index, image in enumerate(images):
        try:
            record = _image_record(image, index, path)
        except InputError as error:
            if bad is None:
                raise
            bad.append(Skipped(images=1, lines=(str(error),)))
            continue
        if record.id in records:
            raise InputError("the image is listed twice", file=path, image_id=record.id, remedy="Keep one of them")
        records[record.id] = record
    return records


def _image_record(image: Any, index: int, path: Path) -> ImageRecord:
    if not isinstance(image, dict):
        raise InputError(f"images[{index}] is not an object", file=path, remedy="See examples/FORMATS.md")
    image_id = as_id(image.get("id"))
    if image_id is None:
        raise InputError(
            f"images[{index}] has the id {described(image.get('id'))}",
            file=path,
            remedy="Write an integer or a string",
        )
    sides = {name: as_side(image.get(name)) for name in ("height", "width")}
    for name, side in sides.items():
        if side is None and image.get(name) is not None:
            raise InputError(
                f"its {name} is {described(image[name])}",
                file=path,
                image_id=image_id,
                remedy="Write it in pixels, or leave it out",
            )
    return ImageRecord(image_id, _file_name(image, path, image_id), sides["height"], sides["width"], image)


def categories_of(document: Mapping[str, Any], path: Path) -> tuple[dict[int, str], dict[int, str], dict[int, str]]:
    """Names, LVIS's frequency groups and synsets by id; a file is LVIS's if each of its categories has a group."""
    categories = document.get("categories")
    names: dict[int, str] = {}
    frequencies: dict[int, Any] = {}
    synsets: dict[int, str] = {}
    remedy = "Write categories as [{id, name}, ...], each id an integer"
    if categories is not None and not isinstance(categories, list):
        raise InputError(f"categories is {described(categories)}, not a list", file=path, remedy=remedy)
    for index, category in enumerate(categories or ()):
        if not isinstance(category, dict):
            raise InputError(f"category {index} is {described(category)}, not an object", file=path, remedy=remedy)
        number = as_category(category.get("id"))
        if number is None:
            problem = f"the id of category {index} is {described(category.get('id'))}"
            raise InputError(problem, file=path, remedy=remedy)
        if number in names:
            raise InputError(f"category {number} is listed twice", file=path, remedy="Keep one of them in categories")
        name = category.get("name", number)
        names[number] = name if isinstance(name, str) else reprlib.repr(name)
        frequencies[number] = category.get("frequency")
        synsets[number] = str(category.get("synset"))
    if None in frequencies.values():
        return names, {}, {}
    for number, frequency in frequencies.items():
        if frequency not in ("r", "c", "f"):
            problem = f"category {number} has the frequency {described(frequency)}"
            raise InputError(problem, file=path, remedy="LVIS knows r, c and f")
    return names, frequencies, synsets


def _check_lvis_images(images: Iterable[ImageRecord], path: Path) -> None:
    for image in images:
        for name in ("neg_category_ids", "not_exhaustive_category_ids"):
            numbers = image.fields.get(name, [])
            if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
                raise InputError(
                    f"its {name} are {described(numbers)}, not a list of integers",
                    file=path,
                    image_id=image.id,
                    remedy="Write category ids",
                )


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Images and classes of a dataset, for results that lack them.

    Attributes:
        path: the dataset.
        images: by id.
        categories: id -> name.
    """

    path: Path
    images: Mapping[int | str, ImageRecord]
    categories: Mapping[int, str]


def read_image_info(path: Path) -> ImageInfo:
    """Read a COCO JSON file with `images`; its annotations, if it has any, are not looked at.

    Raises:
        InputError: it has no list of images.
    """
    document = load(path)
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise InputError("there is no list of images", file=path, remedy="Give a COCO JSON file with images")
    return ImageInfo(path, images_of_dataset(document["images"], path), categories_of(document, path)[0])


def with_image_info(results: Results, info: ImageInfo) -> Results:
    """Results whose images take file name, size and other fields, and classes their names, from a dataset.

    Raises:
        InputError: it lacks one of the results' images.
    """
    entries = []
    for entry in results.images:
        if entry.image.id not in info.images:
            raise InputError(
                f"the image is not listed{differing_kinds(entry.image.id, info.images)}",
                file=info.path,
                image_id=entry.image.id,
                remedy="Give the list of these images",
            )
        entries.append(replace(entry, image=info.images[entry.image.id]))
    return replace(results, images=tuple(entries), categories=results.categories or info.categories)


def with_mask(record: Mapping[str, Any], rle: RLE, form: MaskForm) -> dict[str, Any]:
    """The record with a new mask in a form; `bbox` and `area`, where it has them, follow."""
    as_polygons = form == "polygons" or (form == "same" and isinstance(record["segmentation"], list))
    changed = {**record, "segmentation": rle}
    if as_polygons or "bbox" in record or "area" in record:
        mask = decode_rle(rle)
        # No polygons at all would be no segmentation, and the first pixel's alone would pass for fractions.
        if as_polygons and max(mask.box_xyxy) > 1:
            changed["segmentation"] = mask_polygons(mask)
        if "bbox" in record:
            changed["bbox"] = bbox_xywh(mask)
        if "area" in record:
            changed["area"] = mask.area
    return changed
