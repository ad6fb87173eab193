"""`bpr extract`: training patches from photos, their ground truth and, if there are any, detections on them."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.extraction.image_patches import image_patches
from bpr_cli.extraction.manifest import NAME, read_any_manifest, write_manifest
from bpr_cli.extraction.plan import ShardTask, plan_shards
from bpr_cli.extraction.settings import ExtractionSettings
from bpr_cli.files import ensure_folder, replacing
from bpr_cli.formats import read_results
from bpr_cli.formats.images import ImageFinder
from bpr_cli.progress import progress_bar
from bpr_cli.shards import SPLITS, Patch, write_shard


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of one shard: counts, and the bad images that were skipped."""

    name: str
    counts: dict[str, int]
    skipped: list[str]


def extract(
    images: Path,
    gt: Path,
    out: Path,
    *,
    results: Sequence[Path] = (),
    settings: ExtractionSettings | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write training patches as WebDataset shards; goes on where an interrupted run stopped.

    The shards depend on the inputs and the settings alone, not on the number of processes.

    Args:
        images: folder of the photos.
        gt: ground truth, in any format that `read_results` reads.
        out: folder for the shards and their manifest.
        results: detections on the same images, as many files as there are; none: coarse masks are made from the
            ground truth (`settings.corruptions` of each object, which must then be at least 1).
        settings: see `ExtractionSettings`.
        processes: how many work at once.
        skip_bad: leave out images that cannot be used, and list them in the manifest.
        quiet: no progress bar.

    Returns:
        The manifest: settings, inputs, counts, shards.

    Raises:
        InputError: bad input; the message names file, image and annotation.
    """
    settings = settings or ExtractionSettings()
    if not results and not settings.corruptions:
        raise InputError(
            "there is nothing to extract without results",
            remedy="Give --results, or --corruptions to make coarse masks",
        )
    truth = read_results(gt)
    detections = [read_results(path) for path in results]
    ensure_folder(out)
    description: dict[str, Any] = {
        "settings": {**asdict(settings), "scales": list(settings.scales)},  # as JSON gives it back
        "inputs": {"gt": gt.name, "results": [path.name for path in results]},
    }
    _check_restart(out, description)
    finder = ImageFinder(images)
    paths = finder.find_all([entry.image for entry in truth.images])
    tasks = plan_shards(truth, detections, paths, settings)
    write_manifest(out, {**description, "complete": False})

    reports = {task.name: report for task in tasks if (report := _finished(out, task.name))}
    waiting = [task for task in tasks if task.name not in reports]
    work = partial(make_shard, out=out, settings=settings, skip_bad=skip_bad)
    images_done = sum(len(task.images) for task in tasks if task.name in reports)
    total = sum(len(task.images) for task in tasks)
    with progress_bar(total, "extract", "image", quiet=quiet, initial=images_done) as bar:
        for task, report in _run(work, waiting, processes):
            reports[task.name] = report
            bar.update(len(task.images))
    manifest = {**description, "complete": True, **_summary([reports[task.name] for task in tasks])}
    if not any(entry["patches"] for entry in manifest["splits"].values()):
        raise InputError(
            f"no coarse mask overlaps a true object of its class by more than {settings.min_iou} IoU",
            file=gt,
            remedy="Check that category ids and image ids are those of the results",
        )
    write_manifest(out, manifest)
    return manifest


def make_shard(task: ShardTask, out: Path, settings: ExtractionSettings, skip_bad: bool) -> ShardReport:
    """Extract one shard's images; the shard's report beside it says that it is whole."""
    counts: Counter[str] = Counter()
    skipped: list[str] = []

    def patches() -> Iterator[Patch]:
        for number, image in enumerate(task.images):
            try:
                found = list(image_patches(image, settings, counts))
            except InputError as error:
                if not skip_bad:
                    raise
                skipped.append(str(error))
                continue
            for patch in found:
                yield replace(patch, key=f"{task.name}-{number:02d}-{patch.key}")

    write_shard(out / f"{task.name}.tar", patches())
    report = ShardReport(task.name, dict(counts), skipped)
    with replacing(_report_path(out, task.name)) as temporary:
        temporary.write_text(json.dumps(asdict(report)))
    return report


def _run(
    work: Callable[[ShardTask], ShardReport], tasks: Sequence[ShardTask], processes: int
) -> Iterator[tuple[ShardTask, ShardReport]]:
    if processes <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, work(task)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(tasks)), mp_context=context) as pool:
        futures = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_restart(out: Path, description: dict[str, Any]) -> None:
    """What is there must be the same extraction: finished shards of another would be mixed in."""
    there = read_any_manifest(out)
    if there is None:
        if any(out.glob("*.tar")):
            raise InputError(f"there are shards without {NAME}", file=out, remedy="Choose an empty folder")
        return
    now = json.loads(json.dumps(description))
    if any(there.get(key) != now[key] for key in now):
        raise InputError(
            "the shards there were made from other inputs or settings",
            file=out,
            remedy="Choose another -o, or remove that folder",
        )


def _report_path(out: Path, name: str) -> Path:
    return out / f"{name}.report.json"


def _finished(out: Path, name: str) -> ShardReport | None:
    path = _report_path(out, name)
    if not path.exists() or not (out / f"{name}.tar").exists():
        return None
    return ShardReport(**json.loads(path.read_text()))


def _summary(reports: Sequence[ShardReport]) -> dict[str, Any]:
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report.counts)
    splits = {
        split: {
            "shards": [f"{report.name}.tar" for report in reports if report.name.startswith(f"{split}-")],
            "patches": sum(r.counts.get("patches", 0) for r in reports if r.name.startswith(f"{split}-")),
        }
        for split in SPLITS
    }
    return {"counts": dict(total), "splits": splits, "skipped": [line for r in reports for line in r.skipped]}
