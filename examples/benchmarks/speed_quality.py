r"""Boundary IoU against time per photo: every model that ships, NMS thresholds, flips, passes, engines, as a picture.

    python examples/benchmarks/speed_quality.py --results results_dev.json --images images --gt gt_dev.json \
        -o speed_quality.png

Each point is one refinement of the whole file in this process, once to warm up and once to measure; reading, decoding
and writing are included, loading the model isn't. Needs matplotlib (`pip install matplotlib`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from bpr_cli import Refiner, refine
from bpr_cli.benchmark.machine import machine_facts
from bpr_cli.evaluation.evaluate import evaluate
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import SPEEDS

THRESHOLDS = (0.1, 0.25, 0.4, 0.55)
TICKS = (20, 30, 50, 100, 200, 500, 1000)  # milliseconds


@dataclass(frozen=True)
class Variant:
    """One point of the picture."""

    line: str  # the line that it belongs to
    models: tuple[str, ...]  # one for each pass
    nms_threshold: float
    flips: bool = False
    engine: str = "auto"


VARIANTS = [
    *(Variant(name, (name,), t) for name in ("davis-fast", "open-w18s", "davis-w18s") for t in THRESHOLDS),
    *(Variant("davis-w18s, without OpenVINO", ("davis-w18s",), t, engine="torch") for t in THRESHOLDS),
    *(Variant("davis-fast, then davis-w18s", ("davis-fast", "davis-w18s"), t) for t in THRESHOLDS),
    *(Variant("davis-w18s twice, with flips", ("davis-w18s", "davis-w18s"), t, flips=True) for t in THRESHOLDS),
]


def measure(variant: Variant, results: Path, images: Path, gt: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds a photo, patches and the quality of the masks."""
    photos = len(json.loads(gt.read_text())["images"])
    settings = RefineSettings(
        nms_threshold=variant.nms_threshold,
        flips=variant.flips,
        blend="hann" if len(variant.models) > 1 else "uniform",  # as the dial has it
        passes=len(variant.models),
    )
    refiner = Refiner.from_pretrained(variant.models, settings=settings, engine=variant.engine)
    for _ in range(2):
        start = time.perf_counter()
        done = refine(
            results, folder / "out.json", images=images, image_info=gt, model=refiner, quiet=True
        )  # the first round compiles
        seconds = time.perf_counter() - start
    after = evaluate(folder / "out.json", gt, results, quiet=True).figures
    return {
        **asdict(variant),
        "ms_per_photo": 1000 * seconds / photos,
        "patches": done.patches,
        "boundary_iou": after.boundary_iou,
        "contour_f": after.contour_f,
    }


def draw(rows: list[dict[str, Any]], before: float, out: Path) -> None:
    """Lines of points, time in powers of ten."""
    figure, axes = plt.subplots(figsize=(8, 4.5), dpi=110)
    axes.axhline(100 * before, color="grey", linewidth=1, linestyle=":")
    axes.annotate("coarse masks", (rows[0]["ms_per_photo"], 100 * before), textcoords="offset points", xytext=(0, 4))
    for line in dict.fromkeys(row["line"] for row in rows):
        points = [row for row in rows if row["line"] == line]
        x, y = [row["ms_per_photo"] for row in points], [100 * row["boundary_iou"] for row in points]
        axes.plot(x, y, "o-", label=line, markersize=4)
    for name, speed in SPEEDS.items():
        for row in rows:
            made = row["models"], row["nms_threshold"], row["flips"], row["engine"]
            if made == (speed.models, speed.nms_threshold, speed.flips, "auto"):
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
        for variant in VARIANTS:
            rows.append(measure(variant, options.results, options.images, options.gt, Path(folder)))
            shown = "{line:42}{nms_threshold:5}{ms_per_photo:8.1f} ms a photo  Boundary IoU {boundary_iou:.3f}"
            print(shown.format(**rows[-1]))
    before = evaluate(options.results, options.gt, quiet=True).figures.boundary_iou
    record = {"machine": machine_facts(torch.device("cpu")), "before": before, "points": rows}
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=1))
    draw(rows, before, options.output)


if __name__ == "__main__":
    main()
