"""`bpr evaluate`: how good masks are and, against the file they were refined from, what refinement changed.

Besides AP, which mixes masks with scores and counts, it measures masks alone: for each ground-truth object
the detection that overlaps it most. With a baseline that choice is made on the baseline and kept, so that
before and after compare the same detection with the same object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from bpr_cli import __version__
from bpr_cli.errors import checked_settings
from bpr_cli.evaluation.average_f import ContourTally
from bpr_cli.evaluation.average_precision import EvaluatedImage, Precision, average_precision
from bpr_cli.evaluation.blocks import BlockComparer
from bpr_cli.evaluation.checks import check_truth
from bpr_cli.evaluation.cityscapes_official import official_precision
from bpr_cli.evaluation.compare import CompareSettings
from bpr_cli.evaluation.comparisons import BoundOnImage, FileOnImage
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.figures import (
    CategoryFigures,
    Evaluation,
    Figures,
    MaskScores,
    Scored,
    UpperBound,
    mean,
    printable,
)
from bpr_cli.evaluation.matching import THRESHOLDS
from bpr_cli.evaluation.part_by_part import compare_images, is_one_block
from bpr_cli.evaluation.reading import EvaluationInputs, read_inputs
from bpr_cli.evaluation.rules import Rules
from bpr_cli.files import PathLike, fingerprint
from bpr_cli.formats import cityscapes
from bpr_cli.formats.records import Results
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.progress import progress_bar
from bpr_cli.stores.staging import with_stores
from bpr_cli.unfinished import Unfinished

BAND = 0.02  # Boundary IoU's band on COCO and LVIS, as a share of the image diagonal (Cheng et al., CVPR 2021)
CITYSCAPES_BAND = 0.005  # the same on Cityscapes


@with_stores(inputs=("results", "gt", "baseline", "image_info"), photos=("images",))
def evaluate(
    results: PathLike,
    gt: PathLike,
    baseline: PathLike | None = None,
    *,
    settings: EvaluationSettings | None = None,
    images: PathLike | None = None,
    image_info: PathLike | None = None,
    coco_classes: bool = False,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    quiet: bool = False,
) -> Evaluation:
    """Compare results with ground truth, and with the file that they were refined from.

    Args:
        results: detections, in any format that `read_results` reads.
        gt: ground truth: COCO or LVIS, or a folder of Cityscapes' `*_instanceIds.png`; each brings its own rules.
        baseline: what the results were refined from: the same detections in the same order.
        settings: see `EvaluationSettings`.
        images, image_info, coco_classes, skip_bad, max_pixels: as in `read_inputs`.
        quiet: no progress bar.

    Raises:
        InputError: bad input; images or categories that the ground truth does not know; a detection without
            score; a baseline with other detections.
    """
    inputs = read_inputs(
        results,
        gt,
        baseline,
        images=images,
        image_info=image_info,
        coco_classes=coco_classes,
        skip_bad=skip_bad,
        max_pixels=max_pixels,
    )
    return evaluate_inputs(inputs, settings, quiet=quiet)


def evaluate_inputs(
    inputs: EvaluationInputs,
    settings: EvaluationSettings | None = None,
    *,
    unfinished: Unfinished | None = None,
    quiet: bool = False,
) -> Evaluation:
    """The same for files that were read already; see `evaluate`.

    Args:
        unfinished: keeps blocks of images (`unfinished_evaluation`).
    """
    settings = checked_settings(settings, EvaluationSettings)
    truth = inputs.gt
    categories = check_truth(truth, settings.group_by)
    rules = Rules(sorted(categories), truth.frequencies)
    is_cityscapes = truth.kind == cityscapes.TRUTH
    usual = CITYSCAPES_BAND if is_cityscapes else BAND
    ratio = usual if settings.boundary_ratio is None else settings.boundary_ratio
    comparing = CompareSettings(ratio, settings.tolerance, rules, settings.upper_bounds, settings.group_by)

    comparisons, detections = compare_images(inputs, categories, BlockComparer(comparing), unfinished, quiet)
    objects = tuple(item for comparison in comparisons for item in comparison.objects)
    names = {category: printable(truth.categories.get(category, category)) for category in rules.categories}
    files = 2 if inputs.before else 1
    with _AveragePrecisions(rules, files, bounds=len(comparing.radii), quiet=quiet) as precisions:
        scored = precisions.score([item.after for item in comparisons], [item.after for item in objects], names)
        images_before = [item.before for item in comparisons if item.before is not None]
        before_scores = [item.before for item in objects if item.before is not None]
        bounds = tuple(
            UpperBound(radius, precisions.bound([item.bounds[position] for item in comparisons]))
            for position, radius in enumerate(comparing.radii)
        )
        scored_baseline = None if inputs.before is None else precisions.score(images_before, before_scores, names)
    if is_cityscapes:
        scored = _with_official(scored, inputs.results, truth)
        if scored_baseline is not None and inputs.baseline is not None:
            scored_baseline = _with_official(scored_baseline, inputs.baseline, truth)
    return Evaluation(
        scored,
        scored_baseline,
        images=len(truth.images),
        detections=detections,
        truths=sum(category.truths for category in scored.categories),
        objects=objects,
        changes=tuple(sorted((c for item in comparisons for c in item.changes), key=lambda change: change.index)),
        upper_bounds=bounds,
        category_names=names,
        boundary_ratio=ratio,
        tolerance=settings.tolerance,
        rules="cityscapes" if is_cityscapes else "lvis" if rules.is_lvis else "coco",
        group_by=settings.group_by,
    )


def _with_official(scored: Scored, results: Results, truth: Results) -> Scored:
    """With the Cityscapes script's own figures."""
    official = official_precision(results, truth)
    figures = replace(scored.figures, cityscapes_ap=official.ap, cityscapes_ap50=official.ap50)
    return replace(scored, figures=figures, cityscapes_classes=official.classes)


