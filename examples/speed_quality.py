"""Boundary IoU against time per photo: every model that ships, NMS thresholds, flips, passes and engines, as a picture.

    python examples/speed_quality.py --results results_dev.json --images images --gt gt_dev.json -o speed_quality.png

Each point is one refinement of the whole file in this process, once to warm up and once to measure; reading, decoding
and writing are included, loading the model isn't. Needs matplotlib (`pip install matplotlib`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from bpr_cli import Refiner, refine
from bpr_cli.benchmark.machine import machine_facts
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.refining.speed import SPEEDS

THRESHOLDS = (0.1, 0.25, 0.4, 0.55)
TICKS = (20, 30, 50, 100, 200, 500, 1000)  # milliseconds


@dataclass(frozen=True)
class Variant:
    """One point of the picture."""

    line: str  # the line that it belongs to
    label: str
    refiner: Refiner


def variants() -> list[Variant]:
    """The family over NMS thresholds, the default without 8 bits and without OpenVINO, and the dial."""
    found = []
    for model in ("davis-fast", "open-w18s", "davis-w18s"):
        refiner = Refiner.from_pretrained(model)
        found += [_at(refiner, model, nms_threshold=threshold) for threshold in THRESHOLDS]
        if model == "davis-w18s":
            twice = ((0.25, False), (0.4, False), (0.55, False), (0.55, True))
            found += [
                _at(refiner, f"{model}, two passes", nms_threshold=t, flips=f, passes=2, blend="hann") for t, f in twice
            ]
    torch_only = Refiner.from_pretrained("davis-w18s", engine="torch")
    return [*found, *(_at(torch_only, "davis-w18s, without OpenVINO", nms_threshold=t) for t in THRESHOLDS)]


def _at(refiner: Refiner, line: str, **changes: float | bool | str) -> Variant:
    settings = replace(refiner.settings, **{"blend": "uniform", "passes": 1, **changes})
    label = f"{changes['nms_threshold']}{', flips' if changes.get('flips') else ''}"
    return Variant(line, label, Refiner(refiner.networks[:1], settings))


def measure(variant: Variant, results: Path, images: Path, gt: Path, folder: Path) -> dict[str, float | str]:
    """Milliseconds a photo, patches and the quality of the masks."""
    photos = len(json.loads(gt.read_text())["images"])
    for _ in range(2):
        start = time.perf_counter()
        done = refine(
            results, folder / "out.json", images=images, image_info=gt, model=variant.refiner, quiet=True
        )  # the first round compiles
        seconds = time.perf_counter() - start
    after = evaluate(folder / "out.json", gt, results, quiet=True).figures
    return {
        "line": variant.line,
        "label": variant.label,
        "ms_per_photo": 1000 * seconds / photos,
        "patches": done.patches,
        "boundary_iou": after.boundary_iou,
        "contour_f": after.contour_f,
    }


def draw(rows: list[dict[str, float | str]], before: float, out: Path) -> None:
    """Lines of points, time in powers of ten."""
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=110)
    axes.axhline(100 * before, color="grey", linewidth=1, linestyle=":")
    axes.annotate("coarse masks", (rows[0]["ms_per_photo"], 100 * before), textcoords="offset points", xytext=(0, 4))
    for line in dict.fromkeys(row["line"] for row in rows):
        points = [row for row in rows if row["line"] == line]
        x, y = [row["ms_per_photo"] for row in points], [100 * row["boundary_iou"] for row in points]
        axes.plot(x, y, "o-", label=line, markersize=4)
    for name, speed in SPEEDS.items():
        flips = ", flips" if speed.flips else ""
        for row in rows:
            line = speed.model + (", two passes" if speed.passes == 2 else "")
            if (row["line"], row["label"]) == (line, f"{speed.nms_threshold}{flips}"):
                place = (row["ms_per_photo"], 100 * row["boundary_iou"])
                axes.annotate(f"--speed {name}", place, textcoords="offset points", xytext=(0, 8), ha="center")
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.minorticks_off()
    axes.margins(x=0.08, y=0.1)
    axes.set_xlabel("milliseconds a photo; along each line the NMS threshold rises from 0.1 to 0.55")
    axes.set_ylabel("Boundary IoU, %")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="COCO results list")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--gt", type=Path, required=True, help="COCO ground truth")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write; a .json beside it")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in variants():
            rows.append(measure(variant, options.results, options.images, options.gt, Path(folder)))
            print(
                "{line:32}{label:14}{ms_per_photo:8.1f} ms a photo  Boundary IoU {boundary_iou:.3f}".format(**rows[-1])
            )
    before = evaluate(options.results, options.gt, quiet=True).figures.boundary_iou
    record = {"machine": machine_facts(torch.device("cpu")), "before": before, "points": rows}
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(rows, before, options.output)


if __name__ == "__main__":
    main()
