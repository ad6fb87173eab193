"""How long an instance takes without the network, against decoding and encoding its mask with pycocotools.

    python examples/benchmarks/patches.py --results examples/davis/results.json --images examples/davis/images \
        --gt examples/davis/gt.json --scale 1,3

An instance's way: RLE to mask, boxes, patches of image and mask, merge (and the gate: does the photo bear the
change out?), mask to RLE. The patches that are merged are davis-fast's, predicted before the clock runs. Scale 3 makes
photos and masks three times as large (masks by nearest neighbour) and keeps the patch size. Each stage's time is the
least of several rounds over one photo's instances.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from bpr_cli.engines.engine import Network, open_network
from bpr_cli.formats.images import read_image
from bpr_cli.formats.rle import decode_rle, encode_rle
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.looks import Look, Refined, Subject, first_look, next_look
from bpr_cli.refining.settings import RefineSettings

MODEL = "davis-fast"
EXTRACTION_AND_REASSEMBLY = ("cut", "merge")
STAGES = ("decode", *EXTRACTION_AND_REASSEMBLY, "encode")
BASELINE = "pycocotools"


def enlarge(rle: dict[str, Any], scale: int) -> dict[str, Any]:
    """A COCO RLE, `scale` times as large."""
    frame_HW = coco_mask.decode(rle)
    frame_HW = cv2.resize(frame_HW, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return coco_mask.encode(np.asfortranarray(frame_HW))


def look_at(config: ModelConfig, image_HWC: np.ndarray, rle: dict[str, Any], settings: RefineSettings) -> Look:
    """The one look at an instance; its mask must have a boundary."""
    look = first_look(Subject(0, image_HWC, decode_rle(rle)), [config], settings)
    assert isinstance(look, Look)
    return look


def predict(network: Network, image_HWC: np.ndarray, rle: dict[str, Any], settings: RefineSettings) -> np.ndarray:
    """The network's answer to an instance's patches."""
    look = look_at(network.config, image_HWC, rle, settings)
    return network.engine.predict(look.images_NHWC, look.masks_NHW)


def run_stages(
    config: ModelConfig, image_HWC: np.ndarray, rle: dict[str, Any], answer: np.ndarray, settings: RefineSettings
) -> list[float]:
    """Seconds of each of STAGES, then of the baseline."""
    clock = [time.perf_counter()]
    mask = decode_rle(rle)
    clock.append(time.perf_counter())
    look = first_look(Subject(0, image_HWC, mask), [config], settings)
    clock.append(time.perf_counter())
    assert isinstance(look, Look)
    refined = next_look(look, answer, [config], settings)
    clock.append(time.perf_counter())
    assert isinstance(refined, Refined)
    encode_rle(refined.mask)
    clock.append(time.perf_counter())
    coco_mask.encode(coco_mask.decode(rle))
    clock.append(time.perf_counter())
    return np.diff(clock).tolist()


def measure(
    photos: list[tuple[Path, list[dict[str, Any]]]], scale: int, settings: RefineSettings, rounds: int
) -> dict[str, float]:
    """Milliseconds an instance, of each stage and of the baseline."""
    network = open_network(MODEL)
    seconds = np.zeros(len(STAGES) + 1)
    count = 0
    for path, rles in photos:
        image_HWC = read_image(path)
        image_HWC = cv2.resize(image_HWC, None, fx=scale, fy=scale) if scale > 1 else image_HWC
        rles = [enlarge(rle, scale) if scale > 1 else rle for rle in rles]
        answers = [predict(network, image_HWC, rle, settings) for rle in rles]
        trials = []
        for _ in range(rounds):
            stages = [
                run_stages(network.config, image_HWC, *pair, settings) for pair in zip(rles, answers, strict=True)
            ]
            trials.append(np.sum(stages, axis=0))
        seconds += np.min(trials, axis=0)
        count += len(rles)
    milliseconds = (seconds / max(count, 1) * 1000).tolist()
    return dict(zip((*STAGES, BASELINE), milliseconds, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="COCO results list, compressed RLE")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--gt", type=Path, required=True, help="COCO JSON that names the photos")
    parser.add_argument("--scale", default="1", help="comma-separated whole numbers")
    parser.add_argument("--nms-threshold", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    names = {image["id"]: image["file_name"] for image in json.loads(options.gt.read_text())["images"]}
    by_image = defaultdict(list)
    for result in json.loads(options.results.read_text()):
        by_image[result["image_id"]].append(result["segmentation"])
    photos = [(options.images / names[image_id], rles) for image_id, rles in by_image.items()]

    settings = replace(RefineSettings(), nms_threshold=options.nms_threshold, passes=1)
    cv2.setNumThreads(1)
    scales = [int(scale) for scale in options.scale.split(",")]
    columns = [measure(photos, scale, settings, options.rounds) for scale in scales]
    print(f"{'ms per instance':28}" + "".join(f"{f'x{scale}':>10}" for scale in scales))
    for name in (*STAGES, BASELINE):
        print(f"{name:28}" + "".join(f"{column[name]:10.3f}" for column in columns))
    print("times pycocotools")
    for name, parts in (("extraction and reassembly", EXTRACTION_AND_REASSEMBLY), ("with decode and encode", STAGES)):
        ratios = [sum(column[part] for part in parts) / column[BASELINE] for column in columns]
        print(f"{name:28}" + "".join(f"{ratio:10.2f}" for ratio in ratios))
    count = sum(len(rles) for rles in by_image.values())
    print(
        f"\n{count} instances, {len(photos)} photos, NMS at {options.nms_threshold}, one thread; {platform.platform()}"
    )
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, OpenCV {cv2.__version__}, "
        f"pycocotools {version('pycocotools')}"
    )


if __name__ == "__main__":
    main()
