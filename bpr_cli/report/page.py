"""The report: one HTML page that shows all of an evaluation and needs nothing but itself."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bpr_cli import __version__
from bpr_cli.errors import InputError
from bpr_cli.evaluation.breakdown import Slice, breakdown, interval
from bpr_cli.evaluation.figures import Evaluation
from bpr_cli.evaluation.reading import EvaluationInputs
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.images import PhotoReader
from bpr_cli.progress import progress_bar
from bpr_cli.report import tables
from bpr_cli.report.cases import Pictures, choose_cases
from bpr_cli.stores.names import with_addresses

PAGE = "index.html"
SIZE_BINS = 6
COLUMNS = ("before", "after", "change")
HEADLINES = ("ap", "boundary_ap", "boundary_iou", "contour_f")
LIBRARIES = ("faster-coco-eval", "pycocotools", "numpy", "opencv-python-headless")
# A scatter of more points shows no more, and slows a phone: the rest is a fair sample of what is between.
MOST_POINTS = 20_000


def write_report(
    evaluation: Evaluation,
    inputs: EvaluationInputs,
    folder: Path,
    *,
    images: Path | None = None,
    reader: PhotoReader | None = None,
    quiet: bool = False,
) -> Path:
    """Write `index.html` into a folder, which is made; the page appears whole or not at all.

    Args:
        evaluation: what `evaluate` found.
        inputs: what it was made from.
        folder: where to write.
        images: folder of the photos; None: a page without pictures.
        reader: how photos are read; None: as by default.
        quiet: no progress bar.

    Returns:
        The page.

    Raises:
        InputError: the folder cannot be made, or a photo of a shown case is missing or broken.
    """
    ensure_folder(folder)
    cases, links = _pictures(evaluation, inputs, images, reader or PhotoReader(), folder, quiet) if images else ([], {})
    html = page_template("report.html").render(
        title=inputs.after.path.name,
        compared=evaluation.baseline is not None,
        headlines=_headlines(evaluation),
        sections=_sections(evaluation),
        rows={by: [tables.breakdown_cells(row) for row in breakdown(evaluation, by)] for by in _slices(evaluation)},
        bounds=_bounds(evaluation),
        categories=tables.category_rows(evaluation),
        caption=tables.caption(evaluation),
        facts=_facts(evaluation, inputs),
        unit=evaluation.group_by or "image",
        has_photos=images is not None,
        has_truth=True,
        sides=("coarse", "refined"),
        data={
            "points": _points(evaluation, cases),
            "cases": cases,
            "links": links,
            "sizes": _size_bins(evaluation),
            "names": {str(key): name for key, name in evaluation.category_names.items()},
        },
    )
    with replacing(folder / PAGE) as temporary:
        temporary.write_bytes(html.encode("utf-8", "replace"))  # a file's name may be no Unicode
    return folder / PAGE


def _pictures(
    evaluation: Evaluation, inputs: EvaluationInputs, images: Path, reader: PhotoReader, folder: Path, quiet: bool
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The cases with their pictures, and image id -> link to the photo where it can be found."""
    finder = ImageFinder(images)
    pictures = Pictures(finder, reader, inputs.gt, inputs.results, inputs.baseline)
    chosen = choose_cases(evaluation)
    shown = []
    with progress_bar(len(chosen), "report", "picture", quiet=quiet) as bar:
        for case in chosen:
            shown.append({**asdict(case), **pictures.picture(case)})
            bar.update()
    links: dict[str, str] = {}
    used = {change.image_id for change in evaluation.changes}
    for entry in inputs.gt.images:
        if entry.image.id in used:
            try:
                links[str(entry.image.id)] = photo_link(finder.find(entry.image), folder)
            except InputError:  # a photo that no case needs may be missing: its points then say no more than figures
                continue
    return shown, links


def page_template(name: str) -> Template:
    """A page's template, which may include others."""
    environment = Environment(loader=PackageLoader("bpr_cli.report"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)


def photo_link(photo: Path, folder: Path) -> str:
    """From the page to the photo: relative, so that both can move together, unless one of them is in a store."""
    if (address := with_addresses(str(photo))) != str(photo):
        return quote(address, safe="/:")
    if with_addresses(str(folder)) != str(folder):
        return photo.resolve().as_uri()
    try:
        relative = os.path.relpath(photo.resolve(), folder.resolve())
    except ValueError:  # another drive on Windows
        return photo.resolve().as_uri()
    return quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))


