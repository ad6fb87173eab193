"""Refine masks by classical means, to see what a trained refiner has to beat.

    python examples/baselines.py grabcut results.json -o grabcut.json --images photos/
    python examples/baselines.py guided results.json -o guided.json --images photos/

grabcut: Rother et al. 2004 (OpenCV's), three iterations; the pixels within 5 px of the coarse boundary are undecided.
guided: the coarse mask smoothed by the guided filter (He et al. 2010) with the photo as the guide.
Score the output with `bpr evaluate`, as any other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bpr_cli.formats import coco, read_results, write_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import read_image
from bpr_cli.formats.rle import RLE, encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame

UNDECIDED = 5  # px on each side of the boundary; real detectors' errors are 3 to 8 px
MARGIN = 40  # px of the photo around the object: the background that GrabCut learns its colours from
GRABCUT_ITERATIONS = 3
GUIDED_RADIUS, GUIDED_SMOOTHNESS = 8, 1e-3  # px; colours are 0..1

Refine = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Refine masks by classical means.")
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--image-info", type=Path)
    arguments = parser.parse_args()
    refine = METHODS[arguments.method]

    results = read_results(arguments.results)
    if arguments.image_info:
        results = coco.with_image_info(results, coco.read_image_info(arguments.image_info))
    paths = ImageFinder(arguments.images).find_all([entry.image for entry in results.images])
    segmentations: list[RLE | None] = [None] * results.count
    for entry in tqdm(results.images, arguments.method, unit="image"):
        image_HWC = read_image(paths[entry.image.id])
        height, width = image_HWC.shape[:2]
        for instance in entry.instances:
            mask = decode_mask(instance, height, width)
            if not mask.area:
                continue
            x1, y1, x2, y2 = mask.box_xyxy
            window = np.s_[max(0, y1 - MARGIN) : y2 + MARGIN, max(0, x1 - MARGIN) : x2 + MARGIN]
            refined_HW = to_frame(mask)
            refined_HW[window] = refine(np.ascontiguousarray(image_HWC[window]), refined_HW[window].copy())
            segmentations[instance.index] = encode_rle(crop_mask(refined_HW, 0, 0, height, width))
    write_results(results, segmentations, arguments.output)


def grabcut(image_HWC: NDArray[np.uint8], mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask with its undecided band decided by colour models of inside and outside."""
    inside = cv2.distanceTransform(mask_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - mask_HW, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    labels = np.where(mask_HW, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inside > UNDECIDED] = cv2.GC_FGD
    labels[outside > UNDECIDED] = cv2.GC_BGD
    if not (labels == cv2.GC_FGD).any() or not (labels == cv2.GC_BGD).any():
        return mask_HW  # an object too thin, or a window too full, to learn colours from
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image_HWC, labels, None, *models, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def guided(image_HWC: NDArray[np.uint8], mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask as the local linear function of the photo's colours that is nearest to it, cut at one half."""
    guide = image_HWC.astype(np.float64) / 255.0
    target = mask_HW.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.blur(values, (2 * GUIDED_RADIUS + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    means, mean_target = mean(guide), mean(target)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*target.shape, 9)
    # OpenCV's blur takes four channels at most.
    squares = np.stack([mean(np.ascontiguousarray(products[..., i])) for i in range(9)], axis=-1)
    covariance = squares.reshape(*target.shape, 3, 3) - means[..., :, None] * means[..., None, :]
    with_target = mean(guide * target[..., None]) - means * mean_target[..., None]
    slopes = np.linalg.solve(covariance + GUIDED_SMOOTHNESS * np.eye(3), with_target[..., None])[..., 0]
    offsets = mean_target - (slopes * means).sum(axis=-1)
    fitted = (mean(slopes) * guide).sum(axis=-1) + mean(offsets)
    return (fitted > 0.5).astype(np.uint8)


METHODS: dict[str, Refine] = {"grabcut": grabcut, "guided": guided}

if __name__ == "__main__":
    main()
