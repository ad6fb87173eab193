"""`bpr extract`: training patches from photos, their ground truth and, if there are any, detections on them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError, checked_settings
from bpr_cli.extraction import manifest
from bpr_cli.extraction.extraction_settings import ExtractionSettings
from bpr_cli.extraction.image_patches import image_patches
from bpr_cli.extraction.manifest import ShardReport
from bpr_cli.extraction.plan import ShardTask, plan_shards
from bpr_cli.files import PathLike, as_path, as_paths, ensure_folder, fingerprint, refuse_folder, remove_leftover
from bpr_cli.formats import panoptic, read_results
from bpr_cli.formats.classes import with_classes_of
from bpr_cli.formats.finding import ImageFinder
from bpr_cli.formats.records import Skipped
from bpr_cli.limits import MAX_PIXELS
from bpr_cli.notices import collected_warnings, warn_of_input
from bpr_cli.processes import signals_held, worker_pool
from bpr_cli.progress import progress_bar
from bpr_cli.shards import SPLITS, Patch, write_shard
from bpr_cli.stores.ahead import reading_ahead
from bpr_cli.stores.folders import file_state, know_folders, known_folders
from bpr_cli.stores.staging import with_stores


@dataclass(frozen=True, slots=True)
class ShardMaker:
    """Makes the shards of one extraction; travels to worker processes.

    Attributes:
        images, out: folders of the photos and of the shards.
        settings: see `ExtractionSettings`.
        made_from: `manifest.digest` of settings and inputs.
        max_pixels: larger photos are refused.
        skip_bad: leave out images that cannot be used.
    """

    images: Path
    out: Path
    settings: ExtractionSettings
    made_from: str
    max_pixels: int
    skip_bad: bool

    def __call__(self, task: ShardTask) -> ShardReport:
        """Extract one shard's images; the shard's report beside it says that it is whole."""
        counts: Counter[str] = Counter()
        skipped: list[str] = []
        photos = {_name(image.path, self.images): file_state(image.path) for image in task.images}
        with collected_warnings() as warned, reading_ahead([image.path for image in task.images]):
            write_shard(self.out / f"{task.name}.tar", self._patches(task, counts, skipped))
        size, sha256 = fingerprint(self.out / f"{task.name}.tar")
        notices = [(warning.text, warning.file) for warning in warned]
        report = ShardReport(task.name, self.made_from, size, sha256, photos, dict(counts), skipped, notices)
        manifest.write_report(self.out, report)
        return report

    def _patches(self, task: ShardTask, counts: Counter[str], skipped: list[str]) -> Iterator[Patch]:
        for number, image in enumerate(task.images):
            try:
                found = list(
                    image_patches(image, self.settings, counts, skipped, self.max_pixels, skip_bad=self.skip_bad)
                )
            except InputError as error:
                if not self.skip_bad:
                    raise
                skipped.append(str(error))
                counts["images_left_out"] += 1
                continue
            for patch in found:
                yield replace(patch, key=f"{task.name}-{number:02d}-{patch.key}")

    def check_photos(self, task: ShardTask, report: ShardReport) -> None:
        """InputError if one of a finished shard's photos is no longer what it was made from."""
        for image in task.images:
            if report.photos.get(_name(image.path, self.images)) != file_state(image.path):
                raise InputError(
                    f"the photo has changed since its patches were cut ({task.name}.tar)",
                    file=image.path,
                    remedy="Choose another -o, or remove the shards there",
                )


