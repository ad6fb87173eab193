"""Refine the bundled example, score it before and after, and draw what changed.

    python examples/demo.py --out out/demo

Ten photos of four DAVIS sequences with a real detector's masks (examples/davis); the shipped model has seen none of
these sequences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.evaluation.figures import Evaluation, ObjectScores
from bpr_cli.files import ensure_folder
from bpr_cli.formats import read_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import read_image
from bpr_cli.formats.records import Results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import Mask
from bpr_cli.refining.refine import refine
from bpr_cli.report.picture import Comparison, contact_sheet
from bpr_cli.report.tables import format_table

DAVIS = Path(__file__).parent / "davis"
SHOWN = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Refine and score the bundled example.")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--model", help="another model than the shipped one")
    arguments = parser.parse_args()
    ensure_folder(arguments.out)
    coarse, gt = DAVIS / "results.json", DAVIS / "gt.json"
    refined = arguments.out / "refined.json"
    options = {"model": arguments.model} if arguments.model else {}
    summary = refine(coarse, refined, images=DAVIS / "images", image_info=gt, **options)
    evaluation = evaluate(refined, gt, coarse)

    console = Console()
    console.print(format_table(evaluation))
    picture = arguments.out / "before_after.png"
    contact_sheet(most_improved(evaluation, read_results(coarse), read_results(refined), read_results(gt)), picture)
    console.print(f"{summary.instances} detections, {summary.patches} patches -> {refined}", highlight=False)
    console.print(f"before and after, side by side -> {picture}", highlight=False)


def most_improved(evaluation: Evaluation, coarse: Results, refined: Results, truth: Results) -> list[Comparison]:
    """The objects whose boundary F-score rose most, one of a sequence, with their masks before and after."""

    def gain(scores: ObjectScores) -> float:
        return scores.after.contour_f - (scores.before.contour_f if scores.before else 0.0)

    finder = ImageFinder(DAVIS / "images")
    records = {entry.image.id: entry.image for entry in truth.images}
    shown: dict[str, Comparison] = {}
    for scores in sorted(evaluation.objects, key=gain, reverse=True):
        record = records[scores.image_id]
        if record.fields["sequence"] in shown or scores.before is None:
            continue
        image = read_image(finder.find(record))
        shown[record.fields["sequence"]] = Comparison(
            image,
            before=mask_of(coarse, scores.image_id, scores.detection, image.shape[:2]),
            after=mask_of(refined, scores.image_id, scores.detection, image.shape[:2]),
            truth=mask_of(truth, scores.image_id, scores.truth, image.shape[:2]),
            caption_before=f"IoU {scores.before.iou:.3f}, boundary F {scores.before.contour_f:.2f}",
            caption_after=f"IoU {scores.after.iou:.3f}, boundary F {scores.after.contour_f:.2f}",
        )
    return list(shown.values())[:SHOWN]


def mask_of(results: Results, image_id: int | str, index: int, size: tuple[int, ...]) -> Mask:
    """The mask of one instance, by its position in the file."""
    (entry,) = (entry for entry in results.images if entry.image.id == image_id)
    (instance,) = (instance for instance in entry.instances if instance.index == index)
    return decode_mask(instance, size[0], size[1])


if __name__ == "__main__":
    main()
