"""Photos: where they are, and their pixels."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bpr_cli.errors import InputError
from bpr_cli.formats.records import ImageRecord

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FIND_REMEDY = "Give the photos' folder with --images; files not named by image id need --image-info"
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
        self._paths: set[str] = set()
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[int, list[str]] = defaultdict(list)
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                if Path(name).suffix.lower() in SUFFIXES:
                    self._add(Path(parent, name).relative_to(folder).as_posix())

    def _add(self, path: str) -> None:
        self._paths.add(path)
        name = path.rpartition("/")[2]
        stem = name.rpartition(".")[0]
        self._by_name[name].append(path)
        self._by_stem[stem].append(path)
        # 000000000139.jpg, 139.png, COCO_val2014_000000000139.jpg
        if number := re.fullmatch(r"(?:.*_)?(\d+)", stem):
            self._by_number[int(number[1])].append(path)

    def find(self, record: ImageRecord) -> Path:
        """The file of an image: by `file_name` where the input has one, else by its id.

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
            InputError: one for all images that are missing; the first that is ambiguous.
        """
        missing = [record for record in records if not self._candidates(record)]
        if missing:
            ids = ", ".join(str(record.id) for record in missing[:NAMED])
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            first = missing[0]
            tried = first.file_name or f"{first.id}.jpg, {str(first.id).zfill(12)}.jpg, .png, ..."
            raise InputError(
                f"no file for image {ids}{more} (looked for {tried})",
                file=self.folder,
                remedy=FIND_REMEDY,
            )
        return {record.id: self.find(record) for record in records}

    def _candidates(self, record: ImageRecord) -> list[str]:
        if record.file_name is not None:
            name = record.file_name.replace("\\", "/")
            if name in self._paths:
                return [name]
            return self._by_name.get(name.rpartition("/")[2], [])
        if isinstance(record.id, str):
            return self._by_name.get(record.id) or self._by_stem.get(record.id, [])
        return self._by_number.get(record.id, [])


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels of a photo.

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
    _check_whole(path)
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise InputError("the image cannot be decoded", file=path, remedy="Replace the file")
    if size is not None and pixels.shape[:2] != tuple(size):
        turned = _turned(path)
        if turned.shape[:2] == tuple(size):
            return turned
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
    except OSError as error:
        raise InputError(f"the image cannot be read ({error})", file=path, remedy="Replace the file") from error


def _check_whole(path: Path) -> None:
    """OpenCV fills what a truncated JPEG or PNG lacks with grey and says nothing, so the end mark is looked for."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 4096))
            end = stream.read()
    except OSError as error:
        raise InputError(
            f"the image cannot be read ({error.strerror})", file=path, remedy="Replace the file"
        ) from error
    cut_jpeg = start.startswith(b"\xff\xd8") and b"\xff\xd9" not in end
    cut_png = start.startswith(b"\x89PNG") and b"IEND" not in end
    if cut_jpeg or cut_png:
        raise InputError("the image is truncated", file=path, remedy="Copy or download it again")


def _turned(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
