"""`bpr refine`: its options, and what it prints."""

from __future__ import annotations

from typing import Annotated

import typer

from bpr_cli.commands.options import (
    BELOW_ONE,
    INPUT,
    PATCHES,
    PATH,
    Batch,
    Blend,
    ChangesJson,
    ChangesReport,
    Device,
    Engine,
    Flips,
    ImageInfo,
    MaskFormName,
    MaxPixels,
    Models,
    NmsThreshold,
    Orientation,
    Passes,
    Precision,
    Quiet,
    Scheme,
    SkipBad,
    Speed,
    console,
    is_typed,
    print_changes,
    print_notices,
    print_skipped,
)
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings
from bpr_cli.stores.addresses import shown


def refine(
    context: typer.Context,
    input: Annotated[
        str,
        typer.Argument(
            help="COCO results, dataset or panoptic (JSON); a folder of COCO results in parts; a folder of masks, "
            "label maps, Cityscapes results or YOLO labels; files of labelme, CVAT, Label Studio or Segment Anything; "
            "or a photo together with --mask.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Refined results, in the input's form (JSON or folder); with --mask, a folder.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ],
    images: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the photos, or the photo if there is one; repeat for more folders.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ] = None,
    image_info: ImageInfo = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="A mask image of the photo, a folder of them, a pattern (*.png) or a map of its objects; repeat for "
            "more.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ] = None,
    masks: Annotated[
        MaskFormName,
        typer.Option(
            help="How masks are written in COCO JSON: same as the input has them, all as RLE, or all as polygons.",
            rich_help_panel=INPUT,
        ),
    ] = "same",
    exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive",
            help="No pixel in two masks: the surer one gets it. Label maps and panoptic files are always written so.",
            rich_help_panel=INPUT,
        ),
    ] = False,
    orientation: Orientation = "exif",
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    report: ChangesReport = None,
    json_file: ChangesJson = None,
    speed: Speed = "balanced",
    model: Models = None,
    nms_threshold: NmsThreshold = None,
    scheme: Scheme = "dense",
    flips: Flips = None,
    blend: Blend = None,
    passes: Passes = None,
    caution: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=BELOW_ONE,
            help="0 changes whatever the network finds likely; towards 1, only what it is sure of and the photo shows.",
            rich_help_panel=PATCHES,
        ),
    ] = 0.4,
    min_score: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Detections with a score below it stay as they are: saves time on files that were not cut.",
            rich_help_panel=PATCHES,
        ),
    ] = 0.0,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    batch_size: Batch = None,
    quiet: Quiet = False,
) -> None:
    """Refine masks: same detections, same order, better boundaries.

    [bold]bpr refine[/] results.json -o refined.json --images photos/

    [bold]bpr refine[/] results.json -o refined.json --images photos/ --report look/

    [bold]bpr refine[/] photo.jpg --mask person.png --mask dog.png -o refined/

    [bold]bpr refine[/] s3://bucket/results.json -o s3://bucket/refined.json --images s3://bucket/photos/
    """
    from bpr_cli.refining.refine import refine as run

    # What has no use here is refused where it is typed; in a bpr.toml it is for other runs.
    if mask:
        images = images if is_typed(context, "images") else None
        image_info = image_info if is_typed(context, "image_info") else None
    if scheme != "dense":
        nms_threshold = nms_threshold if is_typed(context, "nms_threshold") else None
    if scheme == "instance":
        blend = blend if is_typed(context, "blend") else None
    with collected_warnings() as warned:
        summary = run(
            input,
            output,
            images=images or None,
            image_info=image_info,
            masks=mask or (),
            model=model,
            speed=speed,
            device=device,
            precision=precision,
            engine=engine,
            orientation=orientation,
            max_pixels=max_pixels,
            mask_form=masks,
            exclusive=exclusive,
            skip_bad=skip_bad,
            report=report,
            json_file=json_file,
            quiet=quiet,
            nms_threshold=nms_threshold,
            scheme=scheme,
            flips=flips,
            blend=blend,
            passes=passes,
            caution=caution,
            batch_size=batch_size,
            min_score=min_score,
        )
    console.print(
        f"{summary.instances} instances, {summary.changed} changed, {summary.patches} patches ({summary.engine}) "
        f"-> {shown(output)}",
        highlight=False,
        soft_wrap=True,
    )
    print_notices(warned)
    print_skipped(str(summary.skipped), summary.skipped.lines)
    print_changes(json_file, report)
