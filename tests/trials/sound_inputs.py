"""A small folder of good inputs of every kind: what the fuzz trial breaks.

Photos are cut from the bundled example. The networks are tiny ones under a real one's name, so that what costs time is
reading.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from pycocotools import mask as coco_mask

import bpr_cli
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.network import checkpoint, hrnet
from bpr_cli.network.config import CONFIGS, HRNetConfig, ModelConfig
from bpr_cli.refining.refiner import Refiner
from bpr_cli.training.recipe import choose_recipe
from tests import cityscapes_made
from tests.trials import tool_inputs
from tests.trials.common import DAVIS, Box

NETWORK = "hrnet-w18-small"
WIDTH, HEIGHT = 96, 72

CROPS = (("blackswan_00012.jpg", 200, 100), ("goat_00018.jpg", 420, 150))  # file, left, top
OBJECTS: tuple[tuple[int, Box], ...] = ((1, (10, 8, 50, 60)), (3, (45, 20, 90, 66)))  # category, place
TOML = """\
# defaults
device = "cpu"
precision = "fp32"
quiet = true
batch-size = 8

[refine]
model = ["model", "davis-fast"]
nms-threshold = 0.4
caution = 0.4
passes = 2
flips = false
blend = "hann"
scheme = "dense"
speed = "fast"

[extract]
patch-size = 64
scales = "1,0.5"
results = ["results.json"]
seed = 3

