"""Readers and writers, one module a format; all meet in `records.Results`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpr_cli.formats import coco, mask_images
from bpr_cli.formats.records import Results
from bpr_cli.masks import RLE

__all__ = ["check_output", "read_results", "write_results"]


def read_results(path: Path) -> Results:
    """Read a results or dataset file; its format is seen from its content.

    Raises:
        InputError: it cannot be used; names file, image id and index.
    """
    return coco.read(path)


def check_output(results: Results, out: Path) -> None:
    """Make sure, before the work, that `write_results` could write there; InputError if not."""
    if results.kind == mask_images.KIND:
        mask_images.check_output(results, out)
    else:
        coco.check_output(results, out)


def write_results(results: Results, segmentations: Sequence[RLE | None], out: Path) -> None:
    """Write results in the form they were read in, with new masks by index (None: as it was).

    Raises:
        InputError: `out` cannot be written, or is the input.
    """
    if results.kind == mask_images.KIND:
        mask_images.write(results, segmentations, out)
    else:
        coco.write(results, segmentations, out)
