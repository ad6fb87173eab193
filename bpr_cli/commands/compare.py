"""`bpr compare`: its options, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bpr_cli.commands.options import (
    ChangesJson,
    ChangesReport,
    ImageInfo,
    Images,
    MaxPixels,
    Orientation,
    Quiet,
    SkipBad,
    console,
    print_changes,
    print_notices,
    print_skipped,
)
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings


def compare(
    before: Annotated[Path, typer.Argument(help="Results before refinement.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="The same detections after it.", show_default=False)],
    images: Images = None,
    image_info: ImageInfo = None,
    report: ChangesReport = None,
    json_file: ChangesJson = None,
    orientation: Orientation = "exif",
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Compare two files of the same detections, without ground truth: what changed, where, and by how much.

    [bold]bpr compare[/] results.json refined.json --images photos/ --report look/
    """
    from bpr_cli.comparing.compare import compare as run
    from bpr_cli.report.change_tables import change_table
    from bpr_cli.report.changes_json import write_changes_json
    from bpr_cli.report.changes_page import write_changes_page
    from bpr_cli.report.outputs import check_outputs

    sources = [path for path in (before, after, image_info) if path is not None]
    check_outputs(json_file, report, sources, images)
    with collected_warnings() as warned:
        comparison = run(
            before,
            after,
            images=images,
            image_info=image_info,
            orientation=orientation,
            max_pixels=max_pixels,
            skip_bad=skip_bad,
            quiet=quiet,
        )
        if json_file is not None:
            write_changes_json(comparison, json_file)
        left_out: list[str] = []
        if report is not None:
            _, left_out = write_changes_page(comparison, report, skip_bad=skip_bad, quiet=quiet)
    console.print(change_table(comparison))
    print_notices(warned)
    print_skipped("could not be compared", comparison.skipped)
    print_skipped("could not be shown", left_out)
    print_changes(json_file, report)
