"""What the cells are trained and measured on: the bundled DAVIS photos, or a folder in Cityscapes' or COCO's layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.files import fingerprint

BUNDLED = Path(__file__).resolve().parents[2] / "davis"
# Sequences that no shipped model was trained on; the other validation photos are fair to newly trained ones alone.
UNSEEN = ("blackswan", "car-roundabout", "dance-twirl", "goat")


@dataclass(frozen=True, slots=True)
class Form:
    """One segmenter's coarse masks: JSON files or folders of results, on the photos of both splits."""

    name: str
    train: Path
    val: Path


@dataclass(frozen=True, slots=True)
class DataSet:
    """Photos, ground truth and coarse masks.

    Attributes:
        name: of its folder of cells.
        images_train, images_val: folders of photos.
        gt_train, gt_val: ground truth, in any format that bpr reads.
        forms: coarse masks; the first one is trained on and refined unless a cell says otherwise.
        group_by: field of the images that is resampled as one; None: each photo by itself.
        unseen: groups that no shipped model has seen; None: all of them.
        boundary_ratio: band of Boundary IoU; None: by `bpr evaluate`'s rules.
        official: Cityscapes' own ground truth of the validation photos, for its official script; None without.
    """

    name: str
    images_train: Path
    images_val: Path
    gt_train: Path
    gt_val: Path
    forms: tuple[Form, ...]
    group_by: str | None = None
    unseen: tuple[str, ...] | None = None
    boundary_ratio: float | None = None
    official: Path | None = None

    def digest(self) -> str:
        """Tells data sets apart: JSON by its bytes, folders and photos by their files' names and sizes."""
        parts = [self.gt_train, self.gt_val, *(path for form in self.forms for path in (form.train, form.val))]
        marks = [_mark(path) for path in parts]
        marks += [_photos(self.images_train, self.gt_train), _photos(self.images_val, self.gt_val)]
        return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]


def _mark(path: Path) -> object:
    return fingerprint(path).sha256 if path.is_file() else _sizes(path, path.rglob("*"))


def _photos(folder: Path, gt: Path) -> object:
    """Those that a COCO file names, else all in the folder."""
    if not gt.is_file():
        return _sizes(folder, folder.rglob("*"))
    images = json.loads(gt.read_text(encoding="utf-8"))["images"]
    return _sizes(folder, (folder / image["file_name"] for image in images))


def _sizes(folder: Path, files: Iterable[Path]) -> list[list[object]]:
    return [[file.relative_to(folder).as_posix(), file.stat().st_size] for file in sorted(files) if file.is_file()]


def bundled() -> DataSet:
    """The DAVIS photos of examples/davis."""
    folder = BUNDLED / "paper"
    forms = tuple(
        Form(name, folder / f"{stem}_train.json", folder / f"{stem}_val.json")
        for name, stem in (("28x28 masks", "results"), ("stride-4 masks", "results_native"))
    )
    gt_train, gt_val = folder / "gt_train.json", folder / "gt_val.json"
    return DataSet("davis", BUNDLED, BUNDLED, gt_train, gt_val, forms, group_by="sequence", unseen=UNSEEN)


def given(folder: Path) -> DataSet:
    """A data set in a folder of the user's.

    Photos: leftImg8bit/train and leftImg8bit/val, or images/. Ground truth: gt_train.json and gt_val.json (COCO), or
    gtFine/train and gtFine/val. Results of any segmenter: results_train.json and results_val.json, further ones as
    results_NAME_train.json and so on; or folders results_train and results_val of Cityscapes' text files.

    Raises:
        InputError: something is missing.
    """
    forms = _forms(folder)
    gt_train, gt_val = (
        _first(folder, f"ground truth of the {split} photos", f"gt_{split}.json", f"gtFine/{split}")
        for split in ("train", "val")
    )
    images_train, images_val = (
        _first(folder, f"{split} photos", f"leftImg8bit/{split}", f"images/{split}", "images")
        for split in ("train", "val")
    )
    official = folder / "gtFine" / "val"
    is_cityscapes = official.is_dir()
    return DataSet(
        folder.resolve().name.lower(),
        images_train,
        images_val,
        gt_train,
        gt_val,
        forms,
        boundary_ratio=0.005 if is_cityscapes else None,
        official=official if is_cityscapes else None,
    )


def _first(folder: Path, what: str, *names: str) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise InputError(f"no {what}", file=folder, remedy=f"Put them there as {' or '.join(names)}")


def _forms(folder: Path) -> tuple[Form, ...]:
    found = []
    for train in sorted(folder.glob("results*_train*"), key=lambda path: (len(path.name), path.name)):
        val = train.with_name(train.name.replace("_train", "_val"))
        if val.exists():
            found.append(Form(train.stem.removesuffix("_train"), train, val))
    if not found:
        raise InputError(
            "no results of a segmenter", file=folder, remedy="Put them there as results_train.json and results_val.json"
        )
    return tuple(found)
