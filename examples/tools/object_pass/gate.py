"""The gate of a trained network: a logistic regression that says how likely its new mask is the better one.

    python examples/tools/object_pass/gate.py runs/object/model --data-sets data_sets.json --data data \
        -o models/object

It is fitted on the held-out photos' detections: what the network answers for them (`gate_features`), and whether the
answer is nearer to the truth. Every data set weighs the same. Printed are figures of a cross-validation over groups of
photos; written is the model with the gate in its config.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from photos import Match, Photo, read_list, read_photos
from torch import nn
from training import BATCH, SAME, network_input
from views import View, Window, in_photo, neighbour_levels, object_box, rounded, view_of

from bpr_cli.masks import Mask, intersection_over_union
from bpr_cli.network import checkpoint
from bpr_cli.network.config import GATE_FEATURES
from bpr_cli.refining.gate import gate_features, likely_better

FOLDS = 8
RIDGE = 1.0
NEWTON_STEPS = 30
THRESHOLDS = (0.5, 0.6, 0.7, 0.8)

Floats = NDArray[np.float64]


class Examples(NamedTuple):
    """Held-out detections: features (N, len(GATE_FEATURES)), IoU before and after (N), and whence they are (N)."""

    features: Floats
    before: Floats
    after: Floats
    data_sets: NDArray[np.str_]
    groups: NDArray[np.str_]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder of a run")
    parser.add_argument("--data-sets", type=Path, required=True, help="JSON list of data sets, see photos.py")
    parser.add_argument("--data", type=Path, required=True, help="folder at which the list's paths begin")
    parser.add_argument("--photos", type=int, help="at most so many of each set; without it all")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the model with its gate")
    options = parser.parse_args()
    network, config = checkpoint.load(options.model)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    photos = read_photos(read_list(options.data_sets, options.data), held=True)
    examples = collect(network, {name: found[: options.photos] for name, found in photos.items()})
    report(examples, cross_validated(examples))
    gate = tuple(round(float(weight), 4) for weight in fit(examples, np.ones(len(examples.before), bool)))
    checkpoint.save(options.output, network, replace(config, gate=gate), half=True)
    print(dict(zip(("intercept", *GATE_FEATURES), gate, strict=True)))


def collect(network: nn.Module, photos: dict[str, list[Photo]]) -> Examples:
    """All matched detections of the photos, refined without a gate."""
    features, ious, data_sets, groups = [], [], [], []
    for name, found in photos.items():
        for photo in found:
            windows = [rounded(object_box(_detection(photo, match))) for match in photo.matches]
            views = [_view(photo, match, window) for match, window in zip(photo.matches, windows, strict=True)]
            for match, window, view, p_HW in zip(photo.matches, windows, views, answer(network, views), strict=True):
                coarse, truth = _detection(photo, match), photo.truths[match.truth].mask
                shown, beside = _levels((view.coarse_HW + 1) / 2), _levels(view.neighbours_HW)
                features.append(gate_features(shown, beside, p_HW, max(coarse.pixels_HW.shape)))
                refined = _pasted(p_HW, window, coarse)
                ious.append([intersection_over_union(mask, truth) for mask in (coarse, refined)])
                data_sets.append(name)
                groups.append(f"{name}:{photo.group}")
    before, after = np.array(ious).T
    return Examples(np.array(features), before, after, np.array(data_sets), np.array(groups))


@torch.no_grad()
def answer(network: nn.Module, views: list[View]) -> NDArray[np.float32]:
    """Foreground probabilities of views, the mean of each one's and of its mirror image's: float32 (N, H, W)."""
    answers = [np.zeros((0, 0, 0), np.float32)] if not views else []
    for i in range(0, len(views), BATCH):
        inputs = network_input(*(np.stack(parts) for parts in zip(*views[i : i + BATCH], strict=True)))
        with torch.autocast("cpu", torch.bfloat16):
            plain = network(inputs)[:, 1]
            mirrored = network(inputs.flip(3).contiguous(memory_format=torch.channels_last))[:, 1].flip(2)
        answers.append(((plain.float().sigmoid() + mirrored.float().sigmoid()) / 2).numpy())
    return np.concatenate(answers)


def fit(examples: Examples, chosen: NDArray[np.bool_]) -> Floats:
    """Intercept and weights of a ridge logistic regression on the chosen examples whose IoU changes.

    By Newton's method, on standardised features; every data set weighs the same.
    """
    is_better, is_worse = _better_and_worse(examples)
    names, counts = np.unique(examples.data_sets, return_counts=True)
    weights = 1 / counts[np.searchsorted(names, examples.data_sets)]
    weights *= len(weights) / weights.sum()
    used = chosen & (is_better | is_worse)
    features, y, w = examples.features[used], is_better[used].astype(float), weights[used]
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    x = np.column_stack((np.ones(len(features)), (features - mean) / deviation))
    penalty = np.array([0.0] + [RIDGE] * features.shape[1])
    b = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-x @ b))
        gradient = x.T @ (w * (p - y)) + penalty * b
        hessian = (x * (w * p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        b -= np.linalg.solve(hessian, gradient)
    slopes = b[1:] / deviation
    return np.concatenate(([b[0] - slopes @ mean], slopes))


def cross_validated(examples: Examples) -> Floats:
    """How likely each example's new mask is the better one, by a gate fitted on other groups of photos."""
    groups, numbers = np.unique(examples.groups, return_inverse=True)
    folds = (np.random.default_rng(0).permutation(len(groups)) % FOLDS)[numbers]
    likelihoods = np.zeros(len(folds))
    for fold in range(FOLDS):
        gate = None
        for index in np.flatnonzero(folds == fold):
            gate = fit(examples, folds != fold).tolist() if gate is None else gate
            likelihoods[index] = likely_better(examples.features[index], gate)
    return likelihoods


