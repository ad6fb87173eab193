"""The figures of a look without ground truth as JSON, for machines; the keys are described in examples/METRICS.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpr_cli import __version__
from bpr_cli.comparing.changes import Fate
from bpr_cli.comparing.comparison import Comparison, all_row, category_rows, size_rows
from bpr_cli.files import ensure_folder, replacing


def write_changes_json(comparison: Comparison, path: Path) -> None:
    """Write the figures to a file, an instance a line; it appears whole or not at all. InputError if it cannot."""
    head = {
        "bpr_version": __version__,
        "made_from": dict(comparison.facts),
        "knows_refusals": comparison.knows_refusals,
        "images": len(comparison.before.images),
        "all": asdict(all_row(comparison)),
        "by_size": [asdict(row) for row in size_rows(comparison)],
        "by_class": [asdict(row) for row in category_rows(comparison)],
    }
    ensure_folder(path.parent)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "instances": [')
        for number, instance in enumerate(_instances(comparison)):
            stream.write((",\n  " if number else "\n  ") + json.dumps(instance))
        stream.write("\n ]\n}")


def _instances(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Those of images that could be read, image by image."""
    changes = comparison.changes
    ious_N, pixels_N = changes.ious(), changes.pixels_changed()
    for entry in comparison.before.images:
        for instance in entry.instances:
            fate = Fate(changes.fates_N[instance.index])
            is_used = fate is not Fate.NOT_USED
            yield {
                "image_id": instance.image_id,
                "index": instance.index,
                "category_id": instance.category_id,
                "fate": fate.words,
                "area": int(changes.before_N[instance.index]) if is_used else None,
                "pixels_changed": int(pixels_N[instance.index]) if is_used else None,
                "iou": float(ious_N[instance.index]) if is_used else None,
            }
