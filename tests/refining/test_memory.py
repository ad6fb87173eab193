"""Memory follows batch and queue sizes, not the number of photos."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

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
    images = [{**photos[i % len(photos)], "id": i} for i in range(count)]
    records = [{**detections[photos[i % len(photos)]["id"]], "image_id": i} for i in range(count)]
    (folder / "info.json").write_text(json.dumps({"images": images}))
    (folder / "input.json").write_text(json.dumps(records))
    arguments = [
        "refine", folder / "input.json", "-o", folder / "out.json", "--images", example.images,
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
