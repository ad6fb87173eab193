"""Cityscapes: folders of results (a text file an image, a mask image a detection) and of ground truth.

The layout is the benchmark's own: each line of a text file is `mask.png labelID score`, the path relative to the
text file; ground truth is `*_instanceIds.png`, where 26003 is the fourth car and 26 a group of cars.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpr_cli.errors import InputError
from bpr_cli.formats.folders import check_folder_output, write_file
from bpr_cli.formats.image_files import BROKEN, check_pixels, damage, open_image, read_bytes
from bpr_cli.formats.images import image_size
from bpr_cli.formats.mask_images import mask_file
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results
from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.masks import crop_mask
from bpr_cli.notices import warn_of_input

RESULTS, TRUTH = "cityscapes-results", "cityscapes-gt"
TRUTH_FILES = "*_instanceIds.png"
TRUTH_PATH = "path"  # field of an image of the ground truth: its file

# Label ids and names of the classes that the benchmark scores (cityscapesscripts, labels.py).
CLASSES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
IMAGE_NAME = re.compile(r"(?P<city>.+)_\d{6}_\d{6}")
RESULT_LINE = re.compile(r"\S+\.\w+\s+[0-9.]+\s+[0-9.eE+-]+\s*$")  # mask.png labelID score
GROUP_END = 1000  # smaller ids are groups of objects that nobody told apart


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One image's text file: its path in the folder, its text, and the mask of each line (by index of the instance).

    In the text, masks are named relative to the file, so that a copy of it names the masks beside the copy.
    """

    path: Path
    text: str
    masks: dict[int, Path]


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """A folder of results: its text files, and the instances by index."""

    path: Path
    files: tuple[ResultFile, ...]
    instances: Mapping[int, Instance]

    def check_output(self, out: Path) -> None:
        """See `folders.check_folder_output`."""
        check_folder_output(self.path, out)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """Write a folder like the one that was read: same text files, new masks of 0 and 255, same names.

        A mask whose segmentation is None keeps its foreground; one that cannot be read is copied as it is. A text file
        comes after its masks, so that what a crash leaves names nothing that is missing.

        Raises:
            InputError: see `check_output`.
        """
        self.check_output(out)
        for file in self.files:
            for index, relative in file.masks.items():
                write_file(out / relative, mask_file(self.instances[index], segmentations[index]))
            write_file(out / file.path, file.text.encode())


@dataclass(frozen=True, slots=True)
class TruthFolder:
    """A folder of ground truth, which nobody refines."""

    path: Path

    def check_output(self, out: Path) -> None:
        """There is none: InputError."""
        raise InputError(
            "this is ground truth, which has nothing to refine", file=self.path, remedy="Give a folder of results"
        )

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `check_output`."""
        self.check_output(out)


def is_folder_of_results(folder: Path) -> bool:
    """Whether there are text files of results in it."""
    return any(_is_of_results(path) for path in _text_files(folder))


def _text_files(folder: Path) -> list[Path]:
    found = folder.rglob("*.txt")
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _is_of_results(path: Path) -> bool:
    """By its name, or by its first line: README.txt, say, is none."""
    if image_name(path.name) is not None:
        return True
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").lstrip().split("\n", 1)
    except OSError:
        return False
    return RESULT_LINE.match(lines[0]) is not None


def is_folder_of_truth(folder: Path) -> bool:
    """Whether there are instance images in it."""
    return any(folder.rglob(TRUTH_FILES))


def image_name(file_name: str) -> str | None:
    """City, sequence and frame, which name an image in all of Cityscapes' files; None if they are not there."""
    found = IMAGE_NAME.match(Path(file_name).name)
    return found[0] if found else None


