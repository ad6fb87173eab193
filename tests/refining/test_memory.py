"""Memory follows bytes, batch and queue sizes, not the number of photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from bpr_cli.engines.engine import Network
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining import blocks, refine, refiner
from bpr_cli.refining.settings import RefineSettings

REPORTING = """
import resource
from bpr_cli.app import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(example, model, folder, count: int) -> int:
    """Peak memory, in the system's unit, of `bpr refine` on `count` photos: those of the example, over and over."""
    photos = json.loads(example.gt.read_text())["images"]
    detections = {record["image_id"]: record for record in json.loads(example.results.read_text())}
    (folder / "photos").mkdir(exist_ok=True)
    images = []
    for i in range(count):
        photo = photos[i % len(photos)]
        images.append({**photo, "id": i, "file_name": f"{i}.jpg"})
        if not (folder / "photos" / f"{i}.jpg").exists():
            (folder / "photos" / f"{i}.jpg").symlink_to(example.images.resolve() / photo["file_name"])
    records = [{**detections[photos[i % len(photos)]["id"]], "image_id": i} for i in range(count)]
    (folder / "info.json").write_text(json.dumps({"images": images}))
    (folder / "input.json").write_text(json.dumps(records))
    arguments = [
        "refine", folder / "input.json", "-o", folder / "out.json", "--images", folder / "photos",
        "--image-info", folder / "info.json", "--model", model, "--quiet", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", REPORTING, *map(str, arguments)], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read in the POSIX way")
def test_ten_times_the_photos_take_no_more_memory(example, small_model, tmp_path):
    few, many = (peak_memory(example, small_model, tmp_path, count) for count in (50, 500))
    assert many < 1.1 * few


class Agreeing:
    """A network that answers with the coarse mask."""

    name, precision, device = "mask", "fp32", torch.device("cpu")

    def predict(self, images_NHWC, masks_NHW, flips=False):
        return masks_NHW.astype(np.float32)


@pytest.mark.parametrize("passes", [1, 2])
def test_photos_alive_at_once_are_bounded_by_bytes_however_large_the_batch(passes, tmp_path, monkeypatch):
    height, width, count = 64, 100, 60
    photo_bytes = 3 * height * width
    square = [[20.0, 20.0, 60.0, 20.0, 60.0, 50.0, 20.0, 50.0]]
    images = [{"id": i, "file_name": f"{i}.png", "height": height, "width": width} for i in range(count)]
    for image in images:
        Image.new("RGB", (width, height)).save(tmp_path / image["file_name"])
    annotations = [{"id": i, "image_id": i, "category_id": 1, "segmentation": square} for i in range(count)]
    dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "input.json").write_text(json.dumps(dataset))
    alive, most = [0], [0]

    def gone():
        alive[0] -= 1

    def counted_read(*arguments):
        photo = read(*arguments)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        weakref.finalize(photo, gone)
        return photo

    read = refine.PhotoReader.read
    monkeypatch.setattr(refine.PhotoReader, "read", counted_read)
    monkeypatch.setattr(blocks, "IMAGES_AHEAD", count)
    monkeypatch.setattr(blocks, "MOST_BYTES_AHEAD", 4 * photo_bytes)
    monkeypatch.setattr(refiner, "MOST_BYTES_WAITING", 6 * photo_bytes)
    settings = RefineSettings(passes=passes, batch_size=1024)
    model = refiner.Refiner([Network(Agreeing(), ModelConfig())] * passes, settings)
    refine.refine(tmp_path / "input.json", tmp_path / "out.json", model=model, quiet=True)
    assert 1 <= most[0] <= 4 + 6 + 4  # ahead, waiting, and what is handed on between them
