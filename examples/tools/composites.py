"""Photos whose masks are exact because we made them: shapes and cut-outs composed over other photos.

For training data whose outlines are coarse (COCO's polygons) or whose licence forbids what you want to do: every
composite's mask is right to the pixel by construction, whatever the outline that was used to cut.

    python examples/tools/composites.py --photos photos/ --gt gt.json --count 400 -o composites/
    bpr extract --images composites/images --gt composites/gt.json --corruptions 3 -o shards/composites

Each composite is a photo with three to seven objects over it, which hide one another. An object's surface is a piece of
another photo (or what the annotation cuts out), its outline a random closed curve, a figure of thick strokes, or an
annotation's outline; both are bent together. Rims are soft as lenses make them; then the whole is blurred, gets sensor
noise and is saved as a JPEG of random quality.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bpr_cli.formats import read_results
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import read_image
from bpr_cli.formats.rle import encode_rle
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import crop_mask, to_frame

FRAME_HW = (480, 640)
OBJECTS = (3, 7)  # of one composite, least and most
SMALLEST, LARGEST = 30, 450  # px, the longer side of an object; drawn evenly in its logarithm
CUT_OUTS = 0.4  # share of the objects that are an annotation's
LEAST_VISIBLE = 60  # px; fewer are no object

Cutout = tuple[NDArray[np.uint8], NDArray[np.float32]]  # surface (h, w, 3) uint8 RGB, coverage (h, w) 0..1


def main() -> None:
    options = _options()
    photos: list[NDArray[np.uint8]] = []
    cutouts: list[Cutout] = []
    for source in zip(options.photos, options.gt, strict=True):
        for found, new in zip((photos, cutouts), _sources(*source), strict=True):
            found.extend(new)
    folder = options.output / "images"
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(1, options.count + 1):
        rng = np.random.default_rng([options.seed, number])
        image_HWC, masks = compose(photos, cutouts, rng)
        name = f"{number}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 97))]
        cv2.imwrite(str(folder / name), cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), quality)
        images.append({"id": number, "file_name": name, "height": FRAME_HW[0], "width": FRAME_HW[1]})
        for mask_HW in masks:
            mask = crop_mask(mask_HW, 0, 0, *FRAME_HW)
            x1, y1, x2, y2 = mask.box_xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": encode_rle(mask),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": mask.area,
                    "iscrowd": 0,
                }
            )
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (options.output / "gt.json").write_text(json.dumps(document))
    print(f"{len(images)} composites of {len(photos)} photos, {len(annotations)} objects -> {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, action="append", help="folder of photos; repeat")
    parser.add_argument("--gt", type=Path, required=True, action="append", help="COCO dataset, one for each --photos")
    parser.add_argument("--count", type=int, default=400, help="composites to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def _sources(folder: Path, dataset: Path) -> tuple[list[NDArray[np.uint8]], list[Cutout]]:
    """A dataset's photos, and what its annotations cut out of them."""
    photos, cutouts = [], []
    results = read_results(dataset)
    paths = ImageFinder(folder).find_all([entry.image for entry in results.images])
    for entry in results.images:
        image_HWC = read_image(paths[entry.image.id], None)
        photos.append(image_HWC)
        for instance in entry.instances:
            mask = decode_mask(instance, *image_HWC.shape[:2])
            x1, y1, x2, y2 = mask.box_xyxy
            if instance.iscrowd or min(x2 - x1, y2 - y1) < SMALLEST:
                continue
            # Two pixels off the rim, so that less of the old background comes along.
            inner = cv2.erode(to_frame(mask), np.ones((5, 5), np.uint8))[y1:y2, x1:x2]
            cutouts.append((image_HWC[y1:y2, x1:x2], inner.astype(np.float32)))
    return photos, cutouts