def read_results(folder: Path, _: ReadOptions) -> Results:
    """Read a folder of results; instances are in the order of the text files' names, then of their lines.

    Raises:
        InputError: a line that cannot be used, a mask listed twice or missing, two text files for one image.
    """
    entries: list[ImageInstances] = []
    files: list[ResultFile] = []
    seen: dict[Path, str] = {}
    names: dict[str, Path] = {}
    count = 0
    for path in _text_files(folder):
        if not _is_of_results(path):
            warn_of_input("no text file of results; left out", path)
            continue
        name = image_name(path.name)
        if name is None:
            raise InputError(
                "the file's name tells no image", file=path, remedy="Name it city_000000_000019_pred.txt or the like"
            )
        if name in names:
            raise InputError(f"the image has another file, {names[name]}", file=path, remedy="Keep one of them")
        names[name] = path
        instances: list[Instance] = []
        lines = _text(path).splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                instance = _instance(path, number, line, name, count + len(instances), folder, seen)
                instances.append(instance)
                lines[number - 1] = _with_relative_mask(line, instance.segmentation, path)
        count += len(instances)
        size = _size(instances)
        city = IMAGE_NAME.fullmatch(name)
        record = ImageRecord(name, f"{name}_leftImg8bit.png", *size, {"city": city["city"] if city else ""})
        entries.append(ImageInstances(record, tuple(instances)))
        masks = {item.index: item.segmentation.relative_to(folder) for item in instances}
        files.append(ResultFile(path.relative_to(folder), "".join(lines), masks))
    source = ResultsFolder(folder, tuple(files), {item.index: item for entry in entries for item in entry.instances})
    return Results(folder, RESULTS, tuple(entries), count, CLASSES, source)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        # Byte order marks, as Windows' editors and PowerShell write them.
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if is_wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy="Write the file again") from error


def _with_relative_mask(line: str, mask: Path, text_file: Path) -> str:
    """The line as it is, or with the mask's path from the text file's folder in place of another form of it."""
    named = line.split()[0]
    if not Path(named).is_absolute() and "\\" not in named:
        return line
    relative = Path(os.path.relpath(mask, text_file.parent)).as_posix()
    return line.replace(named, relative, 1)


def _instance(
    path: Path, number: int, line: str, name: str, index: int, folder: Path, seen: dict[Path, str]
) -> Instance:
    problem = f"line {number}: "
    parts = line.split()
    if len(parts) != 3:
        raise InputError(
            problem + f"{line.strip()!r} is not three words", file=path, remedy="Write mask.png labelID score"
        )
    if not line.isprintable() and any(ord(letter) < 32 and not letter.isspace() for letter in line):
        raise InputError(
            problem + f"{line.strip()!r} has control characters",
            file=path,
            remedy="The file is damaged: write it again",
        )
    try:
        mask = (path.parent / parts[0]).resolve()
        if "\\" in parts[0] and not mask.is_file():  # as Windows writes paths
            mask = (path.parent / parts[0].replace("\\", "/")).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise InputError(
            problem + f"{parts[0]} leads nowhere ({error})", file=path, remedy="Write its path anew"
        ) from error
    if not mask.is_relative_to(folder.resolve()):
        raise InputError(problem + f"{parts[0]} lies outside the folder", file=path, remedy="Keep masks inside it")
    if not mask.is_file():
        raise InputError(
            problem + f"there is no mask {parts[0]}", file=path, remedy="Check the path, relative to this file"
        )
    if mask in seen:
        raise InputError(
            problem + f"the mask {parts[0]} is listed before, in {seen[mask]}",
            file=path,
            remedy="Write a mask a detection",
        )
    seen[mask] = f"{path.name}, line {number}"
    try:
        label, score = float(parts[1]), float(parts[2])
    except ValueError:
        label = score = math.nan
    if label not in CLASSES or not math.isfinite(score):
        known = ", ".join(f"{key} {value}" for key, value in CLASSES.items())
        raise InputError(
            problem + f"{parts[1]!r} {parts[2]!r} is not a label id and a score",
            file=path,
            remedy=f"Label ids are {known}",
        )
    relative = folder / mask.relative_to(folder.resolve())
    return Instance(index, name, relative, int(label), score, False, {}, path)


