"""What is compared: results, ground truth and baseline, read and brought to the same image and class ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bpr_cli.evaluation.lvis import on_images_of, with_coco_classes
from bpr_cli.formats import cityscapes, coco, read_results
from bpr_cli.formats.image_files import check_pixels
from bpr_cli.formats.orientation import stated_sizes
from bpr_cli.formats.records import Results
from bpr_cli.limits import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """Ready to compare; `baseline` is None where there is none."""

    results: Results
    gt: Results
    baseline: Results | None


def read_inputs(
    results: Path,
    gt: Path,
    baseline: Path | None = None,
    *,
    image_info: Path | None = None,
    coco_classes: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> EvaluationInputs:
    """Read the files of an evaluation.

    Args:
        results, gt, baseline: as in `evaluate`.
        image_info: COCO JSON whose `images` (and `categories`) tell which files and classes the results' ids mean;
            for COCO results on Cityscapes' folders.
        coco_classes: AP*: the ground truth is LVIS's, the detections are of COCO's classes. Detections on images
            that LVIS lacks are left out.
        max_pixels: larger images are refused.

    Raises:
        InputError: one of them cannot be used.
    """
    truth = read_results(gt, max_pixels)
    for entry in truth.images:
        for height, width in {*stated_sizes(entry.instances), (entry.image.height or 0, entry.image.width or 0)}:
            check_pixels(height, width, max_pixels, gt, entry.image.id)
    if coco_classes:
        truth = with_coco_classes(truth)

    def detections(path: Path) -> Results:
        found = read_results(path)
        if image_info is not None:
            found = coco.with_image_info(found, image_info)
        if truth.kind == cityscapes.TRUTH:
            found = cityscapes.with_label_ids(found)
        return on_images_of(found, truth) if coco_classes else found

    return EvaluationInputs(detections(results), truth, detections(baseline) if baseline else None)
