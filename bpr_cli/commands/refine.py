"""`bpr refine`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpr_cli.commands.options import (
    INPUT,
    PATCHES,
    Batch,
    Device,
    Engine,
    ImageInfo,
    Images,
    Model,
    Precision,
    Quiet,
    Scheme,
    SkipBad,
    console,
    print_skipped,
)


def refine(
    input: Annotated[
        Path,
        typer.Argument(
            help="COCO results or dataset (JSON), a Cityscapes results folder, or a photo together with --mask.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Refined results, in the input's form (JSON or folder); with --mask, a folder.",
            rich_help_panel=INPUT,
        ),
    ],
    images: Images = None,
    image_info: ImageInfo = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="A mask image of the photo; repeat for more.", rich_help_panel=INPUT),
    ] = None,
    skip_bad: SkipBad = False,
    model: Model = None,
    nms_threshold: Annotated[
        float,
        typer.Option(help="0.25 is fast; 0.55 looks at each place more often.", rich_help_panel=PATCHES),
    ] = 0.25,
    scheme: Scheme = "dense",
    flips: Annotated[
        bool,
        typer.Option("--flips", help="Average with the mirror image: twice the time.", rich_help_panel=PATCHES),
    ] = False,
    blend: Annotated[
        str,
        typer.Option(help="How overlapping patches are averaged: uniform or hann.", rich_help_panel=PATCHES),
    ] = "uniform",
    caution: Annotated[
        float,
        typer.Option(
            help="0 changes whatever the network finds likely; towards 1, only what it is sure of.",
            rich_help_panel=PATCHES,
        ),
    ] = 0.4,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    batch_size: Batch = None,
    quiet: Quiet = False,
) -> None:
    """Refine masks: same detections, same order, better boundaries.

    [bold]bpr refine[/] results.json -o refined.json --images photos/

    [bold]bpr refine[/] photo.jpg --mask person.png --mask dog.png -o refined/
    """
    from bpr_cli.refining.refine import refine as run
    from bpr_cli.refining.refiner import DEFAULT_MODEL
    from bpr_cli.refining.settings import RefineSettings

    settings = RefineSettings(
        nms_threshold=nms_threshold, scheme=scheme, flips=flips, blend=blend, caution=caution, batch_size=batch_size
    )
    summary = run(
        input,
        output,
        images=images,
        image_info=image_info,
        masks=mask or (),
        model=model or DEFAULT_MODEL,
        settings=settings,
        device=device,
        precision=precision,
        engine=engine,
        skip_bad=skip_bad,
        quiet=quiet,
    )
    console.print(
        f"{summary.instances} instances, {summary.changed} changed, {summary.patches} patches -> {output}",
        highlight=False,
        soft_wrap=True,
    )
    print_skipped(summary.skipped, "left as they were")
