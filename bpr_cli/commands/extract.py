"""`bpr extract`: its options, and what it prints."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bpr_cli.commands.options import (
    BELOW_ONE,
    INPUT,
    PATCHES,
    PATH,
    SPEED,
    MaxPixels,
    Orientation,
    Quiet,
    Scheme,
    SkipBad,
    console,
    is_typed,
    print_notices,
    print_place,
    print_skipped,
)
from bpr_cli.errors import refuse_beside
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings

LARGEST_SIDE = 4096  # px of a stored patch, as `shards.LARGEST_SIDE`


def extract(
    context: typer.Context,
    images: Annotated[str, typer.Option(help="Folder of the photos.", metavar=PATH, rich_help_panel=INPUT)],
    gt: Annotated[
        str,
        typer.Option(
            help="Ground truth: a COCO dataset (JSON), or any other input of bpr refine.",
            metavar=PATH,
            rich_help_panel=INPUT,
        ),
    ],
    results: Annotated[
        list[str] | None,
        typer.Option(help="Detections on these photos; repeat for more.", metavar=PATH, rich_help_panel=INPUT),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder for the shards.", metavar=PATH, rich_help_panel=INPUT)
    ] = "shards",
    orientation: Orientation = "exif",
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    corruptions: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Synthetic coarse masks of each true object.  [dim]\\[default: 0; 4 without --results][/]",
            show_default=False,
            rich_help_panel=PATCHES,
        ),
    ] = None,
    patch_size: Annotated[
        int, typer.Option(min=8, max=LARGEST_SIDE, help="Side of a patch, px.", rich_help_panel=PATCHES)
    ] = 64,
    padding: Annotated[
        int, typer.Option(min=0, max=LARGEST_SIDE // 2, help="Context around a patch, px.", rich_help_panel=PATCHES)
    ] = 0,
    nms_threshold: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=BELOW_ONE,
            help="Patches overlapping more than this IoU are dropped.",
            rich_help_panel=PATCHES,
        ),
    ] = 0.25,
    scheme: Scheme = "dense",
    min_iou: Annotated[
        float,
        typer.Option(
            min=0.0, max=BELOW_ONE, help="Least IoU of a coarse mask with its true object.", rich_help_panel=PATCHES
        ),
    ] = 0.5,
    sample: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the coarse masks to use.", rich_help_panel=PATCHES)
    ] = 1.0,
    scales: Annotated[
        str,
        typer.Option(
            help="Sizes at which photos are used, as 1,0.5,0.25: reduced ones teach small objects.",
            rich_help_panel=PATCHES,
        ),
    ] = "1",
    val_fraction: Annotated[
        float,
        typer.Option(
            min=0.0, max=BELOW_ONE, help="Share of the groups that go to validation.", rich_help_panel=PATCHES
        ),
    ] = 0.05,
    split_by: Annotated[
        str,
        typer.Option(help="image, or a field of the images (sequence, ...) to keep together.", rich_help_panel=PATCHES),
    ] = "image",
    seed: Annotated[
        int, typer.Option(min=0, help="Decides sample, split and corruption.", rich_help_panel=PATCHES)
    ] = 0,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes.  [dim]\\[default: one a core][/]", show_default=False, rich_help_panel=SPEED
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Cut training patches along the boundaries of detections, or of disturbed true masks.

    [bold]bpr extract[/] --images photos/ --gt gt.json --results maskrcnn.json

    [bold]bpr extract[/] --images photos/ --gt gt.json --corruptions 4 -o more-shards/

    [bold]bpr extract[/] --images photos/ --gt gt.json --results maskrcnn.json -o s3://bucket/shards/

    Run again, it goes on where it stopped.
    """
    from bpr_cli.extraction.extract import extract as run
    from bpr_cli.extraction.extraction_settings import ExtractionSettings, parse_scales

    if scheme != "dense" and is_typed(context, "nms_threshold"):
        refuse_beside(f"the {scheme} scheme", nms_threshold=nms_threshold)
    if corruptions is None:
        corruptions = 0 if results else 4
    settings = ExtractionSettings(
        patch_size=patch_size,
        padding=padding,
        nms_threshold=nms_threshold,
        scheme=scheme,
        min_iou=min_iou,
        scales=parse_scales(scales),
        corruptions=corruptions,
        sample=sample,
        val_fraction=val_fraction,
        split_by=split_by,
        seed=seed,
        orientation=orientation,
    )
    with collected_warnings() as warned:
        manifest = run(
            images,
            gt,
            output,
            results=results or (),
            settings=settings,
            processes=processes or os.cpu_count() or 1,
            max_pixels=max_pixels,
            skip_bad=skip_bad,
            quiet=quiet,
        )
    for split, entry in manifest["splits"].items():
        console.print(f"{split}: {entry['patches']} patches in {len(entry['shards'])} shards", highlight=False)
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in manifest["counts"].items())
    print_place(counts, output)
    print_notices(warned)
    left_out = [(manifest["counts"].get(f"{name}_left_out"), name) for name in ("images", "instances")]
    print_skipped("left out: " + ", ".join(f"{name} {n}" for n, name in left_out if n), manifest["skipped"])
