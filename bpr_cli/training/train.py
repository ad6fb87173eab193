"""`bpr train`: from patch shards to a refiner.

One loop for every device and any number of processes. The order of patches and their augmentation are functions
of (seed, step), so a run that was killed goes on exactly where its last saved state was, and a run on two
processes takes the same steps as on one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset

from bpr_cli import shards
from bpr_cli.errors import InputError, to_install
from bpr_cli.extraction.manifest import read_manifest
from bpr_cli.files import PathLike, as_path, as_paths
from bpr_cli.network import checkpoint, hrnet
from bpr_cli.network.devices import autocast_dtype
from bpr_cli.network.inputs import prepare
from bpr_cli.progress import progress_bar
from bpr_cli.training import augment
from bpr_cli.training.batches import PatchDataset, StepSampler, default_workers, training_loader
from bpr_cli.training.distributed import (
    Process,
    joined_process,
    sum_over_processes,
    synchronise_batch_norm,
)
from bpr_cli.training.losses import patch_loss
from bpr_cli.training.recipe import Recipe, learning_rate
from bpr_cli.training.run_folder import RunLog, load_state, open_run, save_state
from bpr_cli.training.validate import PatchScores, validate

LOG_EVERY = 50  # steps between log lines: half a minute on a CPU, a second or two on a GPU
VALIDATION_BATCH = 64


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number; nothing that follows would mean anything."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a finished run reached: its last step, and the best validation with the step it came from."""

    steps: int
    best_step: int | None
    best: PatchScores | None
    weights: Path


