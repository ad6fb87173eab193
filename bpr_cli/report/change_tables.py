"""What changed between two files as a table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from bpr_cli.comparing.changes import Fate
from bpr_cli.comparing.comparison import ChangeRow, Comparison, all_row, size_rows


def change_table(comparison: Comparison) -> Table:
    """What changed between two files, in all and by size."""
    caption = "IoU of the mask before with the mask after; no ground truth, so nothing says better or worse"
    table = Table(caption=caption, caption_justify="left", header_style="bold")
    table.add_column("")
    for name in ("detections", "changed", "as they were", "pixels changed", "mean IoU of changed"):
        table.add_column(name, justify="right")
    for rows in ([all_row(comparison)], size_rows(comparison)):
        for row in rows:
            table.add_row(Text(row.label), *change_cells(row))
        table.add_section()
    return table


def change_cells(row: ChangeRow) -> list[str]:
    """A row's detections, shares of changed and of unchanged ones, share of pixels, and mean IoU, as text."""
    same = sum(row.fates[fate.words] for fate in (Fate.UNCHANGED, Fate.REFUSED))
    return [
        f"{row.detections:,}",
        share(row.fates[Fate.CHANGED.words], row.detections),
        share(same, row.detections),
        share(row.pixels_changed, row.pixels),
        "-" if row.mean_iou is None else f"{row.mean_iou:.3f}",
    ]


def share(part: float, whole: float) -> str:
    """ "12.3 %"; "-" of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
