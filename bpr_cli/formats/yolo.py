"""YOLO's label files: a text file a photo, a line an object (`yolo_lines`).

As ultralytics lays data sets out: the photo of `labels/a/b.txt` is `images/a/b.jpg`, or has any other ending; where no
folder is called `labels`, photos lie beside the texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from bpr_cli.errors import InputError
from bpr_cli.formats.finding import SUFFIXES
from bpr_cli.formats.folders import check_folder_output, files_below, write_file
from bpr_cli.formats.outlines import mask_outline
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE, BrokenSegmentationError, decode_rle
from bpr_cli.formats.yolo_lines import LinePolygon, class_and_score, is_box, is_first_line, with_outline
from bpr_cli.formats.yolo_names import read_names
from bpr_cli.notices import warn_of_input

KIND = "yolo"
LABELS, IMAGES = "labels", "images"  # ultralytics' names of the two folders
YAML = (".yaml", ".yml")
HEAD_BYTES = 65_536  # that tell whether a file holds labels
BOXES = "lines with a box and no polygon stay as they were"
EMPTY = "a mask became empty, for which there is no line: it stays as it was"
OTHER = "no labels; copied as it is"


@dataclass(frozen=True, slots=True)
class LabelFile:
    """One photo's text.

    Attributes:
        path: in the folder.
        lines: with what ends them.
        places: of the instances in `lines`, in order.
        first: index of the first instance.
    """

    path: PurePath
    lines: list[str]
    places: list[int]
    first: int


@dataclass(frozen=True, slots=True)
class LabelFolder:
    """A folder of labels: its label files, and the other texts and YAML files in it, which are copied."""

    path: Path
    files: list[LabelFile]
    others: list[Path]

    def check_output(self, out: Path) -> None:
        """See `folders.check_folder_output`."""
        check_folder_output(self.path, out)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`. Parts and holes are joined by lines without area: a line holds one polygon."""
        self.check_output(out)
        for other in self.others:
            write_file(out / other.relative_to(self.path), other.read_bytes())
        for file in self.files:
            lines = list(file.lines)
            for index, place in enumerate(file.places, file.first):
                rle = segmentations[index]
                if rle is None:
                    continue
                outline = mask_outline(decode_rle(rle))
                if outline:
                    lines[place] = with_outline(lines[place], outline, *rle["size"])
                else:
                    warn_of_input(EMPTY, self.path / file.path)
            write_file(out / file.path, "".join(lines).encode())


def is_label_folder(folder: Path) -> bool:
    """Whether a text in it begins with a line of labels."""
    return any(_is_of_labels(path) for path in files_below(folder, (".txt",)))


def _is_of_labels(path: Path) -> bool:
    """By its first line, of which a long one is cut."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return False
    line, end, _ = head.decode("utf-8-sig", "replace").lstrip().partition("\n")
    return is_first_line(line if end or len(head) < HEAD_BYTES else line.rpartition(" ")[0])


def read(folder: Path, options: ReadOptions) -> Results:
    """Read a folder of labels, or a data set with `images`, `labels` and a YAML file; files in order of their names.

    An image's id is its photo's path without the ending.

    Raises:
        InputError: a line that is no label (unless bad ones are skipped), or boxes alone.
    """
    others: list[Path] = []
    names: dict[int, str] = {}
    for path in files_below(folder, YAML):
        others.append(path)
        names = names or read_names(path)
    entries: list[ImageInstances] = []
    files: list[LabelFile] = []
    seen: dict[int | str, Path] = {}
    bad: list[Skipped] | None = [] if options.skip_bad else None
    count = 0
    for path, text in _texts(folder, others):
        name = path.relative_to(folder)
        file = LabelFile(name, text.splitlines(keepends=True), [], count)
        entry = ImageInstances(ImageRecord(_photo_name(name)), tuple(_instances(path, file, bad)))
        if entry.image.id in seen:
            raise InputError(f"the photo has another file, {seen[entry.image.id]}", file=path, remedy="Keep one")
        seen[entry.image.id] = path
        entries.append(entry)
        files.append(file)
        count += len(entry.instances)
    boxes = next((file.path for file in files if file.lines), None)
    if boxes is not None and count == 0 and not bad:
        raise InputError(
            "this is YOLO's text form of boxes, which has no masks",
            file=folder / boxes,
            remedy="Give results of a segmentation model",
        )
    source = LabelFolder(folder, files, others)
    return Results(
        folder,
        KIND,
        tuple(entries),
        count,
        names,
        source,
        skipped=Skipped.joined(bad or ()),
        photos=_photos(folder, [file.path for file in files]),
    )


def _instances(path: Path, file: LabelFile, bad: list[Skipped] | None) -> Iterator[Instance]:
    """The polygons of a file, which gains their places; `bad` gains a line for each other one, or that is an error."""
    image_id = _photo_name(file.path)
    for place, line in enumerate(file.lines):
        if not line.strip():
            continue
        if is_box(line):
            warn_of_input(BOXES, path)
            continue
        try:
            category, score = class_and_score(line)
        except BrokenSegmentationError as error:
            fault = InputError(f"line {place + 1}: {error.problem}", file=path, remedy=error.remedy)
            if bad is None:
                raise fault from None
            bad.append(Skipped(instances=1, lines=(str(fault),)))
            continue
        index = file.first + len(file.places)
        file.places.append(place)
        yield Instance(index, image_id, LinePolygon(line, place + 1), category, score, False, {}, path)


def _texts(folder: Path, others: list[Path]) -> Iterator[tuple[Path, str]]:
    """The files of labels with their texts, those without lines too; `others` gains the other texts."""
    for path in files_below(folder, (".txt",)):
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read ({error})", file=path, remedy="Write the file again") from error
        if not text.strip() or is_first_line(text.lstrip().partition("\n")[0]):
            yield path, text
        else:
            warn_of_input(OTHER, path)
            others.append(path)


def _photo_name(label: PurePath) -> str:
    """Path of the photo without its ending, from that of its labels."""
    return _with_images(label.with_suffix("")).as_posix()


def _with_images(path: PurePath) -> PurePath:
    """The path with `images` for the last folder that is called `labels`."""
    parts = list(path.parts)
    for place in reversed(range(len(parts))):
        if parts[place] == LABELS:
            parts[place] = IMAGES
            break
    return type(path)(*parts)


def _photos(folder: Path, labels: Sequence[PurePath]) -> Path:
    """The folder to which the photos' names are relative.

    Never the one above a folder `labels`: that is where `yolo predict` leaves photos with masks drawn on them.
    """
    if any(LABELS in label.parts[:-1] for label in labels):
        return folder
    mirrored = Path(_with_images(folder.absolute()))
    if mirrored.is_dir() or (mirrored.name == IMAGES and not files_below(folder, SUFFIXES)):
        return mirrored
    return folder
