"""`bpr benchmark`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bpr_cli.commands.options import (
    INPUT,
    Batch,
    Blend,
    Device,
    Engine,
    Flips,
    ImageInfo,
    Images,
    Models,
    NmsThreshold,
    Passes,
    Precision,
    Quiet,
    Speed,
    console,
)
from bpr_cli.files import as_path

WorkloadName = Literal["cityscapes", "coco"]


def benchmark(
    results: Annotated[
        Path | None, typer.Argument(help="COCO results of your own.  [dim]\\[default: a made-up workload][/]")
    ] = None,
    images: Images = None,
    image_info: ImageInfo = None,
    workload: Annotated[
        WorkloadName,
        typer.Option(
            help="What to make up: photos of 1024x2048 with 15 instances, or of 480x640 with 7.", rich_help_panel=INPUT
        ),
    ] = "cityscapes",
    photos: Annotated[int, typer.Option(min=1, help="Made-up photos.", rich_help_panel=INPUT)] = 8,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Also the last model alone over engines, batch sizes, input sizes and backbones, and patches over NMS "
            "thresholds: some minutes.",
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    speed: Speed = "balanced",
    model: Models = None,
    nms_threshold: NmsThreshold = None,
    flips: Flips = None,
    blend: Blend = None,
    passes: Passes = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    batch_size: Batch = None,
    quiet: Quiet = False,
) -> None:
    """Time every stage of a refinement on this machine.

    [bold]bpr benchmark[/]

    [bold]bpr benchmark[/] results.json --images photos/ --json times.json
    """
    from bpr_cli.benchmark.benchmark import benchmark as run
    from bpr_cli.benchmark.benchmark import write_json
    from bpr_cli.benchmark.time_tables import benchmark_tables
    from bpr_cli.refining.speed import choose_speed

    models, settings = choose_speed(
        speed,
        model or (),
        nms_threshold=nms_threshold,
        flips=flips,
        blend=blend,
        passes=passes,
        batch_size=batch_size,
    )
    measured = run(
        results,
        images=None if images is None else as_path(images, "images"),
        image_info=None if image_info is None else as_path(image_info, "image_info"),
        workload=workload,
        photos=photos,
        model=models,
        settings=settings,
        device=device,
        precision=precision,
        engine=engine,
        sweep=sweep,
        quiet=quiet,
    )
    for part in benchmark_tables(measured):
        console.print(part, highlight=False)
    if json is not None:
        write_json(measured, json)
        console.print(f"figures -> {json}", highlight=False, soft_wrap=True)
