"""Which file is the photo of an image."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from bpr_cli.errors import InputError
from bpr_cli.formats.records import ImageRecord
from bpr_cli.notices import warn_of_input
from bpr_cli.stores.folders import names_below

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"),
    *(".jp2", ".j2k", ".avif", ".gif"),
}
# Endings of photos that cannot be read, and what they are.
UNREADABLE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"), "camera raw"),
    **{".jxl": "JPEG XL", ".svg": "SVG", ".pdf": "PDF", ".exr": "OpenEXR", ".dcm": "DICOM", ".psd": "Photoshop"},
}
FIND_REMEDY = "Give the photos' folder with --images; files not named by image id need --image-info"
NUMBER = re.compile(r"0*([0-9]{1,18})")  # an id in a file's name, alone or in COCO's way
COCO_NAME = re.compile(r"COCO_[A-Za-z0-9-]+_([0-9]{12})")
Folders = Path | Sequence[Path]
NAMED = 5  # images or files named in an error; the rest are counted
EXACT_NAME = "taken by its name alone; others match the image id with zeros or COCO's words before it"
OTHER_FOLDER = "taken by the end of its file_name, which says that it lies in another folder"


class ImageFinder:
    """Finds the files of images in folders and their subfolders, which are listed once; hidden ones are left out.

    Args:
        folder: where to look; several are searched as if they were one.

    Raises:
        InputError: there is no such folder, or it is a file.
    """

    def __init__(self, folder: Folders) -> None:
        self.folders = (folder,) if isinstance(folder, Path) else tuple(folder)
        for each in self.folders:
            if each.is_file():
                raise InputError("this is a file, not a folder of images", file=each, remedy="Give one with --images")
            if not each.is_dir():
                raise InputError("there is no such folder of images", file=each, remedy="Give it with --images")
        self._folders_of: dict[str, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)
        for each in self.folders:
            for path in _files_below(each):
                if not self._folders_of[path]:
                    self._add(path)
                self._folders_of[path].append(each)

    @property
    def _shown(self) -> str:
        """The folders, for error messages."""
        return ", ".join(str(folder) for folder in self.folders)

    def knows(self, name: str) -> bool:
        """Whether there are files, one or several, for an image of this id."""
        return bool(self._candidates(ImageRecord(name)))

    def _add(self, path: str) -> None:
        stem, suffix = posixpath.splitext(_last(path))
        self._by_name[_last(path)].append(path)
        if suffix.lower() not in SUFFIXES and _unreadable(path) is None:
            return  # found by its whole name only
        self._by_stem[stem].append(path)
        # 000000000139.jpg, COCO_val2014_000000000139.jpg
        if number := NUMBER.fullmatch(stem) or COCO_NAME.fullmatch(stem):
            self._by_number[int(number[1])].append(path)

    @cached_property
    def _by_loose_name(self) -> dict[str, list[str]]:
        return _grouped((path for paths in self._by_name.values() for path in paths), lambda path: _loose(_last(path)))

    @cached_property
    def _by_loose_stem(self) -> dict[str, list[str]]:
        paths = (path for paths in self._by_stem.values() for path in paths)
        return _grouped(paths, lambda path: _loose(_stem(_last(path))))

    def find(self, record: ImageRecord) -> Path:
        """The file of an image: by `file_name` where the input has one, else by its id.

        A file name is looked for as a path in the folder; then among paths that end in it, or in which it ends
        (`1.jpg` and `val2017/1.jpg`); then likewise, whatever the case, the composition of accents and `%20`. A file
        in a folder that the file name does not allow is another photo. An id 139 is 139.jpg, else 000000000139.jpg or
        COCO_val2014_000000000139.jpg, with any image's ending; a string is a file name with or without its ending.

        Raises:
            InputError: none or several match, or one of a kind that cannot be read.
        """
        found = self._candidates(record)
        found = [path for path in found if _unreadable(path) is None] or found
        if len(found) == 1 and len(twice := self._folders_of[found[0]]) > 1:
            found = [str(folder / found[0]) for folder in twice]
        if len(found) > 1:
            raise InputError(
                f"several files match: {', '.join(found[:NAMED])}",
                file=self._shown,
                image_id=record.id,
                remedy="Keep one of them in the folder",
            )
        if not found:
            raise InputError(
                f"no file for {record.file_name or f'id {record.id}'}{self._hint(record)}",
                file=self._shown,
                image_id=record.id,
                remedy=FIND_REMEDY,
            )
        if (kind := _unreadable(found[0])) is not None:
            raise InputError(
                f"the photo {found[0]} is of the kind {kind}, which cannot be read",
                file=self._shown,
                image_id=record.id,
                remedy="Convert it to JPEG or PNG",
            )
        return self._folders_of[found[0]][0] / found[0]

    def find_all(self, records: Sequence[ImageRecord], problems: list[str] | None = None) -> dict[int | str, Path]:
        """Image id -> file.

        Args:
            records: the images whose photos are needed.
            problems: where it is given, images whose file cannot be told are left out, and gain a line in it each.

        Raises:
            InputError: one for all images that are missing; the first that is ambiguous; two images that would be one
                file.
        """
        if problems is None:
            self._refuse_missing(records)
        found: dict[int | str, Path] = {}
        for record in records:
            try:
                found[record.id] = self.find(record)
            except InputError as error:
                if problems is None:
                    raise
                problems.append(str(error))
        for shared, image_id in self._shared(records, found):
            if problems is None:
                raise shared
            problems.append(str(shared))
            del found[image_id]
        return found

    def _refuse_missing(self, records: Sequence[ImageRecord]) -> None:
        missing = [record for record in records if not self._candidates(record)]
        if not missing:
            return
        ids = ", ".join(str(record.id) for record in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        first = missing[0]
        tried = first.file_name or f"{first.id}.jpg, {str(first.id).zfill(12)}.jpg, .png, ..."
        raise InputError(
            f"no file for image {ids}{more}, {len(missing)} of {len(records)} in all "
            f"(looked for {tried}{self._hint(first)})",
            file=self._shown,
            remedy=FIND_REMEDY,
        )

    def _shared(
        self, records: Sequence[ImageRecord], found: dict[int | str, Path]
    ) -> list[tuple[InputError, int | str]]:
        """Images of which one would get another's photo, as a/0.jpg and b/0.jpg with a mere 0.jpg in the folder."""
        records_of_path: dict[Path, list[ImageRecord]] = defaultdict(list)
        for record in records:
            if record.id in found:
                records_of_path[found[record.id]].append(record)
        errors = []
        for path, sharing in records_of_path.items():
            for record in sharing if len(sharing) > 1 else ():
                other = sharing[1] if record is sharing[0] else sharing[0]
                errors.append((self._shared_error(path, record, other), record.id))
        # The one that names the second image first: the first was there before.
        return sorted(errors, key=lambda item: item[1] == records[0].id) if errors else errors

    def _shared_error(self, path: Path, record: ImageRecord, other: ImageRecord) -> InputError:
        names = [item.file_name or f"id {item.id}" for item in (record, other)]
        folder = next(folder for folder in self.folders if path.is_relative_to(folder))
        shared = path.relative_to(folder).as_posix()
        same = names[0] == names[1]
        return InputError(
            f"it and image {other.id} are both {shared}"
            if same
            else f"{names[0]} and {names[1]} would both be {shared}",
            file=self._shown,
            image_id=record.id,
            remedy="Keep one of the images"
            if same
            else "Give the folder to which the file names are relative with --images",
        )

    def _candidates(self, record: ImageRecord) -> list[str]:
        if record.file_name is not None:
            name = _normal(record.file_name)
            return self._named(name) or self._named_loosely(name)
        if isinstance(record.id, int):
            return self._numbered(record.id)
        name = _normal(record.id)
        by_number = self._numbered(int(name)) if NUMBER.fullmatch(name) else []  # an integer, written as a string
        return (
            self._named(name)
            or _consistent(name, self._by_stem.get(_last(name), []), _stem)
            or by_number
            or self._named_loosely(name)
            or _consistent(_loose(name), self._by_loose_stem.get(_loose(_last(name)), []), lambda p: _loose(_stem(p)))
        )

    def _numbered(self, number: int) -> list[str]:
        exact = self._by_stem.get(str(number), [])
        others = self._by_number.get(number, [])
        if len(exact) == 1 and len(others) > 1:
            warn_of_input(EXACT_NAME, self._folders_of[exact[0]][0] / exact[0])
        return exact or others

    def _named(self, name: str) -> list[str]:
        found = _consistent(name, self._by_name.get(_last(name), []), str)
        if len(found) == 1 and self._is_other_folder(name, found[0]):
            warn_of_input(OTHER_FOLDER, self._folders_of[found[0]][0] / found[0])
        return found

    def _named_loosely(self, name: str) -> list[str]:
        return _consistent(_loose(name), self._by_loose_name.get(_loose(_last(name)), []), _loose)

    def _is_other_folder(self, name: str, path: str) -> bool:
        """Whether `name` has folders beyond the path's, the last of which is not the folder that was searched."""
        beyond = name[: -len(path)].rstrip("/") if len(name) > len(path) else ""
        return bool(beyond) and all(_last(beyond) != folder.resolve().name for folder in self._folders_of[path])

    def _hint(self, record: ImageRecord) -> str:
        """What there is instead of an image's file."""
        name = _normal(record.file_name if record.file_name is not None else str(record.id))
        stem = _loose(_stem(_last(name))) if record.file_name is not None else _loose(name)
        near = self._by_loose_name.get(_loose(_last(name)), []) or self._by_loose_stem.get(stem, [])
        if not near and isinstance(record.id, int) and record.file_name is None:
            ends = re.compile(rf".*[^0-9]0*{abs(record.id)}")
            near = [path for stem, paths in self._by_stem.items() if ends.fullmatch(stem) for path in paths]
            if near:
                return f"; {near[0]} ends in it, which says nothing unless COCO's words stand before the number"
        return f"; there is {', '.join(near[:NAMED])}" if near else ""


