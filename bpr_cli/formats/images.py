"""Photos: where they are, and their pixels."""

from __future__ import annotations

import io
import os
import posixpath
import re
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bpr_cli.errors import InputError
from bpr_cli.formats.records import ImageRecord

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FIND_REMEDY = "Give the photos' folder with --images; files not named by image id need --image-info"
# Pillow tells of broken files in all of these ways.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
NUMBER = "[0-9]{1,18}"  # an id in a file's name
END_LENGTH = 4096  # bytes at a file's end in which its end mark is looked for
NAMED = 5  # missing images named in an error; the rest are counted


class ImageFinder:
    """Finds the files of images in a folder and its subfolders, which are listed once.

    Args:
        folder: where to look.

    Raises:
        InputError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError("there is no such folder of images", file=folder, remedy="Give it with --images")
        self.folder = folder
        self._files: set[str] = set()
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)
        seen = set()
        for parent, folders, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(parent)
            if real in seen:  # a link may lead back up
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            for name in sorted(names):
                # macOS leaves hidden files beside those of a copied folder: ._1.jpg
                if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                    self._add(Path(parent, name).relative_to(folder).as_posix())

    def _add(self, path: str) -> None:
        self._files.add(path)
        name = path.rpartition("/")[2]
        stem = name.rpartition(".")[0]
        self._by_name[name].append(path)
        self._by_stem[stem].append(path)
        # 000000000139.jpg, 139.png, COCO_val2014_000000000139.jpg
        if number := re.fullmatch(f"(?:.*_)?({NUMBER})", stem):
            self._by_number[int(number[1])].append(path)

    def find(self, record: ImageRecord) -> Path:
        """The file of an image: by `file_name` where the input has one, else by its id.

        A file name is looked for as a path in the folder; then among paths that end in it, or in which it ends
        (`1.jpg` and `val2017/1.jpg`); then by its last part alone. An id 139 is 139.jpg, 000000000139.jpg or
        COCO_val2014_000000000139.jpg, with any image's ending; a string is a file name with or without its ending.

        Raises:
            InputError: none or several match.
        """
        found = self._candidates(record)
        if len(found) == 1:
            return self.folder / found[0]
        remedy = FIND_REMEDY
        if found:
            problem, remedy = f"several files match: {', '.join(found[:NAMED])}", "Keep one of them in the folder"
        else:
            problem = f"no file for {record.file_name or f'id {record.id}'}"
        raise InputError(problem, file=self.folder, image_id=record.id, remedy=remedy)

    def find_all(self, records: Sequence[ImageRecord]) -> dict[int | str, Path]:
        """Image id -> file.

        Raises:
            InputError: one for all images that are missing; the first that is ambiguous; two images of different
                file names that would be one file.
        """
        missing = [record for record in records if not self._candidates(record)]
        if missing:
            ids = ", ".join(str(record.id) for record in missing[:NAMED])
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            first = missing[0]
            tried = first.file_name or f"{first.id}.jpg, {str(first.id).zfill(12)}.jpg, .png, ..."
            raise InputError(
                f"no file for image {ids}{more}, {len(missing)} of {len(records)} in all (looked for {tried})",
                file=self.folder,
                remedy=FIND_REMEDY,
            )
        found = {record.id: self.find(record) for record in records}
        self._refuse_shared(records, found)
        return found

    def _refuse_shared(self, records: Sequence[ImageRecord], found: Mapping[int | str, Path]) -> None:
        """For a/0.jpg and b/0.jpg with a mere 0.jpg in the folder, one image would get the other's photo."""
        first_of: dict[Path, ImageRecord] = {}
        for record in records:
            path = found[record.id]
            first = first_of.setdefault(path, record)
            if first.file_name != record.file_name:
                shared = path.relative_to(self.folder).as_posix()
                raise InputError(
                    f"{record.file_name} and {first.file_name} would both be {shared}",
                    file=self.folder,
                    image_id=record.id,
                    remedy="Give the folder to which the file names are relative with --images",
                )

    def _candidates(self, record: ImageRecord) -> list[str]:
        if record.file_name is not None:
            return self._named(posixpath.normpath(record.file_name.replace("\\", "/")))
        if isinstance(record.id, int):
            return self._by_number.get(record.id, [])
        return self._by_string(record.id)

    def _named(self, name: str) -> list[str]:
        if name in self._files:
            return [name]
        paths = self._by_name.get(name.rpartition("/")[2], [])
        return [path for path in paths if _ends_alike(path, name)] or paths

    def _by_string(self, name: str) -> list[str]:
        if named := self._named(name):
            return named
        if paths := self._by_stem.get(name.rpartition("/")[2], []):
            return [path for path in paths if _ends_alike(path.rpartition(".")[0], name)] or paths
        # An integer that was written as a string.
        return self._by_number.get(int(name), []) if re.fullmatch(NUMBER, name) else []


def _ends_alike(path: str, name: str) -> bool:
    """Whether one of two paths ends in the other."""
    return f"/{path}".endswith(f"/{name}") or f"/{name}".endswith(f"/{path}")


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels of a photo, decoded by OpenCV.

    The orientation noted in the photo (EXIF) is left alone, as in COCO and most detectors, unless only the turned
    photo has the size that the results state.

    Args:
        path: the file.
        size: (height, width) that the results state, if they do.

    Returns:
        (H, W, 3) uint8 RGB; grey, palette, 16-bit and transparent images are converted.

    Raises:
        InputError: missing, broken or truncated file, or another size.
    """
    data = _whole_file(path)
    pixels = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is not None and size is not None and pixels.shape[1::-1] == tuple(size) != pixels.shape[:2]:
        pixels = _decoded(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError("the image cannot be decoded", file=path, remedy="Replace the file")
    if size is not None and pixels.shape[:2] != tuple(size):
        raise InputError(
            f"the image is {pixels.shape[1]}x{pixels.shape[0]}, the results say {size[1]}x{size[0]}",
            file=path,
            remedy="Check that the results belong to these images",
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header; InputError if it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except BROKEN as error:
        raise InputError(f"the image cannot be read ({error})", file=path, remedy="Replace the file") from error


def _whole_file(path: Path) -> NDArray[np.uint8]:
    """The file's bytes: (N,) uint8; InputError for a truncated file.

    OpenCV 4 fills what a truncated JPEG lacks with grey and only warns on stderr. So its end mark is looked for, which
    costs nothing. Only a file without one near its end (truncated, or a phone's photo with a film behind it) is decoded
    by Pillow too, which tells the two apart. Truncated files of other formats are refused by OpenCV itself.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the image cannot be read ({error.strerror})", file=path, remedy="Replace the file"
        ) from error
    end = data[-END_LENGTH:]
    cut_jpeg = data.startswith(b"\xff\xd8") and b"\xff\xd9" not in end
    cut_png = data.startswith(b"\x89PNG") and b"IEND" not in end
    if cut_jpeg or cut_png:
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except BROKEN as error:
            raise InputError(
                f"the image is truncated or broken ({error})", file=path, remedy="Copy or download it again"
            ) from error
    return np.frombuffer(data, np.uint8)


def _decoded(data: NDArray[np.uint8], flags: int) -> NDArray[np.uint8] | None:
    """(H, W, 3) uint8 BGR; None for what OpenCV cannot decode."""
    try:
        pixels = cv2.imdecode(data, flags)  # not imread, which opens only ASCII paths on Windows
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
