"""One model from the ends of several training runs: the mean of their weights' moving averages.

    python examples/tools/average.py runs/third runs/fourth -o models/davis-w18s

Runs that began from one another lie close together, and the mean of their ends generalises a little better than either.
A run's `best/` is left aside: validation patches of coarse polygons decide it too early.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bpr_cli.network import checkpoint

PREFIX = "module."  # before the names in torch's AveragedModel


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of one network")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the model, in half precision")
    options = parser.parse_args()
    module, config = checkpoint.load(options.runs[0])
    ends = [torch.load(run / "last.pt", weights_only=True, map_location="cpu")["ema"] for run in options.runs]
    mean = {}
    for name, tensor in module.state_dict().items():
        total = sum(end[PREFIX + name].double() for end in ends)
        mean[name] = (total / len(ends)).to(tensor.dtype)
    module.load_state_dict(mean)
    checkpoint.save(options.output, module, config, half=True)
    print(f"mean of {len(ends)} runs -> {options.output}")


if __name__ == "__main__":
    main()
