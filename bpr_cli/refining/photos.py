"""Where the photos of inputs are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.formats import label_maps, mask_folders
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.records import Results, Skipped
from bpr_cli.stores.folders import file_state

# Folders of images of their own, beside which no photos are looked for.
NEED_IMAGES = (label_maps.OBJECTS, label_maps.CLASSES, mask_folders.KIND)


class Photos:
    """Finds the photos of one input or of several; folders that are named are listed once.

    Args:
        folders: of photos, or the one photo; None: where an input says that they are, else its own folder.
    """

    def __init__(self, folders: Sequence[Path] | None) -> None:
        self.folders = folders
        self._finder: ImageFinder | None = None

    @property
    def root(self) -> Path:
        """The folder from which photos are named: the first one."""
        first = self.folders[0] if self.folders else Path()
        return first.parent if first.is_file() else first

    @property
    def is_one(self) -> bool:
        """Whether one photo is named, not a folder."""
        return self.folders is not None and len(self.folders) == 1 and self.folders[0].is_file()

    def find_folders(self) -> None:
        """List the folders that are named, if any; InputError if one of them is none."""
        if self.folders and not self.is_one:
            self._finder = ImageFinder(self.folders)

    def find(self, results: Results, skip_bad: bool) -> tuple[dict[int | str, Path], Skipped]:
        """Image id -> file, of images with instances. Missing ones are an error, or skipped."""
        if results.kind == "mask-images":
            return {entry.image.id: results.path for entry in results.images}, Skipped()
        if self.folders and self.is_one:
            return _one_photo(results, self.folders[0]), Skipped()
        if self.folders is None and results.photos is None and results.kind in NEED_IMAGES:
            raise InputError(
                "the photos of these are not known", file=results.path, remedy="Give their folder with --images"
            )
        if self._finder is None:
            self.find_folders()
        finder = self._finder or ImageFinder(results.photos or results.path.parent)
        entries = [entry for entry in results.images if entry.instances]
        problems: list[str] = []
        paths = finder.find_all([entry.image for entry in entries], problems if skip_bad else None)
        left_out = [entry for entry in entries if entry.image.id not in paths]
        count = sum(len(entry.instances) for entry in left_out)
        return paths, Skipped(images=len(left_out), instances=count, lines=tuple(problems))


def _one_photo(results: Results, photo: Path) -> dict[int | str, Path]:
    """Image id -> the photo; InputError unless there is one image."""
    if len(results.images) != 1:
        raise InputError(
            f"this is one file, the results are of {len(results.images)} images",
            file=photo,
            remedy="Give the folder of the photos with --images",
        )
    return {results.images[0].image.id: photo}


def states_from(folder: Path, paths: Iterable[Path]) -> dict[str, list[int]]:
    """The state of photos, by their paths from a folder."""
    return {Path(os.path.relpath(path, folder)).as_posix(): file_state(path) for path in paths}
