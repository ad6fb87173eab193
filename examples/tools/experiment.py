"""One experiment, one command, one row in LOG.md: train a variant, or take what is there, and score it.

    python examples/tools/experiment.py "w18 for w18-small" --why "four times the parameters" --sets sets.toml \
        --train "--patches shards/ --network hrnet-w18 --steps 3600" --run runs/w18
    python examples/tools/experiment.py "flips" --why "two looks at each patch" --sets sets.toml \
        --refine "bpr refine --model runs/first --flips"
    python examples/tools/experiment.py "GrabCut" --why "a baseline" --sets sets.toml \
        --refine "python examples/baselines.py grabcut"

sets.toml names what to score on; paths are relative to it:

    [[set]]
    name = "DAVIS dev, 28x28"
    images = "davis/images"
    gt = "davis/gt_dev.json"
    results = "davis/results_dev.json"
    group_by = "sequence"       # over what intervals are drawn; without it, images

Intervals are 95 %, by bootstrap over groups; a difference that they hold is no finding.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOG = Path(__file__).parents[2] / "models" / "LOG.md"
HEADING = "## Rows made by experiment.py"
BPR = [sys.executable, "-m", "bpr_cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a variant, score it, and log a row.")
    parser.add_argument("what", help="what was changed")
    parser.add_argument("--why", required=True)
    parser.add_argument("--sets", type=Path, required=True, help="TOML file: what to score on")
    parser.add_argument("--train", help="options of bpr train, without --output")
    parser.add_argument("--run", type=Path, help="the run's folder, with --train")
    parser.add_argument("--refine", help="a command that takes INPUT -o OUTPUT --images DIR --image-info GT")
    parser.add_argument("--log", type=Path, default=LOG)
    arguments = parser.parse_args()
    if bool(arguments.train) == bool(arguments.refine) or bool(arguments.train) != bool(arguments.run):
        parser.error("give --train with --run, or --refine")

    start = time.perf_counter()
    if arguments.train:
        run([*BPR, "train", *shlex.split(arguments.train), "--output", str(arguments.run)])
        command = [*BPR, "refine", "--model", str(arguments.run)]
        cost = f"trained in {(time.perf_counter() - start) / 60:.0f} min"
    else:
        command = shlex.split(arguments.refine)
        command = [*BPR, *command[1:]] if command[0] == "bpr" else command
        command = [sys.executable, *command[1:]] if command[0] == "python" else command
        cost = "no training"
    sets = tomllib.loads(arguments.sets.read_text(encoding="utf-8"))["set"]
    cells = [cell(score(entry, arguments.sets.parent, command)) for entry in sets]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    row = [str(today), arguments.what, arguments.why, *cells, cost]
    add_row(arguments.log, [entry["name"] for entry in sets], row)


def score(entry: dict[str, Any], folder: Path, command: list[str]) -> dict[str, Any]:
    """Refine one set and evaluate it: what `bpr evaluate --json` writes."""
    images, gt, results = (str(folder / entry[key]) for key in ("images", "gt", "results"))
    with tempfile.TemporaryDirectory() as temporary:
        refined, figures = Path(temporary, "refined.json"), Path(temporary, "figures.json")
        run([*command, results, "-o", str(refined), "--images", images, "--image-info", gt])
        grouping = ["--group-by", entry["group_by"]] if "group_by" in entry else []
        run(
            [*BPR, "evaluate", str(refined), "--gt", gt, "--baseline", results, *grouping, "--json", str(figures), "-q"]
        )
        document: dict[str, Any] = json.loads(figures.read_text(encoding="utf-8"))
    return document


def run(command: list[str]) -> None:
    print(shlex.join(command), flush=True)
    subprocess.run(command, check=True)


def cell(figures: dict[str, Any]) -> str:
    """One set's figures, in percent: before > after, and intervals of the changes."""
    before, after = figures["before"], figures["after"]
    (everything,) = figures["breakdown"]["all"]
    names = {"AP": "ap", "APS": "ap_s", "BAP": "boundary_ap", "IoU": "iou", "BIoU": "boundary_iou", "F": "contour_f"}
    parts = []
    for label, name in names.items():
        if before[name] is None:
            continue
        part = f"{label} {100 * before[name]:.1f} > {100 * after[name]:.1f}"
        if name in ("iou", "boundary_iou", "contour_f") and everything[name]["low"] is not None:
            part += f" [{100 * everything[name]['low']:+.1f}, {100 * everything[name]['high']:+.1f}]"
        parts.append(part)
    parts.append(f"harmed {100 * figures['harmed']:.1f}, improved {100 * figures['improved']:.1f}")
    return "<br>".join(parts)


def add_row(log: Path, names: list[str], row: list[str]) -> None:
    """Append the row to the log's table of these sets, which begins here if it is not there yet."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    head = "| " + " | ".join(["date", "what", "why", *names, "cost"]) + " |"
    if HEADING not in text:
        text = text.rstrip() + f"\n\n{HEADING}\n"
    if head not in text:
        text = text.rstrip() + f"\n\n{head}\n|{'---|' * (len(names) + 4)}\n"
    lines = text.rstrip("\n").split("\n")
    last = next(i for i in range(lines.index(head), len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    lines.insert(last, "| " + " | ".join(row) + " |")
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