def train(
    patches: PathLike | Sequence[PathLike],
    out: PathLike,
    recipe: Recipe,
    *,
    init: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    validate_every: int = 500,
    save_every: int = 250,
    resume: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> TrainingSummary:
    """Train a refiner on patch shards.

    Args:
        patches: folders made by `extract`; their train shards are trained on, their val shards validated on.
        out: the run's folder (see `run_folder`).
        recipe: network, optimiser, schedule, loss, augmentation.
        init: a model whose weights to begin from: anything that `refine --model` takes.
        device, precision: as in `network.devices`.
        workers: processes that read patches ahead; None: as `batches.default_workers`.
        validate_every, save_every: steps between validations and between saved states.
        resume: continue the run in `out` if there is one.
        tensorboard: also write TensorBoard event files to `out`.
        quiet: no progress bar.

    Raises:
        InputError: patches, settings or an existing run do not fit.
        TrainingDivergedError: the loss became NaN or infinite.
    """
    folders, out = as_paths(patches, "patches"), as_path(out, "out")
    with joined_process(device) as process:
        run = _Run(folders, out, recipe, process, precision, init=init, resume=resume, tensorboard=tensorboard)
        if workers is None:
            workers = default_workers(process.device.type, process.on_machine)
        return run.go(workers, validate_every, save_every, quiet or not process.leads)


class _Run:
    """The moving parts of one run: what `save` keeps and `_restore` puts back."""

    def __init__(
        self,
        patches: Sequence[Path],
        out: Path,
        recipe: Recipe,
        process: Process,
        precision: str,
        *,
        init: str | None,
        resume: bool,
        tensorboard: bool,
    ) -> None:
        self.out, self.recipe, self.process = out, recipe, process
        manifests = {str(folder): read_manifest(folder) for folder in patches}
        self.model_config = _model_config(recipe, manifests)
        self.train_shards = [shard for folder in patches for shard in shards.list_shards(folder, "train")]
        self.val_shards = [shard for folder in patches for shard in shards.list_shards(folder, "val")]
        if not self.train_shards:
            raise InputError("there are no train shards", file=patches[0], remedy="Make them with bpr extract")
        if process.leads:
            open_run(out, recipe, manifests, str(process.device), resume)

        if recipe.batch_size % process.world:
            raise InputError(
                f"a batch of {recipe.batch_size} cannot be shared equally by {process.world} processes",
                remedy="Choose a multiple with --batch-size",
            )

        torch.manual_seed(recipe.seed)
        network: nn.Module = hrnet.build(recipe.network)
        if init is not None:
            network.load_state_dict(checkpoint.load(init)[0].state_dict())
        if process.world > 1:
            network = synchronise_batch_norm(network, process.device)
        self.network = network.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = AveragedModel(self.network, multi_avg_fn=_average(recipe.ema), use_buffers=True)
        self.optimizer = _optimizer(self.network, recipe)
        self.dtype = autocast_dtype(process.device, precision)
        self.step = 0
        self.best_step: int | None = None
        self.best: PatchScores | None = None
        state = load_state(out) if resume else None
        if state is not None:
            self._restore(state)
        self.log = RunLog(out, self.step) if process.leads else None
        self.board = _tensorboard(out, self.step) if tensorboard and process.leads else None

    def go(self, workers: int, validate_every: int, save_every: int, quiet: bool) -> TrainingSummary:
        module: nn.Module = self.network
        if self.process.world > 1:
            module = DistributedDataParallel(module, broadcast_buffers=False)
        dataset = PatchDataset(self.train_shards)
        bar = progress_bar(self.recipe.steps, "train", "step", quiet=quiet, initial=self.step)
        window = _Window()
        with bar:
            for batch in self._batches(dataset, workers):
                window.add(self._take_step(module, batch), self.recipe.batch_size)
                self.step += 1
                bar.update()
                last = self.step == self.recipe.steps
                validating = bool(self.val_shards) and (self.step % validate_every == 0 or last)
                saving = self.step % save_every == 0 or last
                if self.step % LOG_EVERY == 0 or validating or saving:
                    # Before saving, so that a state that has diverged never replaces a sound one.
                    bar.set_postfix(self._report(window, len(dataset)))
                if validating:
                    self._validate()
                if saving:
                    self._save()
        if not self.val_shards:
            self._keep_weights()
        return TrainingSummary(self.step, self.best_step, self.best, self.out / "best")

    def _batches(self, dataset: PatchDataset, workers: int) -> Iterator[tuple[Tensor, ...]]:
        recipe, process = self.recipe, self.process
        sampler = StepSampler(
            len(dataset), recipe.batch_size, recipe.steps, recipe.seed, self.step, process.rank, process.world
        )
        yield from training_loader(dataset, sampler, workers, process.device.type == "cuda")

    def _take_step(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        recipe, process = self.recipe, self.process
        module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.step)
        images, coarse, target = (tensor.to(process.device, non_blocking=True) for tensor in batch)
        draws = augment.draw(recipe.seed, self.step, recipe.batch_size, process.rank, process.world)
        images, coarse, target = augment.turn(images, coarse, target, draws, recipe.rotations)
        if recipe.color_jitter:
            images = augment.distort(images, draws)
        with torch.autocast(process.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            logits = module(prepare(images, coarse, recipe.input_size))
        size = recipe.input_size if recipe.loss_at == "input" else target.shape[-1]
        loss = patch_loss(hrnet.resize_logits(logits.float(), (size, size)), target, recipe.loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        self.optimizer.step()
        if recipe.ema:
            self.ema.update_parameters(self.network)
        return loss.detach()

    def _report(self, window: _Window, patches: int) -> dict[str, str]:
        loss, rate = window.close(self.process)
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss is {loss} at step {self.step}: lower --lr (now {self.recipe.lr:g}), or go back to "
                f"fp32 with --precision fp32; {self.out / 'last.pt'} holds the last sound state"
            )
        lr = learning_rate(self.recipe, self.step - 1)
        epoch = self.step * self.recipe.batch_size / patches
        row = {
            "loss": round(loss, 5),
            "lr": lr,
            "patches_per_second": round(rate, 1),
            "epoch": round(epoch, 3),
        }
        self._write("train", row)
        return {"loss": f"{loss:.4f}", "patches/s": f"{rate:.0f}"}

    def _validate(self) -> None:
        subset = PatchDataset(self.val_shards)
        share = Subset(subset, range(self.process.rank, len(subset), self.process.world))
        network = self._weights_to_keep().eval()
        scores = validate(
            network,
            DataLoader(share, batch_size=VALIDATION_BATCH),
            self.process,
            self.recipe.input_size,
            self.dtype,
        )
        self._write("val", asdict(scores))
        if self.best is None or scores.miou > self.best.miou:
            self.best, self.best_step = scores, self.step
            self._keep_weights()

    def _weights_to_keep(self) -> nn.Module:
        return self.ema.module if self.recipe.ema else self.network

    def _keep_weights(self) -> None:
        if self.process.leads:
            checkpoint.save(self.out / "best", self._weights_to_keep(), self.model_config)

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write({"step": self.step, "kind": kind, **row})
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(f"{kind}/{name}", value, self.step)

    def _save(self) -> None:
        if not self.process.leads:
            return
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_step": self.best_step,
            "best": asdict(self.best) if self.best else None,
        }
        save_state(self.out, state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.best_step = state["step"], state["best_step"]
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = PatchScores(**state["best"]) if state["best"] else None


class _Window:
    """Mean loss and rate since the last log line; the loss stays on its device until then."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.patches, self.since = 0, time.perf_counter()

    def add(self, loss: Tensor, patches: int) -> None:
        self.losses.append(loss)
        self.patches += patches

    def close(self, process: Process) -> tuple[float, float]:
        # The mean over all processes, so that all of them see a NaN and stop together.
        loss = float(sum_over_processes(torch.stack(self.losses).mean(), process)) / process.world
        now = time.perf_counter()
        rate = self.patches / (now - self.since)
        self.losses, self.patches, self.since = [], 0, now
        return loss, rate


def _model_config(recipe: Recipe, manifests: dict[str, dict[str, Any]]) -> checkpoint.ModelConfig:
    kinds = {(m["settings"]["patch_size"], m["settings"]["padding"]) for m in manifests.values()}
    if len(kinds) > 1:
        raise InputError(
            f"the patches differ in size or padding ({json.dumps(sorted(kinds))})",
            file=", ".join(manifests),
            remedy="Extract them with equal settings",
        )
    ((patch_size, padding),) = kinds
    return checkpoint.ModelConfig(
        network=recipe.network, input_size=recipe.input_size, patch_size=patch_size, padding=padding
    )


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    spared = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr)


def _average(decay: float) -> Callable[..., None]:
    """An EMA that begins as a plain mean, so that the random initial weights are soon forgotten."""

    def update(averaged: list[Tensor], current: list[Tensor], count: int | Tensor) -> None:
        done = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + done) / (10 + done)))(averaged, current, count)

    return update


def _tensorboard(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("TensorBoard is not installed", remedy=to_install("tensorboard")) from error
    return SummaryWriter(str(folder), purge_step=first_step or None)
