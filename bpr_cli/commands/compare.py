"""`bpr compare`: its options, and what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
from bpr_cli.files import PathLike, as_path
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings
from bpr_cli.stores.staging import with_stores

if TYPE_CHECKING:
    from bpr_cli.comparing.comparison import Comparison


def compare(
    before: Annotated[str, typer.Argument(help="Results before refinement.", show_default=False)],
    after: Annotated[str, typer.Argument(help="The same detections after it.", show_default=False)],
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
    from bpr_cli.report.change_tables import change_table

    with collected_warnings() as warned:
        comparison, left_out = _compare(
            before,
            after,
            report,
            json_file,
            images=images,
            image_info=image_info,
            orientation=orientation,
            max_pixels=max_pixels,
            skip_bad=skip_bad,
            quiet=quiet,
        )
    console.print(change_table(comparison))
    print_notices(warned)
    print_skipped("could not be compared", comparison.skipped)
    print_skipped("could not be shown", left_out)
    print_changes(json_file, report)


@with_stores(inputs=("before", "after", "image_info"), photos=("images",), outputs=("report", "json_file"))
def _compare(
    before: PathLike,
    after: PathLike,
    report: PathLike | None,
    json_file: PathLike | None,
    *,
    images: PathLike | None,
    image_info: PathLike | None,
    skip_bad: bool,
    quiet: bool,
    **options: Any,
) -> tuple[Comparison, list[str]]:
    """The comparison, its files written, and what the page could not show."""
    from bpr_cli.comparing.compare import compare
    from bpr_cli.report.changes_json import write_changes_json
    from bpr_cli.report.changes_page import write_changes_page
    from bpr_cli.report.outputs import check_outputs

    page = None if report is None else as_path(report, "report")
    figures = None if json_file is None else as_path(json_file, "json_file")
    photos = None if images is None else as_path(images, "images")
    sources = [as_path(path, "an input") for path in (before, after, image_info) if path is not None]
    check_outputs(figures, page, sources, photos)
    comparison = compare(before, after, images=photos, image_info=image_info, skip_bad=skip_bad, quiet=quiet, **options)
    if figures is not None:
        write_changes_json(comparison, figures)
    left_out: list[str] = []
    if page is not None:
        _, left_out = write_changes_page(comparison, page, skip_bad=skip_bad, quiet=quiet)
    return comparison, left_out
