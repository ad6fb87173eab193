"""JSON files that hold one image each, by themselves or many in a folder.

A folder's documents are not kept: each is read again when it is written, so that memory follows the masks and not the
photos that some tools put into their files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from bpr_cli.errors import InputError
from bpr_cli.formats import heads, json_files, labelme, segment_anything
from bpr_cli.formats.classes import with_class_ids
from bpr_cli.formats.folders import check_folder_output, files_below, write_file
from bpr_cli.formats.records import ImageInstances, ImageRecord, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE
from bpr_cli.notices import warn_of_input

LOOKED_INTO = 20  # JSON files of a folder that tell what it holds
OTHER = "no file of one image with its masks, as others in the folder; copied as it is"


class Form(NamedTuple):
    """A form of such documents.

    Attributes:
        kind: of `Results`.
        matches: whether a document is of this form.
        read: of document, path, image id and index of the first instance the image with its instances; InputError if
            the document is broken.
        updated: of document, path and new masks, by the instances' places in it, the document with these.
        indent: of its JSON, as its tool writes it.
    """

    kind: str
    matches: Callable[[Any], bool]
    read: Callable[[Any, Path, str, int], ImageInstances]
    updated: Callable[[Any, Path, Mapping[int, RLE]], Any]
    indent: int | None = None


FORMS = (
    Form("labelme", labelme.matches, labelme.read, labelme.updated, indent=2),
    Form("sa-1b", segment_anything.is_object, segment_anything.read_object, segment_anything.updated_object),
    Form("segment-anything", segment_anything.is_list, segment_anything.read_list, segment_anything.updated_list),
)


class Stamp(NamedTuple):
    """What tells that a file is still the one that was read."""

    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its path, and the place of its instances among all."""

    path: Path
    stamp: Stamp
    form: Form
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Documents:
    """A file, or a folder of them with other JSON files that are copied."""

    path: Path
    documents: list[Document]
    others: list[Path]

    def check_output(self, out: Path) -> None:
        """See `json_files.check_output` and `folders.check_folder_output`."""
        if self.path.is_dir():
            check_folder_output(self.path, out)
        else:
            json_files.check_output(self.path, out, {})

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`."""
        self.check_output(out)
        for document in self.documents:
            if _stamp(document.path) != document.stamp:
                raise InputError("the file has changed since it was read", file=document.path, remedy="Run it again")
        for other in self.others:
            write_file(out / other.relative_to(self.path), other.read_bytes())
        for document in self.documents:
            target = out / document.path.relative_to(self.path) if self.path.is_dir() else out
            own = segmentations[document.first : document.first + document.count]
            new = {place: rle for place, rle in enumerate(own) if rle is not None}
            _write(document, new, target)


def _write(document: Document, new: Mapping[int, RLE], out: Path) -> None:
    updated = document.form.updated(json_files.load(document.path), document.path, new)
    out.parent.mkdir(parents=True, exist_ok=True)
    json_files.dump(updated, out, document.form.indent)


def is_document(document: Any) -> bool:
    """Whether a document is of one image, in one of the forms."""
    return _form_of(document) is not None


def _form_of(document: Any) -> Form | None:
    return next((form for form in FORMS if form.matches(document)), None)


def is_folder(folder: Path) -> bool:
    """Whether one of its first JSON files is of such a form. Large lists of results are not read for that."""
    return any(is_document(_loaded(path)) for path in files_below(folder, (".json",))[:LOOKED_INTO])


def _loaded(path: Path) -> Any:
    """The document; None for COCO's results, and for no JSON at all, which reading the folder says where it matters."""
    try:
        return None if heads.are_results(path) else json_files.load(path)
    except (InputError, OSError):
        return None


def read_document(document: Any, path: Path, options: ReadOptions) -> Results:
    """Read one file; the image's id is the file's name without its ending.

    Raises:
        InputError: it is broken.
    """
    stem = PurePath(path.name.removesuffix(".gz")).stem
    return _results(path, [(path, stem, document)], [], [] if options.skip_bad else None, bool(options.images))


def read_folder(folder: Path, options: ReadOptions) -> Results:
    """Read a folder's files in order of their names; an image's id is the file's path without its ending.

    Raises:
        InputError: one of them is broken (unless bad ones are skipped).
    """
    others: list[Path] = []
    bad: list[Skipped] | None = [] if options.skip_bad else None
    return _results(folder, _of_folder(folder, others, bad), others, bad, bool(options.images))


def _of_folder(folder: Path, others: list[Path], bad: list[Skipped] | None) -> Iterator[tuple[Path, str, Any]]:
    """Path, image id and document of each file of the first one's form; `others` gains the other JSON files.

    What is no JSON is an error, or else gains a line in `bad`.
    """
    first: Form | None = None
    for path in files_below(folder, (".json",)):
        try:
            document = json_files.load(path)
        except InputError as error:
            if bad is None:
                raise
            bad.append(Skipped(images=1, lines=(str(error),)))
            others += [path] if path.is_file() else []  # a link to nowhere cannot be copied
            continue
        form = _form_of(document)
        first = first or form
        if form is not None and form is first:
            yield path, path.relative_to(folder).with_suffix("").as_posix(), document
        else:
            warn_of_input(OTHER, path)
            others.append(path)


def _results(
    path: Path,
    found: Iterable[tuple[Path, str, Any]],
    others: list[Path],
    bad: list[Skipped] | None,
    is_folder_named: bool,
) -> Results:
    """The images of all documents; `bad` gains a line for each broken one, or that is an error."""
    entries: list[ImageInstances] = []
    documents: list[Document] = []
    count = 0
    for file, image_id, document in found:
        form = _form_of(document)
        assert form is not None
        try:
            entry = form.read(document, file, image_id, count)
        except InputError as error:
            if bad is None:
                raise
            bad.append(Skipped(images=1, lines=(str(error),)))
            entry = ImageInstances(ImageRecord(image_id), ())
        documents.append(Document(file, _stamp(file), form, count, len(entry.instances)))
        entries.append(entry)
        count += len(entry.instances)
    own = path if path.is_dir() else path.parent
    photos = _common_folder(entries, documents) or own
    images = tuple(map(partial(_named_from, own if is_folder_named else photos), entries, documents))
    categories: dict[int, str] = {}
    if documents[0].form.kind == "labelme":
        images, categories = with_class_ids(images)
    source = Documents(path, documents, others)
    kind = documents[0].form.kind
    return Results(path, kind, images, count, categories, source, skipped=Skipped.joined(bad or ()), photos=photos)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns)


def _photo(entry: ImageInstances, document: Document) -> Path | None:
    """The photo that a file names, relative to itself; None if it names none."""
    if entry.image.file_name is None:
        return None
    named = document.path.absolute().parent / entry.image.file_name.replace("\\", "/")
    return Path(os.path.normpath(named))


def _common_folder(entries: Sequence[ImageInstances], documents: Sequence[Document]) -> Path | None:
    """The folder in which all photos lie; None unless they are where they are said to be."""
    photos = [photo for photo in map(_photo, entries, documents) if photo is not None]
    if not photos or not all(photo.is_file() for photo in photos):
        return None
    return Path(os.path.commonpath([photo.parent for photo in photos]))


def _named_from(folder: Path, entry: ImageInstances, document: Document) -> ImageInstances:
    """The image, its photo named relative to a folder."""
    photo = _photo(entry, document)
    if photo is None:
        return entry
    name = Path(os.path.relpath(photo, folder.absolute())).as_posix()
    return replace(entry, image=replace(entry.image, file_name=name))