def unfinished_evaluation(
    inputs: EvaluationInputs, settings: EvaluationSettings, output: Path | None
) -> AbstractContextManager[Unfinished | None]:
    """Where finished blocks of images are kept, beside `output`; None without one, or where there is but one block.

    Raises:
        InputError: what is kept there was made from other inputs or settings (on entering).
    """
    if output is None or is_one_block(inputs):
        return nullcontext()
    made_from = {
        "version": __version__,
        **{name: fingerprint(path).sha256 for name, path in inputs.files.items()},
        **inputs.options,
        **asdict(settings),
        "upper_bounds": list(settings.upper_bounds),
    }
    return Unfinished(output, made_from)


class _AveragePrecisions:
    """Counts AP and Boundary AP of several files, with one progress bar over all of them."""

    def __init__(self, rules: Rules, files: int, bounds: int, quiet: bool) -> None:
        self._rules = rules
        self._bar = progress_bar(2 * (files + bounds), "average precision", "run", quiet=quiet)

    def __enter__(self) -> _AveragePrecisions:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)

    def score(self, images: Sequence[FileOnImage], scores: Sequence[MaskScores], names: Mapping[int, str]) -> Scored:
        """All figures of one file."""
        masks, boundaries = self._mask_and_boundary([image.evaluated for image in images])
        counts = dict.fromkeys(names, 0)
        for image in images:
            for item in image.evaluated.truths:
                if not item.is_ignored:
                    counts[item.category_id] += 1
        tally = ContourTally(len(THRESHOLDS))
        for image in images:
            for category, step, f_score in image.contours:
                tally.add(category, step, f_score)
        contours = tally.average([category for category, count in counts.items() if count])
        figures = replace(
            _figures(masks, boundaries, scores), af=contours.af, af_pooled=contours.pooled, af_zero=contours.zero
        )
        categories = tuple(
            CategoryFigures(
                category,
                name,
                counts[category],
                masks.by_category[category],
                boundaries.by_category[category],
                contours.by_category.get(category, math.nan),
            )
            for category, name in names.items()
        )
        return Scored(figures, contours.cells, categories)

    def bound(self, images: Sequence[BoundOnImage]) -> Figures:
        """The figures of an upper bound."""
        masks, boundaries = self._mask_and_boundary([image.evaluated for image in images])
        return _figures(masks, boundaries, [score for image in images for score in image.scores])

    def _mask_and_boundary(self, images: Sequence[EvaluatedImage]) -> tuple[Precision, Precision]:
        masks = average_precision(images, self._rules)
        self._bar.update()
        boundaries = average_precision(images, self._rules, "boundary")
        self._bar.update()
        return masks, boundaries


def _figures(masks: Precision, boundaries: Precision, scores: Sequence[MaskScores]) -> Figures:
    return Figures(
        ap=masks.ap,
        ap50=masks.ap50,
        ap75=masks.ap75,
        ap_s=masks.ap_s,
        ap_m=masks.ap_m,
        ap_l=masks.ap_l,
        ap_r=masks.ap_r,
        ap_c=masks.ap_c,
        ap_f=masks.ap_f,
        ar_1=masks.ar_1,
        ar_10=masks.ar_10,
        ar=masks.ar,
        boundary_ap=boundaries.ap,
        boundary_ap50=boundaries.ap50,
        boundary_ap75=boundaries.ap75,
        boundary_ap_s=boundaries.ap_s,
        boundary_ap_m=boundaries.ap_m,
        boundary_ap_l=boundaries.ap_l,
        iou=mean([item.iou for item in scores]),
        boundary_iou=mean([item.boundary_iou for item in scores]),
        contour_f=mean([item.contour_f for item in scores]),
    )
