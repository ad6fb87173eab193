"""The gate of a trained network: a logistic regression that says how likely each pixel's change is right.

    python examples/tools/object_pass/gate.py runs/object/model --data-sets data_sets.json --data data \
        -o models/object

It is fitted on the held-out photos' detections: pixels that the network's answer would change (`change_features`), and
whether the truth agrees. Every data set weighs the same, and within it a detection as much as the share of its area
that would change. Printed are figures of a cross-validation over groups of photos; written is the model with the gate
in its config.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from photos import Match, Photo, read_list, read_photos
from training import SAME
from views import cut

from bpr_cli.masks import Mask
from bpr_cli.network import checkpoint
from bpr_cli.network.config import GATE_FEATURES
from bpr_cli.patches import resize_patches
from bpr_cli.refining.gate import likely_right
from bpr_cli.refining.looks import Look, object_changes
from bpr_cli.refining.refiner import Refiner

FOLDS = 8
MOST_PIXELS = 300  # of a detection that the regression sees
RIDGE = 1.0
NEWTON_STEPS = 30
THRESHOLDS = (0.0, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8)

Floats = NDArray[np.float64]


class Example(NamedTuple):
    """What the network would change of a held-out detection.

    Attributes:
        data_set, group: whence it is.
        features: of each pixel that would change, (K, 4), see `change_features`.
        is_right: whether the truth agrees, bool (K).
        common, coarse, truth: pixels (counts) of the coarse mask that are the truth's, of the mask, of the truth.
        lost: whether the object would lose the pixel, bool (K).
    """

    data_set: str
    group: str
    features: Floats
    is_right: NDArray[np.bool_]
    common: int
    coarse: int
    truth: int
    lost: NDArray[np.bool_]

    def iou(self, changes: NDArray[np.bool_]) -> float:
        """With these of the changes made."""
        gained, lost = changes & ~self.lost, changes & self.lost
        is_truth = self.is_right != self.lost  # a pixel that is rightly gained, or wrongly lost
        common = self.common + np.count_nonzero(gained & is_truth) - np.count_nonzero(lost & is_truth)
        mask = self.coarse + np.count_nonzero(gained) - np.count_nonzero(lost)
        return common / (mask + self.truth - common)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder of a run")
    parser.add_argument("--data-sets", type=Path, required=True, help="JSON list of data sets, see photos.py")
    parser.add_argument("--data", type=Path, required=True, help="folder at which the list's paths begin")
    parser.add_argument("--photos", type=int, help="at most so many of each set; without it all")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the model with its gate")
    options = parser.parse_args()
    photos = read_photos(read_list(options.data_sets, options.data), held=True)
    refiner = Refiner.from_pretrained(options.model, precision="fp32", engine="torch", passes=1, flips=True)
    some = {name: found[: options.photos] for name, found in photos.items()}
    examples = [example for name, found in some.items() for photo in found for example in collect(refiner, name, photo)]
    report(examples, cross_validated(examples))
    gate = tuple(round(float(weight), 4) for weight in fit(examples))
    network, config = checkpoint.load(options.model)
    checkpoint.save(options.output, network, replace(config, gate=gate), half=True)
    print(dict(zip(("intercept", *GATE_FEATURES), gate, strict=True)))


def collect(refiner: Refiner, name: str, photo: Photo) -> Iterator[Example]:
    """The matched detections of a photo, as a refinement's first pass sees them."""
    for form, objects in enumerate(photo.forms):
        masks, scores = [found.mask for found in objects], [found.score for found in objects]
        matches = {match.detection: match for match in photo.matches if match.form == form}
        for look in refiner.first_looks(range(len(masks)), photo.image_HWC, masks, scores):
            if isinstance(look, Look) and look.subject.index in matches:
                yield _example(refiner, look, name, photo, matches[look.subject.index])


def _example(refiner: Refiner, look: Look, name: str, photo: Photo, match: Match) -> Example:
    answer = refiner.networks[0].engine.predict(look.images_NHWC, look.masks, flips=True)
    ((x1, y1, x2, y2),) = look.boxes.tolist()
    p_HW = resize_patches(answer, y2 - y1, x2 - x1, cv2.INTER_LINEAR)[0]
    changed_HW, features = object_changes(look, p_HW)
    truth: Mask = photo.truths[match.truth].mask
    coarse_HW, truth_HW = (cut(mask, (x1, y1, x2, y2)) > 0 for mask in (look.mask, truth))
    inside_HW = cut(_whole_photo(photo), (x1, y1, x2, y2)) > 0
    counted = inside_HW[changed_HW]
    lost = coarse_HW[changed_HW][counted]
    is_right = (truth_HW != coarse_HW)[changed_HW][counted]
    common = int(np.count_nonzero(truth_HW & coarse_HW))
    group = f"{name}:{photo.group}"
    return Example(name, group, features[counted], is_right, common, look.mask.area, truth.area, lost)


def _whole_photo(photo: Photo) -> Mask:
    height, width = photo.image_HWC.shape[:2]
    return Mask(np.ones((height, width), np.uint8), 0, 0, height, width)


def fit(examples: list[Example]) -> Floats:
    """Intercept and weights of a ridge logistic regression, by Newton's method on standardised features."""
    names, counts = np.unique([example.data_set for example in examples], return_counts=True)
    share = dict(zip(names.tolist(), 1 / counts, strict=True))
    rng = np.random.default_rng(0)
    features, is_right, weights = [], [], []
    for example in examples:
        count = len(example.is_right)
        if not count:
            continue
        some = rng.choice(count, min(count, MOST_PIXELS), replace=False)
        features.append(example.features[some])
        is_right.append(example.is_right[some])
        weights.append(np.full(len(some), share[example.data_set] * count / example.coarse / len(some)))
    return _regression(np.concatenate(features), np.concatenate(is_right).astype(float), np.concatenate(weights))


def _regression(features: Floats, y: Floats, weights: Floats) -> Floats:
    w = weights * (len(weights) / weights.sum())
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


def cross_validated(examples: list[Example]) -> list[Floats]:
    """How likely each example's changes are right, by a gate fitted on other groups of photos."""
    groups, numbers = np.unique([example.group for example in examples], return_inverse=True)
    folds = (np.random.default_rng(0).permutation(len(groups)) % FOLDS)[numbers]
    likelihoods: list[Floats] = [np.empty(0)] * len(examples)
    for fold in range(FOLDS):
        gate = fit([example for example, number in zip(examples, folds, strict=True) if number != fold]).tolist()
        for index in np.flatnonzero(folds == fold).tolist():
            likelihoods[index] = likely_right(examples[index].features, gate)
    return likelihoods


def report(examples: list[Example], likelihoods: list[Floats]) -> None:
    """Prints of each data set mean IoU and how many masks (%) get better and worse, at several thresholds."""
    for name in dict.fromkeys(example.data_set for example in examples):
        some = [pair for pair in zip(examples, likelihoods, strict=True) if pair[0].data_set == name]
        before = np.array([example.iou(np.zeros(len(p), bool)) for example, p in some])
        line = f"{name:12s} {len(some):5d} detections, IoU {100 * before.mean():.1f}; IoU, better/worse"
        for threshold in THRESHOLDS:
            after = np.array([example.iou(p >= threshold) for example, p in some])
            better, worse = 100 * (after > before + SAME).mean(), 100 * (after < before - SAME).mean()
            line += f" | from {threshold}: {100 * after.mean():.1f} {better:.0f}/{worse:.0f}"
        print(line)


if __name__ == "__main__":
    main()
