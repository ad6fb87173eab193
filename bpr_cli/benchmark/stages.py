"""How long each stage of `bpr refine` takes, one after the other, and how well they overlap."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpr_cli import patches
from bpr_cli.formats import read_results, write_results
from bpr_cli.formats.coco import with_image_info
from bpr_cli.formats.images import ImageFinder, image_size, read_image
from bpr_cli.formats.records import Instance
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import RLE, encode_rle
from bpr_cli.network.engine import Engine, Network
from bpr_cli.network.recording import RECORD_AT
from bpr_cli.progress import progress_bar
from bpr_cli.refining.crowding import crowding
from bpr_cli.refining.jobs import cut_job, paste
from bpr_cli.refining.refine import refine
from bpr_cli.refining.refiner import Refiner

STAGES = ("read results", "read photo", "decode", "crowding", "boxes", "crop", "network", "paste", "encode", "write")


@dataclass(slots=True)
class StageTimes:
    """What was counted and how long it took, in seconds.

    Attributes:
        images, instances, patches: how many of each.
        seconds: stage -> time of all of it, each stage by itself.
        wall: time of `bpr refine` on the same, stages overlapping; without loading the model.
        network_wall: of that, time in which the network was at work.
    """

    images: int = 0
    instances: int = 0
    patches: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    wall: float = 0.0
    network_wall: float = 0.0

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Add what happens inside to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - start


@dataclass(slots=True)
class Clock:
    """Seconds that all networks were at work."""

    seconds: float = 0.0


class TimedEngine:
    """An engine that adds the time it is at work to a clock."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.name = engine.name
        self.device = engine.device
        self.precision = engine.precision

    def predict(
        self, images_NHWC: NDArray[np.uint8], masks_NHW: NDArray[np.uint8], flips: bool = False
    ) -> NDArray[np.float32]:
        """`Engine.predict`, timed."""
        start = time.perf_counter()
        probabilities = self.engine.predict(images_NHWC, masks_NHW, flips)
        self.clock.seconds += time.perf_counter() - start
        return probabilities


def time_stages(
    refiner: Refiner, results: Path, images: Path, image_info: Path | None = None, *, quiet: bool = False
) -> StageTimes:
    """Time a refinement, first stage by stage in one thread, then as `bpr refine` does it.

    Args:
        refiner: the model with its settings.
        results: COCO results or dataset.
        images: folder of the photos.
        image_info: as in `refine`.
        quiet: no progress bar.

    Raises:
        InputError: bad input.
    """
    clock = Clock()
    networks = [Network(TimedEngine(engine, clock), config) for engine, config in refiner.networks]
    timed = Refiner(networks, refiner.settings)
    _warm_up(timed)
    times = _one_by_one(timed, clock, results, images, image_info, quiet)
    clock.seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        refine(results, Path(folder) / "refined.json", images=images, image_info=image_info, model=timed, quiet=quiet)
        times.wall = time.perf_counter() - start
    times.network_wall = clock.seconds
    return times


def _warm_up(refiner: Refiner) -> None:
    for engine, config in refiner.networks:
        side = config.patch_size + 2 * config.padding
        shape = (refiner.batch_size, side, side)
        for _ in range(RECORD_AT):
            engine.predict(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8), flips=refiner.settings.flips)


def _one_by_one(
    refiner: Refiner, clock: Clock, results_path: Path, images: Path, image_info: Path | None, quiet: bool
) -> StageTimes:
    times = StageTimes()
    with times.timing("read results"):
        results = read_results(results_path)
    if image_info is not None:
        results = with_image_info(results, image_info)
    paths = ImageFinder(images).find_all([entry.image for entry in results.images])
    segmentations: list[RLE | None] = [None] * results.count
    with progress_bar(len(results.images), "stages", "image", quiet=quiet) as bar:
        for entry in results.images:
            with times.timing("read photo"):
                image_HWC = read_image(paths[entry.image.id], None)
            for index, rle in _one_image(refiner, clock, image_HWC, entry.instances, times):
                segmentations[index] = rle
            times.images += 1
            bar.update()
    with tempfile.TemporaryDirectory() as folder, times.timing("write"):
        write_results(results, segmentations, Path(folder) / "refined.json")
    return times


def _one_image(
    refiner: Refiner, clock: Clock, image_HWC: NDArray[np.uint8], instances: Sequence[Instance], times: StageTimes
) -> Iterator[tuple[int, RLE]]:
    config, settings = refiner.networks[0].config, refiner.settings
    jobs = []
    with times.timing("decode"):
        masks = [decode_mask(instance, *image_HWC.shape[:2]) for instance in instances]
    with times.timing("crowding"):
        crowded = crowding(masks, [instance.score for instance in instances])
    for instance, mask, share in zip(instances, masks, crowded, strict=True):
        with times.timing("boxes"):
            boxes = patches.propose_boxes_in(mask, config.patch_size, settings.nms_threshold, settings.scheme)
        with times.timing("crop"):
            jobs.append(cut_job(instance.index, image_HWC, mask, boxes, config, settings, share))
    before = clock.seconds
    with times.timing("paste"):  # between two passes
        predicted = list(refiner.run(jobs))
    times.seconds["network"] += clock.seconds - before
    times.seconds["paste"] -= clock.seconds - before
    for job, probabilities in predicted:
        with times.timing("paste"):
            mask = paste(job, probabilities, settings)
        with times.timing("encode"):
            rle = encode_rle(mask)
        times.instances += 1
        times.patches += job.patch_count
        yield job.index, rle


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
        read = with_image_info(read, image_info)
    paths = ImageFinder(images).find_all([entry.image for entry in read.images])
    totals = dict.fromkeys(thresholds, 0)
    for entry in read.images:
        height, width = image_size(paths[entry.image.id])
        for instance in entry.instances:
            mask = decode_mask(instance, height, width)
            for threshold in thresholds:
                totals[threshold] += len(patches.propose_boxes_in(mask, patch_size, threshold))
    return {threshold: total / max(1, len(read.images)) for threshold, total in totals.items()}