[evaluate]
upper-bound = "1,2"
tolerance = 1.5
fail-below = ["ap=0.1"]
"""


def use_tiny_networks() -> None:
    """From now on, in this process, the smallest network's name stands for one of a hundredth of its size."""
    CONFIGS[NETWORK] = HRNetConfig(width=2, stem_blocks=1, modules=(1, 1, 1), blocks=1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def extract_again(shards: Path) -> None:
    """Run the extraction that the folder is for, in it; it goes on with what is in `shards`."""
    settings = ExtractionSettings(val_fraction=0.5)
    photos, truth, detections = Path("photos"), Path("gt.json"), [Path("results.json")]
    bpr_cli.extract(photos, truth, shards, results=detections, settings=settings, quiet=True)


def train_on(shards: Path, run: Path) -> None:
    """Run the training that the folder is for, in it; it goes on with what is in `run`."""
    recipe = choose_recipe("default", steps=2, batch_size=4, input_size=32)
    bpr_cli.train(
        [shards], run, recipe, device="cpu", precision="fp32", workers=0, save_every=1, resume=True, quiet=True
    )


def convert_again() -> Refiner:
    """Load the folder's model for OpenVINO, in it, by way of the cache that is there."""
    os.environ["TORCH_HOME"] = "cache"
    return Refiner.from_pretrained(Path("model"), device="cpu", precision="fp32", engine="openvino")


def _in_child(work: Callable[[], object]) -> None:
    """Do something in a forked process: what OpenVINO leaves in one must not be forked again."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("the child failed")


def make_folder(folder: Path) -> None:
    """Write it all."""
    _write_coco(folder)
    _write_photos(folder / "kinds")
    _write_masks(folder / "masks")
    _write_models(folder)
    cityscapes_made.make(folder / "city")
    with contextlib.chdir(folder):
        extract_again(Path("shards"))
        train_on(Path("shards"), Path("run"))
        _in_child(convert_again)
    (folder / "bpr.toml").write_text(TOML)


def _write_coco(folder: Path) -> None:
    """Two photos, their objects, and detections on them in every form that a segmentation may have."""
    (folder / "photos").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for number, crop in enumerate(CROPS, start=7):
        name = f"{number:012d}.png"
        cv2.imwrite(str(folder / "photos" / name), _photo(*crop))
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "sequence": str(number)})
        images[-1] |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}  # of LVIS
        for category, box in OBJECTS:
            truth = {"id": len(truths) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            truths.append({**truth, **_object(box, len(truths)), "area": _area(box)})
            for form in range(3):
                x1, y1, x2, y2 = box
                moved = (x1 + form, y1 + 2, x2 + form, y2 + 2)
                found = {"image_id": number, "category_id": category, "score": round(0.9 - 0.1 * form, 2)}
                detections.append({**found, **_object(moved, form)})
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    truth = {"info": {}, "images": images, "annotations": truths, "categories": categories}
    of_lvis = [{**category, "frequency": "f", "synset": f"{category['name']}.n.01"} for category in categories]
    lvis = {**truth, "categories": of_lvis}
    for name, document in (("results", detections), ("baseline", detections), ("gt", truth), ("lvis", lvis)):
        (folder / f"{name}.json").write_text(json.dumps(document))
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in detections))
    tool_inputs.write(folder, [image["file_name"] for image in images], (WIDTH, HEIGHT), OBJECTS)
    (folder / "results.json.gz").write_bytes(gzip.compress(json.dumps(detections).encode()))


def _photo(file_name: str, left: int, top: int) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3) uint8 BGR."""
    return np.asarray(cv2.imread(str(DAVIS / "images" / file_name))[top : top + HEIGHT, left : left + WIDTH], np.uint8)


def _object(box: Box, form: int) -> dict[str, Any]:
    """An object's bbox and its segmentation: compressed RLE, plain RLE or polygons."""
    x1, y1, x2, y2 = box
    polygon = [float(value) for value in (x1, y1, x2, y1, x2, y2, x1, y2)]
    rle = coco_mask.merge(coco_mask.frPyObjects([polygon], HEIGHT, WIDTH))
    compressed = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    plain = {"size": [HEIGHT, WIDTH], "counts": _runs(coco_mask.decode(rle))}
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": (compressed, plain, [polygon])[form % 3]}


def _runs(mask_HW: NDArray[np.uint8]) -> list[int]:
    pixels = mask_HW.flatten(order="F")
    ends = [*(np.flatnonzero(np.diff(pixels)) + 1).tolist(), pixels.size]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _area(box: Box) -> int:
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def _write_photos(folder: Path) -> None:
    """One photo in every kind of file."""
    folder.mkdir()
    colours = Image.fromarray(_photo(*CROPS[0])[..., ::-1])
    grey = np.asarray(colours.convert("L"))
    cut_out = colours.copy()
    cut_out.putalpha(Image.fromarray(np.where(grey > 90, 255, 0).astype(np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    colours.save(folder / "rgb.png")
    cut_out.save(folder / "rgba.png")
    colours.convert("P").save(folder / "palette.png", transparency=0)
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "grey16.png")
    cv2.imwrite(str(folder / "rgb16.png"), np.asarray(colours)[..., ::-1].astype(np.uint16) * 257)
    colours.save(folder / "animated.png", save_all=True, append_images=[colours.convert("L").convert("RGB")])
    colours.save(folder / "rgb.jpg", quality=92)
    colours.convert("L").save(folder / "progressive.jpg", progressive=True)
    colours.convert("CMYK").save(folder / "cmyk.jpg")
    colours.rotate(90, expand=True).save(folder / "turned.jpg", exif=turned)
    colours.save(folder / "rgb.tif")
    colours.save(folder / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(grey.astype(np.uint16) * 16).save(folder / "grey12.tif")
    Image.fromarray(grey.astype(np.float32) / 255).save(folder / "float.tif")
    colours.save(folder / "lossy.webp")
    cut_out.save(folder / "lossless.webp", lossless=True)
    colours.save(folder / "rgb.bmp")
    colours.save(folder / "rgb.ppm")
    colours.save(folder / "rgb.gif")
    for kind, name in (("avif", "rgb.avif"), ("jpg_2000", "rgb.jp2")):
        if features.check(kind):
            colours.save(folder / name)


def _write_masks(folder: Path) -> None:
    """One mask in every kind of file."""
    folder.mkdir()
    mask_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask_HW, (45, 35), (30, 22), 20, 0, 360, 255, -1)
    grey = Image.fromarray(mask_HW)
    palette = Image.fromarray(mask_HW // 255, "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    cut_out = Image.merge("LA", (grey, grey))
    grey.save(folder / "grey.png")
    grey.convert("1").save(folder / "bits.png")
    palette.save(folder / "palette.png")
    palette.save(folder / "clear.png", transparency=0)
    cut_out.save(folder / "alpha.png")
    Image.fromarray(mask_HW.astype(np.uint16) * 257).save(folder / "grey16.png")
    grey.resize((WIDTH // 4, HEIGHT // 4)).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(folder / "soft.png")
    grey.save(folder / "grey.jpg")
    grey.save(folder / "grey.tif")
    Image.fromarray(mask_HW.astype(np.float32) / 255).save(folder / "probability.tif")
    cut_out.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    grey.save(folder / "grey.bmp")
    grey.save(folder / "grey.gif")


def _write_models(folder: Path) -> None:
    """One network as a model's folder, as a single file, and as the authors' kind of checkpoint."""
    torch.manual_seed(0)
    network, config = hrnet.build(NETWORK), ModelConfig(network=NETWORK, input_size=32)
    checkpoint.save(folder / "model", network, config)
    checkpoint.save(folder / "one.safetensors", network, config)
    torch.save({"meta": {"epoch": 1}, "state_dict": network.state_dict()}, folder / "weights.pth")
