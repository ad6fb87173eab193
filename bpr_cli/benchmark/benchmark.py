"""`bpr benchmark`: stages, and with `sweep` networks and thresholds, as tables and as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bpr_cli.benchmark.machine import machine_facts
from bpr_cli.benchmark.stages import StageTimes, count_patches, time_stages
from bpr_cli.benchmark.throughput import Throughput, over_batch_sizes, over_networks
from bpr_cli.benchmark.workload import WORKLOADS, make_workload
from bpr_cli.errors import InputError, refuse_beside
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.network.checkpoint import load
from bpr_cli.network.zoo import int8_file
from bpr_cli.refining.refiner import Refiner
from bpr_cli.refining.settings import RefineSettings
from bpr_cli.refining.speed import NameOrPath, models_of_passes

BATCH_SIZES = (1, 8, 16, 32)
INPUT_SIZES = (64, 96, 128, 192, 256)  # the paper's table 9 goes from 64 to 512
THRESHOLDS = (0.15, 0.25, 0.35, 0.45, 0.55)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was measured.

    Attributes:
        workload: what was refined, in words.
        way: the model, engine and precision of each pass; patches of a batch.
        machine: see `machine.machine_facts`.
        stages: see `stages.StageTimes`.
        engines, networks: throughput of the last model alone; empty without a sweep.
        patches_by_threshold: NMS threshold -> patches an image; empty without a sweep.
    """

    workload: str
    way: str
    machine: dict[str, str]
    stages: StageTimes
    engines: list[Throughput]
    networks: list[Throughput]
    patches_by_threshold: dict[float, float]


def benchmark(
    results: Path | None = None,
    *,
    images: Path | None = None,
    image_info: Path | None = None,
    workload: str = "cityscapes",
    photos: int = 8,
    model: NameOrPath | Sequence[NameOrPath] | None = None,
    settings: RefineSettings | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    sweep: bool = False,
    quiet: bool = False,
) -> Benchmark:
    """Time a refinement on this machine.

    Args:
        results: COCO results; None: a made-up workload.
        images, image_info: as in `refine`; with `results` only.
        workload: one of `workload.WORKLOADS`; used without `results`.
        photos: how many photos of it to make.
        model, settings, device, precision, engine: as in `refine`.
        sweep: also measure the last model by itself over engines, batch sizes, input sizes and backbones, and count
            patches over NMS thresholds.
        quiet: no progress bars.

    Raises:
        InputError: bad input.
    """
    if workload not in WORKLOADS:
        raise InputError(f"no workload {workload!r}", remedy=f"Choose from {', '.join(WORKLOADS)}")
    if photos < 1:
        raise InputError(f"{photos} photos are too few", remedy="Use 1 or more")
    if results is None:
        refuse_beside("a made-up workload", images=images, image_info=image_info)
    settings = settings or RefineSettings()
    models = models_of_passes(model, settings.passes)
    refiner = Refiner.from_pretrained(models, device, precision, settings, engine)
    opened, config, _ = refiner.networks[-1]
    with ExitStack() as stack:
        name = f"{results}"
        if results is None:
            images = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            results = make_workload(WORKLOADS[workload], photos, images)
            name = f"{workload}, made up"
        images = images or results.parent
        stages = time_stages(refiner, results, images, image_info, quiet=quiet)
        engines: list[Throughput] = []
        networks: list[Throughput] = []
        counts: dict[float, float] = {}
        if sweep:
            module, _ = load(models[-1])
            engines = over_batch_sizes(module, config, opened.device, BATCH_SIZES, int8_file(models[-1]), quiet=quiet)
            networks = over_networks(
                module, config, opened.device, opened.name, INPUT_SIZES, refiner.batch_size, quiet=quiet
            )
            counts = count_patches(results, images, image_info, refiner.networks[0].config.patch_size, THRESHOLDS)
    passes = ", then ".join(
        f"{of_pass} ({network.engine.name}, {network.engine.precision})"
        for of_pass, network in zip(models, refiner.networks, strict=True)
    )
    way = f"{passes}; batches of {refiner.batch_size}"
    return Benchmark(name, way, machine_facts(opened.device), stages, engines, networks, counts)


def as_json(measured: Benchmark) -> dict[str, Any]:
    """A JSON-ready dict; times in seconds."""
    return {**asdict(measured), "patches_by_threshold": {f"{k:g}": v for k, v in measured.patches_by_threshold.items()}}


def write_json(measured: Benchmark, path: Path) -> None:
    """Write `as_json`; the file appears whole or not at all.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    ensure_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(as_json(measured), indent=2) + "\n", encoding="utf-8")
