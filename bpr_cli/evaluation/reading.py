"""What is compared: results, ground truth and baseline, read and brought to the same image and class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bpr_cli.evaluation.detections import Detected, Detections
from bpr_cli.evaluation.lvis import on_images_of, with_coco_classes
from bpr_cli.evaluation.unusable import usable_detections, usable_objects
from bpr_cli.files import PathLike, as_path
from bpr_cli.formats import cityscapes, coco, panoptic, read_results, yolo
from bpr_cli.formats.classes import with_classes_of
from bpr_cli.formats.image_files import check_pixels
from bpr_cli.formats.orientation import stated_sizes
from bpr_cli.formats.photo_sizes import with_photo_sizes
from bpr_cli.formats.records import Results
from bpr_cli.limits import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class EvaluationInputs:
    """Ready to compare.

    Attributes:
        gt: ground truth.
        after, before: detections and, where there is one, the baseline.
        noted: gains a line for each mask that could not be used, as parts are read.
        files: what all is read from, by name.
        options: how it is read, as far as that changes what it says.
    """

    gt: Results
    after: Detections
    before: Detections | None
    noted: dict[str, None] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    options: Mapping[str, bool] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """All detections at once."""
        return self.after.whole.results

    @property
    def baseline(self) -> Results | None:
        """All detections of the baseline at once; None where there is none."""
        return None if self.before is None else self.before.whole.results

    @property
    def unusable(self) -> tuple[str, ...]:
        """A line for each mask that could not be used: detections count as such without a pixel, objects do not."""
        return tuple(self.noted)


def read_inputs(
    results: PathLike,
    gt: PathLike,
    baseline: PathLike | None = None,
    *,
    images: PathLike | None = None,
    image_info: PathLike | None = None,
    coco_classes: bool = False,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> EvaluationInputs:
    """Read the files of an evaluation.

    Args:
        results, gt, baseline: as in `evaluate`. Of panoptic ground truth the things count.
        images: folder of the photos, for ground truth in fractions of them (YOLO); None: where it has them.
        image_info: COCO JSON whose `images` (and `categories`) tell which files and classes the results' ids mean;
            for COCO results on Cityscapes' folders.
        coco_classes: AP*: the ground truth is LVIS's, the detections are of COCO's classes. Detections on images
            that LVIS lacks are left out.
        skip_bad: go on past masks that are broken (`usable_detections`, `usable_objects`).
        max_pixels: larger images are refused.

    Raises:
        InputError: one of them cannot be used.
    """
    truth = panoptic.things_only(read_results(as_path(gt, "gt"), max_pixels, skip_bad=skip_bad))
    if truth.kind == yolo.KIND:
        truth = with_photo_sizes(truth, None if images is None else as_path(images, "images"))
    for entry in truth.images:
        for height, width in {*stated_sizes(entry.instances), (entry.image.height or 0, entry.image.width or 0)}:
            check_pixels(height, width, max_pixels, truth.path, entry.image.id)
    info = None if image_info is None else coco.read_image_info(as_path(image_info, "image_info"))
    noted = dict.fromkeys(truth.skipped.lines)
    if skip_bad:
        truth, lines = usable_objects(truth)
        noted.update(dict.fromkeys(lines))
    if coco_classes:
        truth = with_coco_classes(truth)

    def read(path: Path) -> Detected:
        found = read_results(path, max_pixels, skip_bad=skip_bad)
        noted.update(dict.fromkeys(found.skipped.lines))
        if info is not None:
            found = coco.with_image_info(found, info)
        if truth.kind == cityscapes.TRUTH:
            found = cityscapes.with_label_ids(found)
        found = with_classes_of(found, truth)
        found, lines = usable_detections(found, truth, skip_bad)
        noted.update(dict.fromkeys(lines))
        return Detected(on_images_of(found, truth) if coco_classes else found, found.count)

    after = Detections(as_path(results, "results"), read)
    before = None if baseline is None else Detections(as_path(baseline, "baseline"), read)
    given = {"results": results, "ground truth": gt, "baseline": baseline, "image info": image_info}
    files = {name: as_path(path, name) for name, path in given.items() if path is not None}
    options = {"coco_classes": coco_classes, "skip_bad": skip_bad}
    return EvaluationInputs(truth, after, before, noted, files, options)
