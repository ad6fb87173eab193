"""Which patches make which batch: a function of the seed and the step, so that a restart is exact.

Every process of a distributed run computes the same global batch and takes its share, so that the training does
not depend on the number of processes either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from bpr_cli.errors import InputError
from bpr_cli.processes import begin_worker, signals_held
from bpr_cli.shards import ShardReader

ArrayTriple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

MOST_WORKERS = 8
VALIDATION_BATCH = 64


class PatchDataset(Dataset[ArrayTriple]):
    """Patches of some shards: image (H, W, 3), coarse mask and target mask (H, W), all uint8."""

    def __init__(self, shards: list[Path]) -> None:
        self.reader = ShardReader(shards)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> ArrayTriple:
        image, coarse, target = self.reader.arrays(index)
        return torch.from_numpy(image), torch.from_numpy(coarse), torch.from_numpy(target)

    def __getitems__(self, indices: list[int]) -> list[ArrayTriple] | InputError:
        """Several patches; a broken one's error as a value, as a raised one leaves a worker as a text of many lines."""
        try:
            return [self[index] for index in indices]
        except InputError as error:
            return error


class StepSampler(Sampler[list[int]]):
    """Yields this process's patch indices of each step from `first_step` on.

    Each epoch is a permutation of all patches decided by (seed, epoch); what is left at its end, smaller than a
    batch, is dropped. Fewer patches than a batch are drawn with repetition of whole permutations.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        steps: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size, self.batch_size, self.steps, self.seed = size, batch_size, steps, seed
        self.first_step, self.rank, self.world = first_step, rank, world

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[int]]:
        repeats = -(-self.batch_size // self.size)
        per_epoch = self.size * repeats // self.batch_size
        order, epoch_of_order = np.empty(0, np.int64), -1
        for step in range(self.first_step, self.steps):
            epoch, position = divmod(step, per_epoch)
            if epoch != epoch_of_order:
                rng = np.random.default_rng([self.seed, epoch])
                order = np.concatenate([rng.permutation(self.size) for _ in range(repeats)])
                epoch_of_order = epoch
            batch = order[position * self.batch_size : (position + 1) * self.batch_size]
            yield batch[self.rank :: self.world].tolist()


class _PatchLoader(DataLoader[Any]):
    """Its workers leave signals to their parent from their start on."""

    def __iter__(self) -> Any:
        with signals_held():
            return super().__iter__()


def default_workers(device_type: str, processes: int) -> int:
    """How many workers keep a training process busy.

    One reads some 2,000 patches a second, a hundred times what two CPU cores train on; a GPU may take more.

    Args:
        device_type: "cuda", "cpu", ...
        processes: training processes that share this machine's cores.
    """
    return 1 if device_type == "cpu" else max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // processes))


def training_batches(
    dataset: PatchDataset, sampler: StepSampler, workers: int, pin_memory: bool
) -> Iterator[ArrayTriple]:
    """Batches in the sampler's order; `workers` processes read ahead (0: none).

    Raises:
        InputError: a patch is broken.
    """
    loader = _PatchLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_stacked,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=begin_worker if workers else None,
    )
    yield from _checked(loader)


def validation_batches(dataset: PatchDataset, rank: int, world: int) -> Iterator[ArrayTriple]:
    """This process's share of all patches, in batches; InputError at a broken one."""
    share = Subset(dataset, range(rank, len(dataset), world))
    yield from _checked(DataLoader(share, batch_size=VALIDATION_BATCH, collate_fn=_stacked))


def _stacked(patches: list[ArrayTriple] | InputError) -> ArrayTriple | InputError:
    return patches if isinstance(patches, InputError) else default_collate(patches)


def _checked(batches: Iterable[ArrayTriple | InputError]) -> Iterator[ArrayTriple]:
    for batch in batches:
        if isinstance(batch, InputError):
            raise batch
        yield batch
