"""The training loop: one for every device and any number of processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bpr_cli.engines.devices import precision_name
from bpr_cli.network import checkpoint
from bpr_cli.network.config import ModelConfig
from bpr_cli.network.input_tensor import prepare
from bpr_cli.network.logits import resize
from bpr_cli.progress import progress_bar
from bpr_cli.training import augment
from bpr_cli.training.averaging import average_gradients
from bpr_cli.training.distributed import Process, sum_over_processes
from bpr_cli.training.loading import StepSampler, training_batches, validation_batches
from bpr_cli.training.losses import patch_loss
from bpr_cli.training.patch_sets import PatchSets
from bpr_cli.training.recipe import Recipe, learning_rate
from bpr_cli.training.run_folder import STATE_FILE, RunLog, save_state
from bpr_cli.training.validate import PatchScores, validate

LOG_EVERY = 50  # steps between log lines: half a minute on a CPU, a second or two on a GPU


class TrainingDivergedError(RuntimeError):
    """The loss or the weights are no longer numbers; nothing that follows would mean anything."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a finished run reached.

    Attributes:
        steps: its last step.
        best_step, best: the best validation, and the step it came from; None without patches to validate on.
        weights: folder of the weights kept.
        precision, device: what it was computed in, and on.
    """

    steps: int
    best_step: int | None
    best: PatchScores | None
    weights: Path
    precision: str
    device: str


class Training:
    """The moving parts of one run: what `_save` keeps and `restore` puts back.

    Args:
        network: on the process's device.
        recipe: how it is trained.
        data: patches.
        process: which one of how many this is.
        dtype: of the convolutions; None for float32. float16 has its loss scaled.
        out: the run's folder.
        run: what decided the run (`run_record.deciding`); kept in every saved state.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        data: PatchSets,
        process: Process,
        dtype: torch.dtype | None,
        out: Path,
        run: Mapping[str, Any],
    ) -> None:
        self.network, self.recipe, self.data, self.process = network, recipe, data, process
        self.dtype, self.out, self.run = dtype, out, run
        self.ema = AveragedModel(network, multi_avg_fn=_average(recipe.ema), use_buffers=True)
        self.optimizer = _optimizer(network, recipe)
        self.scaler = torch.amp.GradScaler(process.device.type, enabled=dtype == torch.float16)
        self.step, self.saved_step = 0, 0
        self.best_step: int | None = None
        self.best: PatchScores | None = None
        self.log: RunLog | None = None
        self.board: Any = None

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `_save` kept.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError, AttributeError: it is no state of such a run.
        """
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            if any(tensor.ndim and tensor.shape != parameter.shape for tensor in kept.values() if tensor is not None):
                raise ValueError("the optimiser's state is of another network")
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.best = PatchScores(**state["best"]) if state["best"] else None
        self.step, self.best_step = state["step"], state["best_step"]
        if type(self.step) is not int or not 0 < self.step <= self.recipe.steps:
            raise ValueError(f"step {self.step}")
        self.saved_step = self.step

    def go(self, workers: int, validate_every: int, save_every: int, *, tensorboard: bool, quiet: bool) -> None:
        """Take all steps that are left; see `train.train`."""
        if self.process.leads:
            self.log = RunLog(self.out, self.step)
            self.board = _board(self.out, self.step) if tensorboard else None
        bar = progress_bar(self.recipe.steps, "train", "step", quiet=quiet, initial=self.step)
        window = _Window()
        with bar:
            for batch in self._batches(workers):
                window.add(self._take_step(batch), self.recipe.batch_size)
                self.step += 1
                bar.update()
                last = self.step == self.recipe.steps
                validating = len(self.data.val) > 0 and (self.step % validate_every == 0 or last)
                saving = self.step % save_every == 0 or last
                if self.step % LOG_EVERY == 0 or validating or saving:
                    bar.set_postfix(self._report(window))
                if validating or saving:
                    self._check_sound()
                if validating:
                    self._validate()
                if saving:
                    self._save()
        if not len(self.data.val):
            self._keep_weights()

    def summary(self) -> TrainingSummary:
        """What was reached so far."""
        return TrainingSummary(
            self.step,
            self.best_step,
            self.best,
            self.out / "best",
            precision_name(self.dtype),
            str(self.process.device),
        )

    def _batches(self, workers: int) -> Iterator[tuple[Tensor, ...]]:
        recipe, process, dataset = self.recipe, self.process, self.data.train
        sampler = StepSampler(
            len(dataset), recipe.batch_size, recipe.steps, recipe.seed, self.step, process.rank, process.world
        )
        yield from training_batches(dataset, sampler, workers, process.device.type == "cuda")

    def _take_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        recipe, process = self.recipe, self.process
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.step)
        images, coarse, target = (tensor.to(process.device, non_blocking=True) for tensor in batch)
        draws = augment.draw(recipe.seed, self.step, recipe.batch_size, process.rank, process.world)
        images, coarse, target = augment.turn(images, coarse, target, draws, recipe.rotations)
        if recipe.color_jitter:
            images = augment.distort(images, draws)
        with torch.autocast(process.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            logits = self.network(prepare(images, coarse, recipe.input_size))
        size = recipe.input_size if recipe.loss_at == "input" else target.shape[-1]
        loss = patch_loss(resize(logits.float(), (size, size)), target, recipe.loss)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if process.world > 1:
            average_gradients(self.network.parameters(), process.world)
        if recipe.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if recipe.ema:
            self.ema.update_parameters(self.network)
        return loss.detach()

    def _report(self, window: _Window) -> dict[str, str]:
        loss, rate = window.close(self.process)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}")
        row = {
            "loss": round(loss, 5),
            "lr": learning_rate(self.recipe, self.step - 1),
            "patches_per_second": round(rate, 1),
            "epoch": round(self.step * self.recipe.batch_size / len(self.data.train), 3),
        }
        self._write("train", row)
        return {"loss": f"{loss:.4f}", "patches/s": f"{rate:.0f}"}

    def _check_sound(self) -> None:
        """The loss is of before the step: only the weights themselves tell whether they are worth keeping."""
        kept = [self.network.state_dict(), *self.optimizer.state.values()]
        if self.recipe.ema:
            kept.append(self.ema.state_dict())
        for values in kept:
            for value in values.values():
                if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                    raise self._diverged("the weights are no longer numbers")

    def _diverged(self, problem: str) -> TrainingDivergedError:
        remedy = f"lower --lr (now {self.recipe.lr:g})"
        if self.dtype is not None:
            remedy += ", or use --precision fp32"
        kept = f"{self.out / STATE_FILE} holds the last sound state, of step {self.saved_step}"
        return TrainingDivergedError(
            f"{problem} at step {self.step}: {remedy}, in another run; {kept if self.saved_step else 'none was saved'}"
        )

    def _validate(self) -> None:
        scores = validate(
            self._weights_to_keep().eval(),
            validation_batches(self.data.val, self.process.rank, self.process.world),
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
            config = ModelConfig(
                self.recipe.network,
                self.recipe.input_size,
                self.data.patch_size,
                self.data.padding,
                self.data.scheme,
                mask_patch=self.recipe.mask_patch,
            )
            checkpoint.save(self.out / "best", self._weights_to_keep(), config)

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write({"step": self.step, "kind": kind, **row})
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(f"{kind}/{name}", value, self.step)

    def _save(self) -> None:
        self.saved_step = self.step
        if self.log is None:
            return
        self.log.flush()
        state = {
            "run": dict(self.run),
            "step": self.step,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_step": self.best_step,
            "best": asdict(self.best) if self.best else None,
        }
        save_state(self.out, state)


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
        loss = float(sum_over_processes(torch.stack(self.losses).mean().view(1), process)) / process.world
        now = time.perf_counter()
        rate = self.patches / (now - self.since)
        self.losses, self.patches, self.since = [], 0, now
        return loss, rate


def _board(folder: Path, first_step: int) -> Any:
    """TensorBoard's writer, without the events of steps that will be taken again."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)


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