def report(examples: Examples, likelihoods: Floats) -> None:
    """Prints of each data set how many masks (%) get better and worse, and what IoU gains, at several thresholds."""
    is_better, is_worse = _better_and_worse(examples)
    gain = examples.after - examples.before
    for name in [*dict.fromkeys(examples.data_sets.tolist()), "all"]:
        chosen = (examples.data_sets == name) | (name == "all")
        line = f"{name:12s} {chosen.sum():5d} detections; better/worse, IoU"
        for threshold in (0.0, *THRESHOLDS):
            kept = likelihoods[chosen] >= threshold
            better, worse, more = (100 * (part[chosen] * kept).mean() for part in (is_better, is_worse, gain))
            line += f" | from {threshold}: {better:.0f}/{worse:.0f} {more:+.2f}"
        print(line)


def _better_and_worse(examples: Examples) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return examples.after > examples.before + SAME, examples.after < examples.before - SAME


def _detection(photo: Photo, match: Match) -> Mask:
    return photo.forms[match.form][match.detection].mask


def _view(photo: Photo, match: Match, window: Window) -> View:
    neighbours_HW = neighbour_levels(photo.forms[match.form], match.detection, window)
    return view_of(photo.image_HWC, _detection(photo, match), neighbours_HW, window)


def _levels(values_HW: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """0..1 as 0..255."""
    return np.rint(values_HW * 255).astype(np.uint8)


def _pasted(p_HW: NDArray[np.float32], window: Window, coarse: Mask) -> Mask:
    """The refined mask in the photo; the coarse one where nothing is left."""
    size = window[2] - window[0], window[3] - window[1]
    refined_HW = np.asarray(cv2.resize(p_HW, size, interpolation=cv2.INTER_LINEAR) > 0.5, np.uint8)
    refined = in_photo(refined_HW, window, coarse)
    return refined if refined.area else coarse


if __name__ == "__main__":
    main()
