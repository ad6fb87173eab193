"""A look without ground truth: one HTML page of what changed between two files of the same detections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from bpr_cli import __version__
from bpr_cli.comparing.changes import Changes, Fate
from bpr_cli.comparing.comparison import ChangeRow, Comparison, all_row, category_rows, size_rows
from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats.records import ImageRecord
from bpr_cli.report.change_cases import pictures
from bpr_cli.report.change_tables import change_cells, share
from bpr_cli.report.page import PAGE, page_template, photo_link

MOST_LIST_BYTES = 3 << 20  # of the detections listed, with the links to their photos
LEAST_ROW_BYTES = 26  # of one of them
# Edges of the histogram: most changes are small.
IOU_EDGES = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99, 1.0)
# What people look for first; each by how much of it changed.
LISTED = (Fate.CHANGED, Fate.REFUSED, Fate.UNCHANGED, Fate.NOT_LOOKED_AT, Fate.NOT_USED)


def write_changes_page(
    comparison: Comparison, folder: Path, *, skip_bad: bool = False, quiet: bool = False
) -> tuple[Path, list[str]]:
    """Write `index.html` into a folder, which is made; the page appears whole or not at all, and has less than 10 MB.

    Args:
        comparison: what `compare` or `refine` found.
        folder: where to write.
        skip_bad: leave out pictures whose photo is missing or broken.
        quiet: no progress bar.

    Returns:
        The page, and a line for each picture that was left out.

    Raises:
        InputError: the folder cannot be made, or a photo of a shown case is missing or broken.
    """
    ensure_folder(folder)
    cases, skipped = pictures(comparison, skip_bad, quiet) if comparison.find_photo is not None else ([], [])
    in_all = all_row(comparison)
    listed = _listed(comparison, folder, cases)
    html = page_template("changes.html").render(
        title=comparison.before.path.name,
        caption=f"{len(comparison.before.images)} images, {in_all.detections} detections; no ground truth",
        headlines=_headlines(comparison, in_all),
        knows_refusals=comparison.knows_refusals,
        has_changes=bool(in_all.fates[Fate.CHANGED.words]),
        histogram=_histogram(comparison.changes),
        tables={
            "by size": [_cells(row, comparison.knows_refusals) for row in size_rows(comparison)],
            "by class": [_cells(row, comparison.knows_refusals) for row in category_rows(comparison)],
        },
        facts=[
            *comparison.facts,
            ("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
            ("bpr", __version__),
        ],
        has_photos=comparison.find_photo is not None,
        listed=len(listed["rows"]),
        detections=in_all.detections,
        has_truth=False,
        sides=("before", "after"),
        data={"cases": cases, **listed},
    )
    with replacing(folder / PAGE) as temporary:
        temporary.write_bytes(html.encode("utf-8", "replace"))  # a file's name may be no Unicode
    return folder / PAGE, skipped


def _headlines(comparison: Comparison, row: ChangeRow) -> list[dict[str, str]]:
    """Name, value and a note of each figure that a reader wants first."""
    count = row.detections
    changed, refused = row.fates[Fate.CHANGED.words], row.fates[Fate.REFUSED.words]
    same = row.fates[Fate.UNCHANGED.words] + refused
    left = row.fates[Fate.NOT_LOOKED_AT.words]
    bad = row.fates[Fate.NOT_USED.words]
    found = [
        ("detections", f"{count:,}", ""),
        ("changed", share(changed, count), f"{changed:,}"),
        (
            "came back as they were",
            share(same, count),
            f"{same:,}, of them {refused:,} refused" if comparison.knows_refusals else f"{same:,}",
        ),
        ("pixels changed", share(row.pixels_changed, row.pixels), f"{row.pixels_changed:,} of all masks' pixels"),
    ]
    if row.mean_iou is not None and row.median_iou is not None:
        found.append(("IoU of changed masks, before to after", f"{row.mean_iou:.3f}", f"median {row.median_iou:.3f}"))
    if left:
        found.append(("not looked at", share(left, count), f"{left:,}: below --min-score, or without a boundary"))
    if bad:
        found.append(("could not be used", share(bad, count), f"{bad:,}"))
    return [{"name": name, "value": value, "note": note} for name, value, note in found]


def _histogram(changes: Changes) -> list[dict[str, Any]]:
    """Label, count and share of the fullest bin, of the changed masks by their IoU before to after."""
    counts, _ = np.histogram(changes.ious()[changes.of(Fate.CHANGED)], IOU_EDGES)
    most = max(1, int(counts.max()))
    return [
        {"label": f"{low:.2f} – {high:.2f}", "count": count, "share": 100 * count / most}
        for low, high, count in zip(IOU_EDGES, IOU_EDGES[1:], counts.tolist(), strict=False)
    ]


def _cells(row: ChangeRow, knows_refusals: bool) -> list[str]:
    """A row of the tables by size and by class."""
    cells = [row.label, *change_cells(row)]
    if knows_refusals:
        cells.insert(4, share(row.fates[Fate.REFUSED.words], row.detections))
    return cells


def _listed(comparison: Comparison, folder: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """The detections that MOST_LIST_BYTES hold, those first that changed most: rows, and what their numbers mean.

    A row is index, place in `images`, place in `classes`, size (root of the area), IoU, pixels changed, fate, and place
    among the cases (-1: none).
    """
    changes = comparison.changes
    ious_N, pixels_N = changes.ious(), changes.pixels_changed()
    place_of_case = {case["index"]: place for place, case in reversed(list(enumerate(cases)))}
    images: dict[int | str, int] = {}
    classes: dict[str, int] = {}
    links: dict[str, str] = {}
    rows: list[list[Any]] = []
    room = MOST_LIST_BYTES
    for index, image, category in _ranked(comparison, MOST_LIST_BYTES // LEAST_ROW_BYTES):
        if image.id not in images:
            images[image.id] = len(images)
            link = _link(comparison, image, folder)
            room -= _written(image.id) + _written(str(image.id)) + _written(link)
            if link is not None:
                links[str(image.id)] = link
        if category not in classes:
            classes[category] = len(classes)
            room -= _written(category)
        size = round(float(changes.before_N[index]) ** 0.5)
        iou, pixels, fate = round(float(ious_N[index]), 4), int(pixels_N[index]), int(changes.fates_N[index])
        row = [index, images[image.id], classes[category], size, iou, pixels, fate, place_of_case.get(index, -1)]
        room -= _written(row)
        if room < 0:
            break
        rows.append(row)
    return {
        "rows": rows,
        "images": list(images),
        "classes": list(classes),
        "links": links,
        "names": {str(case["category_id"]): comparison.category_name(case["category_id"]) for case in cases},
        "fates": [fate.words for fate in Fate],
    }


def _written(value: Any) -> int:
    """Bytes of a value and its comma in the page."""
    return len(json.dumps(value)) + 2


def _ranked(comparison: Comparison, most: int) -> Iterator[tuple[int, ImageRecord, str]]:
    """Index, image and class of the first `most` detections, by what became of them and then by how much changed.

    Records that could not be read belong to no image, and are left out.
    """
    changes = comparison.changes
    ranks_N = np.array([LISTED.index(fate) for fate in sorted(LISTED)])[changes.fates_N]
    first = np.lexsort((changes.ious(), ranks_N))[:most].tolist()
    wanted = set(first)
    entries = {
        instance.index: (entry.image, comparison.category_name(instance.category_id))
        for entry in comparison.before.images
        for instance in entry.instances
        if instance.index in wanted
    }
    return ((index, *entries[index]) for index in first if index in entries)


def _link(comparison: Comparison, image: ImageRecord, folder: Path) -> str | None:
    if comparison.find_photo is None:
        return None
    try:
        return photo_link(comparison.find_photo(image), folder)
    except InputError:  # a photo that no case needs may be missing: its rows then say no more than figures
        return None