def _slices(evaluation: Evaluation) -> tuple[Slice, ...]:
    return ("all", "size", "group", "category") if evaluation.group_by else ("all", "size", "category")


def _headlines(evaluation: Evaluation) -> list[dict[str, str]]:
    """The figures that a reader wants first: name, value, before, change, and whether it is good."""
    names = tables.figure_names(evaluation)
    found = []
    for key in HEADLINES:
        value = getattr(evaluation.figures, key)
        item = {"name": names[key], "value": tables.percent(value), "before": "", "change": "", "sign": "none"}
        if evaluation.baseline is not None:
            difference = value - getattr(evaluation.baseline, key)
            item["before"] = tables.percent(getattr(evaluation.baseline, key))
            item["change"] = tables.points(difference)
            item["sign"] = "none" if item["change"] in ("-", "0.0") else "good" if difference > 0 else "bad"
        found.append(item)
    if evaluation.baseline is not None:
        for key in ("improved", "harmed"):
            value = tables.percent(getattr(evaluation, key))
            found.append({"name": f"detections {key}", "value": value, "before": "", "change": "", "sign": "none"})
    return found


def _sections(evaluation: Evaluation) -> list[list[dict[str, str]]]:
    return [
        [
            {"name": name, **dict(zip(COLUMNS if len(cells) == len(COLUMNS) else ("after",), cells, strict=True))}
            for name, cells in section
        ]
        for section in tables.figure_rows(evaluation)
        if section
    ]


def _bounds(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "radius": bound.radius,
            "cells": [
                {
                    "name": tables.short_name(key),
                    "value": tables.percent(getattr(bound.figures, key)),
                    "share": "" if math.isnan(share) else f"{100 * share:.0f} %",
                }
                for key, share in (
                    (key, evaluation.share_gained(bound, key)) for key in tables.bound_columns(evaluation)
                )
            ],
        }
        for bound in evaluation.upper_bounds
    ]


def _points(evaluation: Evaluation, cases: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """IoU before, IoU after, image id, index, category, position among the cases (-1: none) of each instance."""
    place = {case["index"]: position for position, case in enumerate(cases)}
    changes = list(evaluation.changes)
    if len(changes) > MOST_POINTS:
        drawn = np.random.default_rng(0).choice(len(changes), MOST_POINTS, replace=False)
        keep = set(drawn.tolist()) | {i for i, change in enumerate(changes) if change.index in place}
        changes = [changes[position] for position in sorted(keep)]
    return [
        [round(c.iou_before, 4), round(c.iou_after, 4), c.image_id, c.index, c.category_id, place.get(c.index, -1)]
        for c in changes
    ]


def _size_bins(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Gain in IoU by size of the object, in bins of equal count, with 95 % intervals."""
    changes = sorted(evaluation.changes, key=lambda change: change.area)
    bins = []
    for part in np.array_split(np.arange(len(changes)), min(SIZE_BINS, len(changes)) or 1):
        members = [changes[position] for position in part.tolist()]
        if not members:
            continue
        gain = interval([change.gain for change in members], [change.group for change in members])
        bins.append(
            {
                "from": round(math.sqrt(members[0].area)),
                "to": round(math.sqrt(members[-1].area)),
                "count": len(members),
                **{name: None if math.isnan(value) else value for name, value in gain._asdict().items()},
            }
        )
    return bins


def _facts(evaluation: Evaluation, inputs: EvaluationInputs) -> list[tuple[str, str]]:
    unit = evaluation.group_by or "image"
    facts = [
        ("results", inputs.after.path.name),
        ("ground truth", inputs.gt.path.name),
        ("baseline", inputs.before.path.name if inputs.before else "none"),
        ("rules", {"coco": "COCO", "lvis": "LVIS", "cityscapes": "Cityscapes"}[evaluation.rules]),
        ("boundary band", f"{100 * evaluation.boundary_ratio:g} % of the image diagonal"),
        ("contour tolerance", f"{evaluation.tolerance:g} px"),
        ("intervals", f"95 %, bootstrap over {unit}s, 2,000 resamples"),
        ("made", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("bpr", __version__),
    ]
    return facts + [(name, version(name)) for name in LIBRARIES]
