"""The paper's tables, each cell trained and measured here: writes examples/PAPER.md.

    python examples/tools/paper                          # on the bundled photos
    python examples/tools/paper --data /data/cityscapes  # on photos and results of your own, beside them
    python examples/tools/paper --page-only              # the page alone, from the cells that are there

Finished cells are kept in examples/paper_cells; started again, it goes on where it was. `data_sets.given` says how a
folder for --data is laid out. Plots need matplotlib (`pip install '.[paper]'`).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from cells import CELLS
from data_sets import bundled, given
from running import ROOT, Budget, Runner

from bpr_cli.errors import InputError

CELLS_FOLDER = ROOT / "examples" / "paper_cells"
PATCHES = 4000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photos, ground truth and results; default: bundled photos")
    parser.add_argument("--tables", help="only the cells of these tables, as 1,2,7")
    parser.add_argument("--patches", type=int, default=PATCHES, help="patches that each training sees (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all trainings (%(default)s)")
    parser.add_argument("--precision", default="auto", help="of all trainings, as in bpr train (%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "paper", help="folder for patches and runs")
    parser.add_argument("--page-only", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    try:
        if not arguments.page_only:
            fill(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def fill(arguments: argparse.Namespace) -> None:
    """Run the cells that are asked for and not kept yet."""
    data = bundled() if arguments.data is None else given(arguments.data)
    budget = Budget(arguments.patches, arguments.seed)
    runner = Runner(data, budget, CELLS_FOLDER / data.name, arguments.work / data.name, arguments.precision)
    wanted = None if arguments.tables is None else set(arguments.tables.split(","))
    digest = data.digest()
    for cell in CELLS:
        if cell.form >= len(data.forms) or (cell.training and cell.training.form >= len(data.forms)):
            continue
        if wanted is not None and not wanted.intersection(cell.tables):
            continue
        start = time.perf_counter()
        if runner.fill(cell, digest):
            print(f"{data.name}: {cell.slug} in {(time.perf_counter() - start) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
