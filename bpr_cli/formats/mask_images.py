"""One photo with one or more mask images, 0 for background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats.finding import SUFFIXES
from bpr_cli.formats.folders import files_below
from bpr_cli.formats.image_files import check_pixels
from bpr_cli.formats.images import image_header, image_size
from bpr_cli.formats.label_maps import read_map
from bpr_cli.formats.orientation import turned_size
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results
from bpr_cli.formats.rle import RLE, decode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.masks import Mask, to_frame

KIND = "mask-images"


@dataclass(frozen=True, slots=True)
class PhotoWithMasks:
    """One photo and its mask images."""

    photo: Path
    instances: tuple[Instance, ...]

    def check_output(self, out: Path) -> None:
        """Make sure that `write` could write there.

        Raises:
            InputError: `out` is a file, cannot be made or written to, or is where the photo or a mask would be
                replaced.
        """
        if out.exists() and not out.is_dir():
            raise InputError("the output is a file", file=out, remedy="Name a folder with -o")
        ensure_folder(out)
        masks = [instance.segmentation for instance in self.instances]
        inputs = [path for path in (self.photo, *masks) if path.exists()]
        for mask in masks:
            target = out / _output_name(mask)
            replaced = next((path for path in inputs if target.exists() and target.samefile(path)), None)
            if replaced is not None:
                raise InputError("the output would replace this input", file=replaced, remedy="Choose another -o")

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """Write each mask as 8-bit PNG, 0 and 255, under its own name (with the ending .png) into the folder `out`.

        A mask whose segmentation is None keeps its foreground; one that cannot be read is copied as it is, so that
        nothing is lost unseen.

        Raises:
            InputError: see `check_output`.
        """
        self.check_output(out)
        for instance, rle in zip(self.instances, segmentations, strict=True):
            if rle is None and not instance.segmentation.is_file():
                continue
            with replacing(out / _output_name(instance.segmentation)) as temporary:
                temporary.write_bytes(mask_file(instance, rle))


def read(image: Path, masks: Sequence[Path], max_pixels: int = MAX_PIXELS) -> Results:
    """One instance a mask image, in the order given. The image's id is the photo's file name.

    Args:
        image: the photo.
        masks: mask images, folders of them, or patterns with `*`, `?` and `[...]`: of the photo's
            size, or of its size once turned as its EXIF says, which the first tells.
            A single one may be a map of several objects (`label_maps`).
        max_pixels: larger maps are refused.

    Raises:
        InputError: the photo or the first mask cannot be read, there is no mask, two masks have one name.
    """
    masks = _named_masks(masks)
    if not masks:
        raise InputError("there are no masks", file=image, remedy="Give one or more mask images")
    if image.is_dir():
        raise InputError(
            "this is a folder, not a photo",
            file=image,
            remedy="Give the masks' folder by itself, and this one with --images",
        )
    if len(masks) == 1 and (found := read_map(image, masks[0], max_pixels)) is not None:
        return replace(found, path=image, kind=KIND)
    header = image_header(image)
    first, turned = image_size(masks[0]), turned_size(header)
    height, width = turned if first == turned else (header.height, header.width)
    names: dict[str, Path] = {}
    for mask in masks:
        name = _output_name(mask).casefold()  # one file on Windows and macOS
        if name in names:
            raise InputError(
                f"has the name of {names[name]}",
                file=mask,
                remedy="Refined masks keep their names: rename one",
            )
        names[name] = mask
    record = ImageRecord(image.name, image.name, height, width)
    instances = tuple(Instance(i, image.name, mask, None, None, False, {}, mask) for i, mask in enumerate(masks))
    source = PhotoWithMasks(image, instances)
    return Results(image, KIND, (ImageInstances(record, instances),), len(masks), {}, source)


def _named_masks(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant: themselves, those of a folder, and those that a pattern matches, by their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            some = files_below(path, SUFFIXES)
        elif not path.exists() and set(str(path)) & set("*?["):
            some = sorted(match for match in Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        else:
            some = [path]
        if not some:
            raise InputError("there are no mask images", file=path, remedy="Check --mask")
        found += some
    return found


def _output_name(mask: Path) -> str:
    return mask.with_suffix(".png").name


def encode_png(mask: Mask) -> bytes:
    """The mask as an 8-bit PNG of the image's size, 0 and 255."""
    return cv2.imencode(".png", to_frame(mask) * np.uint8(255))[1].tobytes()


def mask_file(instance: Instance, rle: RLE | None) -> bytes:
    """What to write for a mask image: the new mask, the same foreground, or what is broken as it is."""
    try:
        return encode_png(_mask_at_own_size(instance) if rle is None else decode_rle(rle))
    except InputError:
        return bytes(instance.segmentation.read_bytes())


def _mask_at_own_size(instance: Instance) -> Mask:
    """The mask of a mask image, whatever the photo's size."""
    height, width = image_size(instance.segmentation)
    check_pixels(height, width, MAX_PIXELS, instance.segmentation)
    return decode_mask(instance, height, width)
