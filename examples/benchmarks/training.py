"""How fast `bpr train` goes, against a plain training loop, and whether its loader could ever be the limit.

    python examples/benchmarks/training.py --patches shards/

The plain loop is what one would write first: float32, torch's usual memory layout, patches read between the steps, no
augmentation, no moving average. `bpr train` does all of its work: both flips and turns, photometric distortion, the
moving average and the log. The loader alone is timed without a network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from bpr_cli.engines.devices import choose_device
from bpr_cli.network import hrnet
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import resize
from bpr_cli.shards import list_shards
from bpr_cli.training.loading import PatchDataset, StepSampler, training_batches
from bpr_cli.training.loop import LOG_EVERY
from bpr_cli.training.recipe import choose_recipe
from bpr_cli.training.train import train

WARM_UP = 3


def plain_loop(shards: list[Path], batch_size: int, steps: int, device: torch.device) -> float:
    """Patches a second of the loop that one would write first."""
    network = hrnet.build("hrnet-w18-small").to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    sampler = StepSampler(len(dataset := PatchDataset(shards)), batch_size, WARM_UP + steps, seed=0)
    for step, batch in enumerate(DataLoader(dataset, batch_sampler=sampler)):
        if step == WARM_UP:
            start = time.perf_counter()
        images, coarse, target = (tensor.to(device) for tensor in batch)
        logits = network(prepare(images, coarse, 128))
        loss = cross_entropy(resize(logits, tuple(target.shape[-2:])), target.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return steps * batch_size / (time.perf_counter() - start)


def our_training(shards: Path, batch_size: int, device: str, precision: str, workers: int) -> float:
    """Patches a second of `bpr train`, after its first window."""
    recipe = choose_recipe("default", steps=3 * LOG_EVERY, batch_size=batch_size)
    with tempfile.TemporaryDirectory() as folder:
        train([shards], Path(folder), recipe, device=device, precision=precision, workers=workers,
              validate_every=10**6, save_every=10**6, quiet=True)  # fmt: skip
        rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    rates = [row["patches_per_second"] for row in rows if row["kind"] == "train"]
    return max(rates[1:])


def loader_alone(shards: list[Path], batch_size: int, workers: int) -> float:
    """Patches a second that reach the training process."""
    dataset = PatchDataset(shards)
    warm, steps = 20, 200
    batches = training_batches(dataset, StepSampler(len(dataset), batch_size, warm + steps, 0), workers, False)
    for step, _ in enumerate(batches):
        if step == warm:
            start = time.perf_counter()
    return (steps - 1) * batch_size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=Path, required=True, help="folder that bpr extract made")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="of the plain loop")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    shards, size = list_shards(options.patches, "train"), options.batch_size

    plain = plain_loop(shards, size, options.steps, device)
    print(f"plain loop, fp32             {plain:9.1f} patches/s")
    for precision in ("fp32", "auto"):
        rate = our_training(options.patches, size, str(device), precision, workers=1)
        print(f"bpr train --precision {precision:6} {rate:9.1f} patches/s, {rate / plain:.2f} times the plain loop")
    for workers in sorted({1, min(8, os.cpu_count() or 1)}):
        rate = loader_alone(shards, size, workers)
        print(f"loader alone, {workers} worker{'s' * (workers > 1):1}       {rate:9.1f} patches/s")
    print(f"{device}, {os.cpu_count()} cores, torch {torch.__version__}, python {platform.python_version()}")


if __name__ == "__main__":
    main()
