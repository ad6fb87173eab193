"""One photo with one or more mask images, 0 for background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats.images import image_size
from bpr_cli.formats.records import ImageInstances, ImageRecord, Instance, Results
from bpr_cli.masks import RLE, decode_rle, to_frame

KIND = "mask-images"


def read(image: Path, masks: Sequence[Path]) -> Results:
    """One instance a mask image, in the order given.

    Raises:
        InputError: the photo cannot be read; two masks have one file name.
    """
    height, width = image_size(image)
    names: dict[str, Path] = {}
    for mask in masks:
        if mask.name in names:
            raise InputError(
                f"has the file name of {names[mask.name]}",
                file=mask,
                remedy="Refined masks keep their names: rename one",
            )
        names[mask.name] = mask
    record = ImageRecord(image.name, image.name, height, width)
    instances = tuple(Instance(i, image.name, mask, None, None, False, {}, mask) for i, mask in enumerate(masks))
    return Results(image, KIND, (ImageInstances(record, instances),), len(masks), {}, None)


def write(results: Results, segmentations: Sequence[RLE | None], out: Path) -> None:
    """Write each mask as 8-bit PNG, 0 and 255, under its own file name into the folder `out`.

    A mask whose segmentation is None is written as it was.

    Raises:
        InputError: the folder cannot be made, or it is that of the input masks.
    """
    (entry,) = results.images
    if out.exists() and not out.is_dir():
        raise InputError("the output is a file", file=out, remedy="Name a folder with -o")
    ensure_folder(out)
    for instance in entry.instances:
        if (out / instance.segmentation.name).exists() and (out / instance.segmentation.name).samefile(
            instance.segmentation
        ):
            raise InputError(
                "the output would replace this mask", file=instance.segmentation, remedy="Choose another -o"
            )
    for instance, rle in zip(entry.instances, segmentations, strict=True):
        if rle is None:
            target = out / instance.segmentation.name
            with replacing(target) as temporary:
                temporary.write_bytes(instance.segmentation.read_bytes())
            continue
        frame = to_frame(decode_rle(rle))
        data = cv2.imencode(".png", frame * np.uint8(255))[1].tobytes()
        with replacing((out / instance.segmentation.name).with_suffix(".png")) as temporary:
            temporary.write_bytes(data)
