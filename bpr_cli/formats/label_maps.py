"""Label maps: PNGs whose pixels are indices, of objects (VOC's SegmentationObject, DAVIS) or of classes (ADE20K, ...).

What an index means is told by the form. A palette whose colour 0 is black, and grey of 16 bits, number objects, and 0
is the background. Grey of 8 bits and any other palette number classes, of which 0 is one; so do folders called
SegmentationClass. 255 of 8 bits is void in either: never changed, never claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder
from bpr_cli.formats.folders import write_file
from bpr_cli.formats.image_files import BROKEN, damage, open_image, read_bytes
from bpr_cli.formats.label_pixels import INDEXED, VOID, LabelPixels, read_labels, write_labels
from bpr_cli.formats.mask_pixels import is_flat, levels_of
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, decode_rle
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.masks import Mask
from bpr_cli.notices import warn_of_input

OBJECTS: Final = "object-maps"
CLASSES: Final = "class-maps"
Kind = Literal["object-maps", "class-maps"]
SAMPLES = 20  # maps of a folder that tell what it is
CLASS_FOLDERS = {"SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG"}
OBJECT_FOLDERS = {"SegmentationObject", "SegmentationObjectPNG"}
PHOTO_FOLDER = "JPEGImages"  # VOC's and DAVIS'
NOTES: dict[str, str] = {
    OBJECTS: "a map: each of its values was taken for an object, 0 for the background; 255 is left as it is",
    CLASSES: "a map: each of its values was taken for a class, 0 too; 255 is left as it is",
}
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class LabelFile(NamedTuple):
    """One map.

    Attributes:
        path: of the file.
        target: its path in the output's folder.
        numbers: index of an instance -> the number that its pixels have.
    """

    path: Path
    target: Path
    numbers: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """Maps that were read, to be written in the same form.

    Attributes:
        path: the folder, or the one map.
        files: in order.
        kind: of objects, or of classes.
    """

    path: Path
    files: tuple[LabelFile, ...]
    kind: Kind

    def check_output(self, out: Path) -> None:
        """Make sure that `write` could write there; InputError if not, or if an input would be replaced."""
        if out.exists() and not out.is_dir():
            raise InputError("the output is a file", file=out, remedy="Name a folder with -o")
        source, target = self.path.resolve(), out.resolve()
        if self.path.is_dir() and (target == source or source in target.parents or target in source.parents):
            raise InputError("the output and the input lie in each other", file=out, remedy="Choose another -o")
        ensure_folder(out)
        for file in self.files:
            if (out / file.target).exists() and (out / file.target).samefile(file.path):
                raise InputError("the output would replace this input", file=file.path, remedy="Choose another -o")

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. Each map has its mode and palette; one without a new mask is copied as it is."""
        self.check_output(out)
        for file in self.files:
            target = out / file.target
            target.parent.mkdir(parents=True, exist_ok=True)
            new = {index: rle for index in file.numbers if (rle := segmentations[index]) is not None}
            if not new:
                write_file(target, file.path.read_bytes())
                continue
            masks = [(file.numbers[index], decode_rle(rle)) for index, rle in new.items()]
            background = 0 if self.kind == OBJECTS else None
            write_labels(file.path, painted(read_labels(file.path), masks, background), target)


def painted(labels_HW: NDArray[Any], masks: Sequence[tuple[int, Mask]], background: int | None) -> NDArray[Any]:
    """A map with new masks in place of those of their numbers; VOID stays.

    Args:
        labels_HW: (H, W), any unsigned integers.
        masks: numbers with their new masks, no two of which share a pixel.
        background: what pixels become that none of these numbers has any longer; None: they stay as they are.
    """
    painted_HW = labels_HW.copy()
    if background is not None:
        painted_HW[np.isin(labels_HW, [number for number, _ in masks])] = background
    for number, mask in masks:
        x1, y1, x2, y2 = mask.box_xyxy
        painted_HW[y1:y2, x1:x2][mask.pixels_HW.view(np.bool_)] = number
    if labels_HW.dtype == np.uint8:
        painted_HW[labels_HW == VOID] = VOID
    return painted_HW


def is_folder(folder: Path) -> bool:
    """Whether a folder holds label maps: PNGs of indices and no other images, by their names and some of the files."""
    return _folder_kind(folder, _maps_below(folder)) is not None