@with_stores(inputs=("gt", "results"), photos=("images",), outputs=("out",))
def extract(
    images: PathLike,
    gt: PathLike,
    out: PathLike = "shards",
    *,
    results: PathLike | Sequence[PathLike] = (),
    settings: ExtractionSettings | None = None,
    processes: int = 1,
    max_pixels: int = MAX_PIXELS,
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
        max_pixels: larger photos are refused.
        skip_bad: leave out images and masks that cannot be used, and list them in the manifest.
        quiet: no progress bar.

    Returns:
        The manifest: settings, inputs, counts, shards.

    Raises:
        InputError: bad input; the message names file, image and annotation.
    """
    images, gt, out = as_path(images, "images"), as_path(gt, "gt"), as_path(out, "out")
    results = as_paths(results, "results")
    settings = checked_settings(settings, ExtractionSettings)
    if not results and not settings.corruptions:
        raise InputError(
            "there is nothing to extract without results",
            remedy="Give --results, or --corruptions to make coarse masks",
        )
    truth = panoptic.things_only(read_results(gt, max_pixels, skip_bad=skip_bad, images=images))
    read = (read_results(path, max_pixels, skip_bad=skip_bad, images=images) for path in results)
    detections = [with_classes_of(found, truth) for found in read]
    ensure_folder(out)
    description = manifest.describe(settings, gt, results)
    make = ShardMaker(images, out, settings, manifest.digest(description), max_pixels, skip_bad)
    _check_restart(out, description, make.made_from)
    paths = ImageFinder(images).find_all([entry.image for entry in truth.images if entry.instances])
    tasks = plan_shards(truth, detections, paths, settings)
    reports = _finished(make, tasks)
    manifest.write_manifest(out, {**description, "complete": False})

    waiting = [task for task in tasks if task.name not in reports]
    images_done = sum(len(task.images) for task in tasks if task.name in reports)
    total = sum(len(task.images) for task in tasks)
    try:
        with (
            progress_bar(total, "extract", "image", quiet=quiet, initial=images_done) as bar,
            closing(_run(make, waiting, processes)) as done,
        ):
            for task, report in done:
                reports[task.name] = report
                bar.update(len(task.images))
    finally:
        for task in waiting:
            _remove_leftovers(out, task.name)
    for text, file in (notice for task in tasks for notice in reports[task.name].notices):
        warn_of_input(text, file)
    unread = Skipped.joined(read.skipped for read in (truth, *detections))
    summary = {**description, "complete": True, **_summary([reports[task.name] for task in tasks], unread)}
    if not any(entry["patches"] for entry in summary["splits"].values()):
        raise _nothing_extracted(settings, gt, bool(results), summary["skipped"])
    manifest.write_manifest(out, summary)
    return summary


def _run(
    work: Callable[[ShardTask], ShardReport], tasks: Sequence[ShardTask], processes: int
) -> Generator[tuple[ShardTask, ShardReport], None, None]:
    if processes <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, work(task)
        return
    with worker_pool(min(processes, len(tasks)), partial(know_folders, known_folders())) as pool:
        with signals_held():
            futures = {pool.submit(work, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _check_restart(out: Path, description: dict[str, Any], made_from: str) -> None:
    """What is there must be the same extraction: finished shards of another would be mixed in."""
    existing = manifest.read_any_manifest(out)
    if existing is None:
        # Without a manifest, or with one that a power cut emptied, the shards' own reports tell.
        for tar in out.glob("*.tar"):
            if tar.stat().st_size and manifest.finished_shard(out, tar.stem, made_from) is None:
                raise InputError(
                    f"there are shards without {manifest.NAME}", file=out, remedy="Choose an empty folder with -o"
                )
        return
    if changed := manifest.differences(existing, description):
        raise InputError(
            f"the shards there were made from other inputs or settings ({'; '.join(changed)})",
            file=out,
            remedy="Choose another -o, or remove that folder",
        )


def _nothing_extracted(settings: ExtractionSettings, gt: Path, has_results: bool, skipped: Sequence[str]) -> InputError:
    if skipped:
        problem = f"nothing is left: {len(skipped)} images or masks cannot be used, the first: {skipped[0]}"
        return InputError(problem.rstrip("."), file=gt)
    problem = f"no coarse mask overlaps a true object of its class by more than {settings.min_iou} IoU"
    remedy = "Check that category ids and image ids are those of the results"
    return InputError(problem, file=gt, remedy=remedy if has_results else "Lower --min-iou")


def _finished(make: ShardMaker, tasks: Sequence[ShardTask]) -> dict[str, ShardReport]:
    """Reports of the shards that are done; InputError if a folder is in a file's place or photos have changed."""
    reports = {}
    for task in tasks:
        for path in (make.out / f"{task.name}.tar", manifest.report_path(make.out, task.name)):
            refuse_folder(path)
        report = manifest.finished_shard(make.out, task.name, make.made_from)
        if report is not None:
            make.check_photos(task, report)
            reports[task.name] = report
    return reports


def _remove_leftovers(out: Path, name: str) -> None:
    """What workers that were ended in the middle of a shard have left."""
    for path in (out / f"{name}.tar", manifest.report_path(out, name)):
        remove_leftover(path)


def _name(photo: Path, folder: Path) -> str:
    """The photo's name in reports: the same from whatever working directory the folder is named."""
    return Path(os.path.relpath(photo, folder)).as_posix()


def _summary(reports: Sequence[ShardReport], unread: Skipped) -> dict[str, Any]:
    total: Counter[str] = Counter(images_left_out=unread.images, instances_left_out=unread.instances)
    for report in reports:
        total.update(report.counts)
    splits = {
        split: {
            "shards": [f"{report.name}.tar" for report in reports if report.name.startswith(f"{split}-")],
            "patches": sum(r.counts.get("patches", 0) for r in reports if r.name.startswith(f"{split}-")),
        }
        for split in SPLITS
    }
    return {
        "counts": {name: count for name, count in total.items() if count},
        "splits": splits,
        "shards": {f"{report.name}.tar": {"size": report.size, "sha256": report.sha256} for report in reports},
        "skipped": [*unread.lines, *(line for report in reports for line in report.skipped)],
    }