def compose(
    photos: list[NDArray[np.uint8]], cutouts: list[Cutout], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """One composite and the visible masks of its objects, uint8 0 or 1, each the frame's size."""
    height, width = FRAME_HW
    image = _background(photos, rng).astype(np.float32)
    masks: list[NDArray[np.uint8]] = []
    for _ in range(int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))):
        side = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
        if cutouts and rng.random() < CUT_OUTS:
            surface, coverage = _annotated(cutouts, side, rng)
        else:
            surface, coverage = _invented(photos, side, rng)
        surface, coverage = _bend(surface, coverage, rng)
        rows, columns = coverage.shape
        x, y = int(rng.integers(-columns // 3, width - columns // 2)), int(rng.integers(-rows // 3, height - rows // 2))
        place = np.s_[max(0, y) : min(height, y + rows), max(0, x) : min(width, x + columns)]
        part = np.s_[max(0, -y) : min(rows, height - y), max(0, -x) : min(columns, width - x)]
        if image[place].size == 0:
            continue
        alpha = cv2.GaussianBlur(coverage, (0, 0), rng.uniform(0.4, 1.4))[part]
        image[place] += alpha[..., None] * (surface[part] - image[place])
        solid = (alpha > 0.5).astype(np.uint8)
        for mask in masks:
            mask[place] &= 1 - solid
        new = np.zeros(FRAME_HW, np.uint8)
        new[place] = solid
        masks.append(new)
    return _camera(image, rng), [mask for mask in masks if mask.sum() >= LEAST_VISIBLE]


def _background(photos: list[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = FRAME_HW
    photo = photos[rng.integers(len(photos))]
    zoom = max(height / photo.shape[0], width / photo.shape[1]) * rng.uniform(1.0, 1.6)
    return _crop(cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA), height, width, rng)


def _crop(image: NDArray[np.uint8], height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    y, x = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    return image[y : y + height, x : x + width]


def _annotated(
    cutouts: list[Cutout], side: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    surface, coverage = cutouts[rng.integers(len(cutouts))]
    zoom = min(side / max(coverage.shape), 1.5)  # enlarged further, it would be a blur
    size = (max(8, round(coverage.shape[1] * zoom)), max(8, round(coverage.shape[0] * zoom)))
    surface = cv2.resize(surface, size, interpolation=cv2.INTER_AREA)
    coverage = cv2.resize(coverage, size, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        surface, coverage = surface[:, ::-1], coverage[:, ::-1]
    return _tinted(surface, rng), (coverage > 0.5).astype(np.float32)


def _invented(
    photos: list[NDArray[np.uint8]], side: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = (int(max(16, side * rng.uniform(0.4, 1.0))) for _ in range(2))
    coverage = (_strokes if rng.random() < 0.4 else _closed_curve)(rows, columns, rng)
    photo = photos[rng.integers(len(photos))]
    zoom = max(rows / photo.shape[0], columns / photo.shape[1], rng.uniform(0.2, 1.2)) * 1.05
    surface = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    surface = _tinted(_crop(surface, rows, columns, rng), rng)
    if rng.random() < 0.5:  # plain things: the photo's texture fades towards its mean colour
        surface += rng.uniform(0.3, 0.95) * (surface.mean(axis=(0, 1)) - surface)
    return surface, coverage


def _closed_curve(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A curve whose radius is a random Fourier series: from egg to splash."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    waves = np.arange(2, 24)
    strengths = rng.normal(0, rng.uniform(0.1, 0.6), len(waves)) / (waves - 1) ** rng.uniform(0.8, 2.0)
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    radius = np.clip(1 + (strengths[:, None] * np.cos(waves[:, None] * angles + phases[:, None])).sum(0), 0.15, None)
    return _filled(radius * np.cos(angles), radius * np.sin(angles), rows, columns)


def _filled(x: NDArray[np.float64], y: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float32]:
    points = np.stack([(x - x.min()) / np.ptp(x) * (columns - 5) + 2, (y - y.min()) / np.ptp(y) * (rows - 5) + 2], 1)
    coverage = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(coverage, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return coverage.astype(np.float32)


def _strokes(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A body with limbs: an ellipse, and thick bent lines that start in it."""
    coverage = np.zeros((rows, columns), np.uint8)
    middle = np.array([columns, rows]) * rng.uniform(0.35, 0.65, 2)
    axes = np.array([columns, rows]) * rng.uniform(0.12, 0.3, 2)
    cv2.ellipse(
        coverage, (tuple(middle.tolist()), tuple((2 * axes).tolist()), float(rng.uniform(0, 180))), 1, thickness=-1
    )
    for _ in range(int(rng.integers(2, 7))):
        at = middle + rng.uniform(-0.7, 0.7, 2) * axes
        heading = rng.uniform(0, 2 * np.pi)
        thickness = max(2.0, min(rows, columns) * rng.uniform(0.02, 0.16))
        for _ in range(int(rng.integers(2, 7))):
            heading += rng.normal(0, 0.6)
            onward = at + np.array([np.cos(heading), np.sin(heading)]) * max(rows, columns) * rng.uniform(0.05, 0.15)
            start, end = (tuple(np.round(point).astype(int).tolist()) for point in (at, onward))
            cv2.line(coverage, start, end, 1, max(1, round(thickness)))
            at, thickness = onward, thickness * rng.uniform(0.75, 1.05)
    return coverage.astype(np.float32)


def _tinted(surface: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Another light: brightness, contrast, colour cast, and a shade from one side to the other."""
    colour = surface.astype(np.float32)
    colour = (colour - 128) * rng.uniform(0.6, 1.3) + 128 + rng.uniform(-35, 35) + rng.uniform(-15, 15, 3)
    ramp = np.linspace(-1, 1, surface.shape[1])[None, :, None] * rng.uniform(-25, 25)
    ramp = ramp + np.linspace(-1, 1, surface.shape[0])[:, None, None] * rng.uniform(-25, 25)
    return np.clip(colour + ramp, 0, 255).astype(np.float32)


def _bend(
    surface: NDArray[np.float32], coverage: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Surface and outline bent together, so that no straight edge of a polygon is left."""
    rows, columns = coverage.shape
    strength = rng.uniform(0.01, 0.06) * max(rows, columns)
    pad = int(np.ceil(strength))
    surface = cv2.copyMakeBorder(surface, pad, pad, pad, pad, cv2.BORDER_REFLECT)
    coverage = cv2.copyMakeBorder(coverage, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    shape = coverage.shape
    grid = tuple(int(rng.integers(4, 9)) for _ in range(2))
    shifts = [
        cv2.resize(
            rng.uniform(-strength, strength, grid).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
        )
        for _ in range(2)
    ]
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    surface = cv2.remap(surface, x + shifts[0], y + shifts[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    coverage = cv2.remap(coverage, x + shifts[0], y + shifts[1], cv2.INTER_LINEAR)
    return surface, coverage


def _camera(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Defocus and sensor noise; compression comes with saving."""
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, 1.0))
    noisy = blurred + rng.normal(0, rng.uniform(0.5, 5.0), image.shape).astype(np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
