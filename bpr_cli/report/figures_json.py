"""All figures of an evaluation as JSON, for machines; the keys are described in examples/METRICS.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpr_cli import __version__
from bpr_cli.evaluation.breakdown import BreakdownRow, Interval, Slice, breakdown
from bpr_cli.evaluation.figures import Evaluation, Scored, UpperBound
from bpr_cli.files import ensure_folder, replacing

BOUNDED = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "boundary_ap", "iou", "boundary_iou", "contour_f")


def figures_as_json(evaluation: Evaluation) -> dict[str, Any]:
    """A JSON-ready dict: fractions, not percents; null where a figure is undefined."""
    document: dict[str, Any] = {
        "bpr_version": __version__,
        "settings": {
            "rules": evaluation.rules,
            "boundary_ratio": evaluation.boundary_ratio,
            "tolerance": evaluation.tolerance,
            "group_by": evaluation.group_by,
        },
        "counts": {
            "images": evaluation.images,
            "detections": evaluation.detections,
            "truths": evaluation.truths,
            "objects_found": len(evaluation.objects),
            "detections_compared": len(evaluation.changes),
        },
        "after": _scored(evaluation.scored),
        "upper_bounds": [_bound(evaluation, bound) for bound in evaluation.upper_bounds],
    }
    if evaluation.scored_baseline is not None and evaluation.difference is not None:
        document["before"] = _scored(evaluation.scored_baseline)
        document["difference"] = asdict(evaluation.difference)
        document["improved"] = evaluation.improved
        document["unchanged"] = evaluation.unchanged
        document["harmed"] = evaluation.harmed
        slices: tuple[Slice, ...] = ("all", "size", "category", "group")
        document["breakdown"] = {by: [_row(row) for row in breakdown(evaluation, by)] for by in slices}
        document["instances"] = [asdict(change) for change in evaluation.changes]
    cleaned = _without_nan(document)
    assert isinstance(cleaned, dict)
    return cleaned


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write the figures to a file, which appears whole or not at all; InputError if that is impossible."""
    ensure_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(figures_as_json(evaluation), indent=1), encoding="utf-8")


def _scored(scored: Scored) -> dict[str, Any]:
    cells = {f"af_{name}": value for name, value in scored.cells._asdict().items()}
    categories = [asdict(category) for category in scored.categories]
    document = {**asdict(scored.figures), **cells, "categories": categories}
    if scored.cityscapes_classes:
        document["cityscapes_classes"] = {
            name: {"ap": ap, "ap50": ap50} for name, (ap, ap50) in scored.cityscapes_classes.items()
        }
    return document


def _bound(evaluation: Evaluation, bound: UpperBound) -> dict[str, Any]:
    figures = asdict(bound.figures)
    shares = {name: evaluation.share_gained(bound, name) for name in BOUNDED}
    return {"radius": bound.radius, **{name: figures[name] for name in BOUNDED}, "share_gained": shares}


def _row(row: BreakdownRow) -> dict[str, Any]:
    return {
        name: value._asdict() if isinstance(value, Interval) else value
        for name, value in ((name, getattr(row, name)) for name in row.__slots__)
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
