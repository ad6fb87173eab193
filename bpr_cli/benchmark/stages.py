"""How long each stage of `bpr refine` takes, and how well they overlap."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bpr_cli import patches
from bpr_cli.engines.recording import RECORD_AT
from bpr_cli.formats import read_results
from bpr_cli.formats.coco import read_image_info, with_image_info
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import image_size
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.refining.refine import refine
from bpr_cli.refining.refiner import STAGES, Refiner


class StageClock:
    """Adds up what the stages of a refinement take, in whichever thread they run.

    Most stages share the cores with others, so for them the processor time of their own thread counts; the network has
    threads of its own, so for it the time from call to answer.

    Attributes:
        seconds: stage -> time of all of it.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Add what happens inside to a stage."""
        now = time.perf_counter if stage == "network" else time.thread_time
        start = now()
        yield
        taken = now() - start
        with self._lock:
            self.seconds[stage] += taken


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What was counted and how long it took, in seconds.

    Attributes:
        images, instances, patches: how many of each.
        seconds: stage -> time of all of it (`StageClock`).
        wall: time of `bpr refine`, stages overlapping; without loading the model.
    """

    images: int
    instances: int
    patches: int
    wall: float
    seconds: dict[str, float] = field(default_factory=dict)


def time_stages(
    refiner: Refiner, results: Path, images: Path, image_info: Path | None = None, *, quiet: bool = False
) -> StageTimes:
    """Time a refinement as `bpr refine` does it, and its stages.

    Args:
        refiner: the model with its settings.
        results: COCO results or dataset.
        images: folder of the photos.
        image_info: as in `refine`.
        quiet: no progress bar.

    Raises:
        InputError: bad input.
    """
    _warm_up(refiner)
    clock = StageClock()
    timed = Refiner(refiner.networks, refiner.settings, clock.timing)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        summary = refine(
            results, Path(folder) / "refined.json", images=images, image_info=image_info, model=timed, quiet=quiet
        )
        wall = time.perf_counter() - start
    count = len(read_results(results).images)
    return StageTimes(count, summary.instances, summary.patches, wall, clock.seconds)


def _warm_up(refiner: Refiner) -> None:
    for engine, config, _ in refiner.networks:
        side = config.patch_size + 2 * config.padding
        shape = (refiner.batch_size, side, side)
        for _ in range(RECORD_AT):
            engine.predict(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8), flips=refiner.settings.flips)


def count_patches(
    results: Path, images: Path, image_info: Path | None, patch_size: int, thresholds: Sequence[float]
) -> dict[float, float]:
    """NMS threshold -> mean number of patches an image.

    Args:
        results, images, image_info: as in `time_stages`.
        patch_size: side of the patches in pixels.
        thresholds: to try.
    """
    read = read_results(results)
    if image_info is not None:
        read = with_image_info(read, read_image_info(image_info))
    paths = ImageFinder(images).find_all([entry.image for entry in read.images if entry.instances])
    totals = dict.fromkeys(thresholds, 0)
    for entry in read.images:
        if not entry.instances:
            continue
        record = entry.image
        height, width = (
            (record.height, record.width) if record.height and record.width else image_size(paths[record.id])
        )
        for instance in entry.instances:
            mask = decode_mask(instance, height, width)
            for threshold in thresholds:
                totals[threshold] += len(patches.propose_boxes(mask, patch_size, threshold))
    return {threshold: total / max(1, len(read.images)) for threshold, total in totals.items()}