def _files_below(folder: Path) -> Iterable[str]:
    """Paths relative to the folder, of files that are not hidden (macOS leaves ._1.jpg beside those it copies)."""
    if (in_store := names_below(folder)) is not None:
        yield from in_store
        return
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        resolved = os.path.realpath(parent)
        if resolved in seen:  # a link may lead back up
            folders.clear()
            continue
        seen.add(resolved)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _grouped(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return groups


def _consistent(name: str, paths: Sequence[str], form: Callable[[str], str]) -> list[str]:
    """Of paths, in a form that compares with `name`: the same one; those that end in it; the longest it ends in."""
    forms = {path: form(path) for path in paths}
    if same := [path for path, text in forms.items() if text == name]:
        return same
    if deeper := [path for path, text in forms.items() if text.endswith(f"/{name}")]:
        return deeper
    ends = [path for path, text in forms.items() if name.endswith(f"/{text}")]
    longest = max((len(forms[path]) for path in ends), default=0)
    return [path for path in ends if len(forms[path]) == longest]


def _unreadable(path: str) -> str | None:
    """The kind of a photo that cannot be read, by its ending."""
    return UNREADABLE.get(posixpath.splitext(path)[1].lower())


def _normal(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _loose(name: str) -> str:
    """The name, however its letters are composed, capitalised and quoted."""
    return unicodedata.normalize("NFC", unquote(name)).casefold()