def _size(instances: Sequence[Instance]) -> tuple[int | None, int | None]:
    return image_size(instances[0].segmentation) if instances else (None, None)


def read_truth(folder: Path, options: ReadOptions) -> Results:
    """Read ground truth: objects of the scored classes; groups are crowds.

    Raises:
        InputError: an instance image that cannot be read or named, or is larger than `options.max_pixels`.
    """
    entries = []
    paths: dict[int | str, Path] = {}
    count = 0
    for path in sorted(folder.rglob(TRUTH_FILES)):
        name = image_name(path.name)
        if name is None or name in paths:
            problem = "the file's name tells no image" if name is None else f"the image has another file, {paths[name]}"
            raise InputError(problem, file=path, remedy="Keep Cityscapes' own names, each image once")
        paths[name] = path
        ids_HW = _ids(path, options.max_pixels)
        height, width = ids_HW.shape
        instances: list[Instance] = []
        for number in np.unique(ids_HW).tolist():
            label = number if number < GROUP_END else number // GROUP_END
            if label not in CLASSES:
                continue
            rle = encode_rle(crop_mask(ids_HW == number, 0, 0, height, width))
            is_group = number < GROUP_END
            instances.append(Instance(count + len(instances), name, rle, label, None, is_group, {}, path))
        count += len(instances)
        city = IMAGE_NAME.fullmatch(name)
        fields = {"city": city["city"] if city else "", "file": path.name, TRUTH_PATH: str(path)}
        record = ImageRecord(name, f"{name}_leftImg8bit.png", height, width, fields)
        entries.append(ImageInstances(record, tuple(instances)))
    return Results(folder, TRUTH, tuple(entries), count, CLASSES, TruthFolder(folder))


def _ids(path: Path, max_pixels: int) -> NDArray[np.int32]:
    data = read_bytes(path)
    check_pixels(*image_size(path), max_pixels, path)
    if (problem := damage(data)) is not None:
        raise InputError(f"cannot be read ({problem})", file=path, remedy="Copy the file again")
    try:
        with open_image(io.BytesIO(data)) as image:
            ids_HW = np.asarray(image).astype(np.int32)
    except BROKEN as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy="Copy the file again") from error
    if ids_HW.ndim != 2:
        raise InputError("has colours, not instance ids", file=path, remedy="Give Cityscapes' *_instanceIds.png")
    return ids_HW


def with_label_ids(results: Results) -> Results:
    """COCO results on Cityscapes images, with image ids and label ids as in the ground truth's folder.

    Images are told by their file names (or ids) `city_000000_000019...`, classes by name where the input tells
    names, else by label id.

    Raises:
        InputError: an image or a class that cannot be told.
    """
    if results.kind == RESULTS:
        return results
    labels = {name: label for label, name in CLASSES.items()}
    entries: dict[str, list[Instance]] = defaultdict(list)
    records: dict[str, ImageRecord] = {}
    for entry in results.images:
        name = image_name(entry.image.file_name or str(entry.image.id))
        if name is None:
            raise InputError(
                "the image's file name is not known",
                file=results.path,
                image_id=entry.image.id,
                remedy="Give a COCO JSON with the images' file names with --image-info",
            )
        records[name] = entry.image
        for instance in entry.instances:
            number = instance.category_id
            named = None if number is None else results.categories.get(number)
            label = number if named is None else labels.get(named)
            if label not in CLASSES:
                raise InputError(
                    f"category {number} is none of Cityscapes' classes",
                    file=results.path,
                    image_id=entry.image.id,
                    index=instance.index,
                    remedy="Give a COCO JSON with categories by name with --image-info, or use label ids",
                )
            entries[name].append(replace(instance, image_id=name, category_id=label))
    images = tuple(ImageInstances(replace(record, id=name), tuple(entries[name])) for name, record in records.items())
    return replace(results, images=images, categories=CLASSES)
