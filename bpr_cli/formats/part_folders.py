"""A folder of parts: COCO results in several files, each of them a list by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.formats import coco, heads, parquet
from bpr_cli.formats.folders import check_folder_output
from bpr_cli.formats.json_files import load
from bpr_cli.formats.records import Instance, ReadOptions, Results, Skipped
from bpr_cli.formats.rle import RLE
from bpr_cli.unfinished import folder_of

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", parquet.ENDING)
UNSEEN = (".", "_")  # names that begin so are other programs' notes: _SUCCESS, .part-0.crc


@dataclass(frozen=True, slots=True)
class PartFiles:
    """The parts of a folder, which write themselves again.

    Attributes:
        path: the folder.
        parts: each as it was read.
    """

    path: Path
    parts: Sequence[Results]

    def check_output(self, out: Path) -> None:
        """See `check_output`."""
        check_output(self.path, [part.path for part in self.parts], out)

    def write(self, segmentations: Sequence[RLE | None], out: Path) -> None:
        """See `records.Source`."""
        self.check_output(out)
        first = 0
        for part in self.parts:
            part.source.write(segmentations[first : first + part.count], out / part.path.name)
            first += part.count


def is_folder(folder: Path) -> bool:
    """Whether one of a folder's own files is, by its name and head, a list of results."""
    return any(is_part(path) and _are_results(path) for path in _entries(folder))


def is_part(path: Path) -> bool:
    """Whether a file is named as a part may be."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def list_parts(folder: Path) -> list[Path]:
    """The parts of a folder, in the order of their names.

    Raises:
        InputError: it holds something else too, two forms of one part, or none; or not all of the parts yet.
    """
    unfinished = folder_of(folder)
    if unfinished.exists():
        raise InputError(
            "not all parts of the folder are there: their refinement was stopped, or goes on",
            file=folder,
            remedy=f"Start it again to finish it, or remove {unfinished.name}",
        )
    parts = _entries(folder)
    names: dict[str, Path] = {}
    for path in parts:
        if not is_part(path) or not _are_results(path):
            raise InputError(
                f"this is no list of COCO results, and others in the folder {folder} are",
                file=path,
                remedy="Give a folder of such lists alone, or one of them by itself",
            )
        stem = next(path.name[: -len(ending)] for ending in ENDINGS if path.name.lower().endswith(ending))
        if stem in names:
            raise InputError(
                f"two forms of one part: there is {names[stem].name} too", file=path, remedy="Remove one of them"
            )
        names[stem] = path
    if not parts:
        raise InputError("there are no parts in the folder", file=folder, remedy=f"They are {', '.join(ENDINGS)}")
    return parts


def check_output(folder: Path, parts: Sequence[Path], out: Path) -> None:
    """Make sure that the parts of a folder can be written to another one.

    Raises:
        InputError: as `check_folder_output`, or parts of something else are there, which would be read with these.
    """
    check_folder_output(folder, out)
    names = {path.name for path in parts}
    for path in _entries(out):
        if is_part(path) and path.name not in names:
            raise InputError(
                f"there is another part in the output folder, which {folder} does not have",
                file=path,
                remedy="Remove it, or choose another -o",
            )


def read_part(path: Path, options: ReadOptions) -> Results:
    """Read one part.

    Raises:
        InputError: it is no list of results, or holds a record that cannot be used.
    """
    results = parquet.read(path, options) if _is_parquet(path) else coco.read(load(path), path, options)
    if results.kind != coco.RESULTS:
        raise InputError("a dataset cannot be a part", file=path, remedy="Give it by itself")
    return results


def read(folder: Path, options: ReadOptions) -> Results:
    """Read all parts as if they were one list, in the order of their names; an image may be in several.

    Raises:
        InputError: see `list_parts` and `read_part`.
    """
    parts = [read_part(path, options) for path in list_parts(folder)]
    instances: list[Instance] = []
    count = 0
    for part in parts:
        own = sorted((i for entry in part.images for i in entry.instances), key=lambda i: i.index)
        instances += [replace(instance, index=count + instance.index) for instance in own]
        count += part.count
    images = coco.group(coco.images_of_results(instances, folder), instances)
    skipped = Skipped.joined(part.skipped for part in parts)
    return Results(folder, coco.RESULTS, images, count, {}, PartFiles(folder, parts), skipped=skipped)


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(UNSEEN))


def _are_results(path: Path) -> bool:
    try:
        return heads.is_parquet(path) if _is_parquet(path) else heads.are_results(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Check the path") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == parquet.ENDING
