"""Detections and objects whose masks cannot be used, as `bpr refine --skip-bad` leaves them in its output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bpr_cli.errors import InputError
from bpr_cli.evaluation.checks import frame_size
from bpr_cli.formats.polygons import is_without_polygons
from bpr_cli.formats.records import ImageInstances, Instance, Results
from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.formats.segmentation import compress_mask, decode_mask
from bpr_cli.masks import Mask


def usable_detections(results: Results, truth: Results, skip_bad: bool) -> tuple[Results, list[str]]:
    """Results whose unusable masks have no pixel, so that they count as detections that hit nothing.

    Args:
        results: detections.
        truth: the ground truth, which tells the images' sizes.
        skip_bad: take all broken masks for such. Otherwise only lists without any polygon, which outline nothing.

    Returns:
        The results, and a line for each mask that was replaced.

    Raises:
        InputError: the size of an image with such a mask is not known.
    """
    entries = {entry.image.id: entry for entry in truth.images}
    lines: list[str] = []
    images = []
    for entry in results.images:
        suspects = {i.index for i in entry.instances if skip_bad or is_without_polygons(i.segmentation)}
        if suspects and entry.image.id in entries:
            size = frame_size(entries[entry.image.id], truth.path)
            kept = [_with_usable_mask(i, size, lines) if i.index in suspects else i for i in entry.instances]
            entry = replace(entry, instances=tuple(kept))
        images.append(entry)
    return replace(results, images=tuple(images)), lines


def usable_objects(truth: Results) -> tuple[Results, list[str]]:
    """Ground truth without the objects whose masks are broken, and a line for each of those."""
    lines: list[str] = []
    images = []
    for entry in truth.images:
        kept = []
        for instance in entry.instances:
            try:
                compress_mask(instance, *frame_size(entry, truth.path))
            except InputError as error:
                lines.append(str(error))
            else:
                kept.append(instance)
        images.append(ImageInstances(entry.image, tuple(kept)))
    return replace(truth, images=tuple(images), count=truth.count - len(lines)), lines


def _with_usable_mask(instance: Instance, size: tuple[int, int], lines: list[str]) -> Instance:
    bad: list[str] = []
    try:
        rle = compress_mask(instance, *size)
    except InputError as error:
        try:
            rle = encode_rle(decode_mask(instance, *size, left_out=bad))
            lines.extend(bad)
        except InputError:
            lines.append(str(error))
            rle = _empty_rle(*size)
    return replace(instance, segmentation=rle)


def _empty_rle(height: int, width: int) -> RLE:
    return encode_rle(Mask(np.zeros((0, 0), np.uint8), 0, 0, height, width))