def read_folder(folder: Path, options: ReadOptions) -> Results:
    """Read a folder of label maps, sub-folders too. An image's id is its map's path in it, without the ending.

    Each object is an instance; of classes each connected part (`label_pixels.SMALL_PART`), since patches, caution and
    the check against the photo go by an object's size and surroundings.

    Raises:
        InputError: a map that cannot be read, or is of another kind than the others.
    """
    paths = _maps_below(folder)
    kind = _folder_kind(folder, paths)
    if kind is None:
        raise InputError("the folder holds no label maps", file=folder, remedy="See examples/FORMATS.md")
    if not {folder.name, folder.parent.name} & (CLASS_FOLDERS | OBJECT_FOLDERS):
        warn_of_input(NOTES[kind], folder)
    return _read(folder, [(path, path.relative_to(folder)) for path in paths], kind, options)


def read_map(photo: Path, path: Path, max_pixels: int = MAX_PIXELS) -> Results | None:
    """One photo and a map of its objects; None if the image is none, but a mask or something else.

    Args:
        photo: its file name is the image's id.
        path: the map.
        max_pixels: larger ones are refused.
    """
    if not _shows_objects(path, max_pixels):
        return None
    warn_of_input(NOTES[OBJECTS], path)
    return _read(path, [(path, Path(path.name))], OBJECTS, ReadOptions(max_pixels=max_pixels), photo.name)


def _read(
    root: Path, paths: Sequence[tuple[Path, Path]], kind: Kind, options: ReadOptions, image_id: str | None = None
) -> Results:
    entries: list[ImageInstances] = []
    files: list[LabelFile] = []
    skipped: list[Skipped] = []
    count = 0
    for path, relative in paths:
        try:
            labels_HW = read_labels(path, max_pixels=options.max_pixels)
        except InputError as error:
            if not options.skip_bad:
                raise
            skipped.append(Skipped(images=1, lines=(str(error),)))
            files.append(LabelFile(path, relative, {}))
            continue
        height, width = labels_HW.shape
        name = image_id or relative.with_suffix("").as_posix()
        found = _objects(path, labels_HW) if kind == OBJECTS else _parts(path, labels_HW)
        instances = tuple(
            Instance(count + place, name, pixels, category, _score(kind, number), False, {}, path)
            for place, (pixels, number, category) in enumerate(found)
        )
        files.append(LabelFile(path, relative, {count + place: number for place, (_, number, _) in enumerate(found)}))
        count += len(found)
        has_void = kind == OBJECTS and labels_HW.dtype == np.uint8 and (labels_HW == VOID).any()
        void = Instance(-1, name, LabelPixels(path, VOID), None, None, False, {}, path) if has_void else None
        entries.append(ImageInstances(ImageRecord(name, image_id, height, width), instances, void))
    known = {i.category_id for entry in entries for i in entry.instances}
    return Results(
        root,
        kind,
        tuple(entries),
        count,
        dict(enumerate(VOC_CLASSES, 1)) if kind == OBJECTS and known - {None} else {},
        LabelMaps(root, tuple(files), kind),
        skipped=Skipped.joined(skipped),
        photos=photos_beside(root),
        layout="objects" if kind == OBJECTS else "segments",
    )


def _score(kind: Kind, number: int) -> float | None:
    """Class 0 is mostly what is around the others: as a detection of no score it crowds nothing, and yields to all."""
    return 0.0 if kind == CLASSES and number == 0 else None


def _objects(path: Path, labels_HW: NDArray[Any]) -> list[tuple[LabelPixels, int, int | None]]:
    """Pixels, number and class of each object; the class where VOC's map of classes lies beside."""
    is_byte = labels_HW.dtype == np.uint8
    numbers = [number for number in levels_of(labels_HW).tolist() if number and not (is_byte and number == VOID)]
    beside = path.parent.parent / "SegmentationClass" / path.name
    classes_HW = None
    if path.parent.name == "SegmentationObject" and beside.is_file():
        classes_HW = read_labels(beside)
    found: list[tuple[LabelPixels, int, int | None]] = []
    for number in numbers:
        category = None
        if classes_HW is not None and classes_HW.shape == labels_HW.shape:
            counts = np.bincount(classes_HW[labels_HW == number], minlength=len(VOC_CLASSES) + 1)
            likeliest = int(counts[1 : len(VOC_CLASSES) + 1].argmax()) + 1
            category = likeliest if counts[likeliest] else None
        found.append((LabelPixels(path, number), number, category))
    return found


