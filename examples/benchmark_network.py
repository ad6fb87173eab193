"""Patches a second of the refiner on this machine, against plain float32 torch at a batch size of 1.

    python examples/benchmark_network.py --model davis-w18s --batch-sizes 1,8,16,32,64

Both ways take uint8 patches and give probabilities of the patch's size. Rounds of all ways alternate, and each way's
time is its least, so that a busy machine does not favour one of them.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bpr_cli.network.checkpoint import load
from bpr_cli.network.devices import choose_device
from bpr_cli.network.engine import open_engine
from bpr_cli.network.hrnet import resize_logits
from bpr_cli.network.inputs import prepare
from bpr_cli.refining.refiner import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-sizes", default="1,8,16,32,64")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    device = choose_device(arguments.device)
    module, config = load(arguments.model, device)
    rng = np.random.default_rng(0)
    side = config.patch_size + 2 * config.padding
    images = rng.integers(0, 256, (max(sizes), side, side, 3), np.uint8)
    masks = rng.integers(0, 2, (max(sizes), side, side), np.uint8)

    @torch.inference_mode()
    def plain() -> None:
        patches = (torch.from_numpy(array[:1]).to(device) for array in (images, masks))
        logits = module(prepare(*patches, config.input_size).contiguous())
        torch.softmax(resize_logits(logits, (side, side)), dim=1)[:, 1].cpu()

    ways: dict[str, tuple[Callable[[], object], int]] = {"plain torch, fp32, batch 1": (plain, 1)}
    for precision in ("fp32", "auto"):
        engine = open_engine(module, config, device, precision)
        name = "fp32" if engine.dtype is None else str(engine.dtype).removeprefix("torch.")
        for size in sizes:
            ways[f"engine, {name}, batch {size}"] = (
                lambda engine=engine, size=size: engine.predict(images[:size], masks[:size]),
                size,
            )
    best = {name: float("inf") for name in ways}
    for _ in range(arguments.rounds + 1):  # the first round warms up; as the slowest it drops out
        for name, (run, size) in ways.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - start) / size)

    machine = f"{torch.get_num_threads()} threads, {platform.machine()}"
    title = f"{arguments.model}, {device}, torch {torch.__version__}, {machine}"
    table = Table("way", "ms a patch", "patches/s", "times plain", title=title)
    for name, seconds in best.items():
        ratio = best["plain torch, fp32, batch 1"] / seconds
        table.add_row(name, f"{1e3 * seconds:.1f}", f"{1 / seconds:.0f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