def _parts(path: Path, labels_HW: NDArray[Any]) -> list[tuple[LabelPixels, int, int | None]]:
    """Pixels, number and class of each part of a class."""
    parts, places = np.unique(read_labels(path, "parts"), return_index=True)
    classes = labels_HW.flat[places]
    return [
        (LabelPixels(path, part, "parts"), number, number)
        for part, number in zip(parts.tolist(), classes.tolist(), strict=True)
        if part
    ]


def photos_beside(root: Path) -> Path | None:
    """The folder of photos of a data set in VOC's or DAVIS' form."""
    beside = (parent / PHOTO_FOLDER for parent in (root.parent, root.parent.parent))
    return next((folder for folder in beside if folder.is_dir()), None)


def _maps_below(folder: Path) -> list[Path]:
    """Files that are not hidden, in order of their paths; none if there are others than PNGs."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return found if all(path.suffix.lower() == ".png" for path in found) else []


def _folder_kind(folder: Path, paths: Sequence[Path]) -> Kind | None:
    """What some of a folder's PNGs number; None if they do not number anything."""
    some = [paths[place] for place in np.linspace(0, len(paths) - 1, min(SAMPLES, len(paths))).round().astype(int)]
    some = [path for path in some if damage(read_bytes(path)) is None]
    modes = [_mode_and_palette(path) for path in some]
    if not modes or None in modes:
        return None
    if {folder.name, folder.parent.name} & CLASS_FOLDERS:
        return CLASSES
    if {folder.name, folder.parent.name} & OBJECT_FOLDERS:
        return OBJECTS
    if set(modes) == {"objects"}:
        return OBJECTS
    maps = [read_labels(path) for path in some]
    if not all(map(_is_of_areas, maps)):
        return None
    used = np.unique(np.concatenate([levels_of(labels_HW) for labels_HW in maps]))
    if set(modes) == {"I;16"}:
        return OBJECTS if used[0] == 0 and len(used) > 2 else None
    if set(modes) == {"classes"}:
        return CLASSES
    # Grey: masks have one value beside 0, trimaps and stretched maps leave gaps everywhere.
    classes = used[used != VOID]
    is_more = len(classes) > 2 or (len(classes) == 2 and VOID in used)
    return CLASSES if set(modes) == {"L"} and is_more and np.diff(classes).min() == 1 else None


def _mode_and_palette(path: Path) -> str | None:
    """ "L", "I;16", or what a colourful palette stands for ("objects", "classes"); None for other images."""
    try:
        with open_image(path) as image:
            if image.format != "PNG" or image.mode not in INDEXED or "transparency" in image.info:
                return None
            if image.mode != "P":
                return "L" if image.mode == "L" else "I;16"
            return _palette_kind(image)
    except BROKEN:
        return None


def _palette_kind(image: Image.Image) -> str:
    # As the header has it: asking Pillow for the palette would decode the image, however large it is.
    stored = b"" if image.palette is None else bytes(image.palette.palette)
    colours = np.frombuffer(stored[: len(stored) // 3 * 3] or bytes(3), np.uint8).reshape(-1, 3)
    if not np.ptp(colours.astype(np.int64), axis=1).any():
        return "L"  # greys: the indices are what it says
    return "objects" if not colours[0].any() else "classes"


def _is_of_areas(labels_HW: NDArray[Any]) -> bool:
    """Whether a map's numbers, but for the least and the most, lie in areas, as a soft mask's do not."""
    levels = levels_of(labels_HW)
    between_HW = (labels_HW > levels[0]) & (labels_HW < levels[-1])
    return not between_HW.any() or is_flat(labels_HW, between_HW)


def _shows_objects(path: Path, max_pixels: int) -> bool:
    """Whether a single image is a map of several objects, beyond doubt."""
    mode = _mode_and_palette(path)
    if mode not in ("L", "I;16", "objects"):
        return False
    labels_HW = read_labels(path, max_pixels=max_pixels)
    levels = levels_of(labels_HW)
    has_void = labels_HW.dtype == np.uint8 and VOID in levels
    numbers = levels[(levels > 0) & ~((levels == VOID) & has_void)]
    if mode == "objects":
        return len(numbers) > 1 or (len(numbers) == 1 and bool(has_void))
    # Grey levels far from each other may be anything: a trimap, a soft mask of a few levels.
    is_dense = levels[0] == 0 and len(numbers) > 1 and numbers[-1] <= 2 * len(numbers)
    return bool(is_dense and is_flat(labels_HW, (labels_HW > 0) & (labels_HW < numbers[-1])))
