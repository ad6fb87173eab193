"""A folder of parts refined: one after the other, each an input by itself, and none that is done already."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError
from bpr_cli.files import fingerprint
from bpr_cli.formats import only_as_read, parquet, part_folders
from bpr_cli.formats.records import Skipped
from bpr_cli.notices import collected_warnings, warn_of_input
from bpr_cli.refining.photos import states_from
from bpr_cli.refining.refinement import InputReader, Refinement, RefineSummary
from bpr_cli.stores.folders import file_state
from bpr_cli.unfinished import Unfinished


@dataclass(frozen=True, slots=True)
class RefinedPart:
    """What became of a part; the same after a round trip through JSON.

    Attributes:
        part, output: SHA-256 of the two files.
        photos: path from the folder of photos -> state when the part was refined (`file_state`).
        summary: of the part.
        notices: texts of its `InputWarning`s.
    """

    part: str
    output: str
    photos: dict[str, list[int]]
    summary: RefineSummary
    notices: list[str]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RefinedPart:
        """From `asdict`, after a round trip."""
        summary = value["summary"]
        skipped = Skipped(**{**summary["skipped"], "lines": tuple(summary["skipped"]["lines"])})
        return cls(**{**value, "summary": RefineSummary(**{**summary, "skipped": skipped})})


def check_parts(folder: Path, output: Path, read: InputReader) -> list[Path]:
    """The parts of a folder, which can be refined into another one as far as is known without reading them.

    Raises:
        InputError: something else is in one of the folders, or the photos' folder is not known.
    """
    parts = part_folders.list_parts(folder)
    tables = [path for path in parts if parquet.is_table(path)]
    if tables:
        parquet.check_installed(tables[0])
        if read.mask_form != "same":
            raise only_as_read(tables[0], read.mask_form)
    part_folders.check_output(folder, parts, output)
    if not read.photos.folders:
        raise InputError("the photos of these are not known", file=folder, remedy="Give their folder with --images")
    read.photos.find_folders()
    return parts


def refine_parts(parts: Sequence[Path], output: Path, read: InputReader, refine: Refinement) -> RefineSummary:
    """Refine the parts of a folder, each into a file of its name; goes on where it was stopped.

    Args:
        parts: what `check_parts` gave.
        output: the folder to write.
        read, refine: what is the same for all of them.

    Returns:
        One summary of all parts.

    Raises:
        InputError: a part cannot be used, or differs from what was refined before; those before it are done.
    """
    photos = read.photos.root
    summaries: list[RefineSummary] = []
    made_from = refine.made_from()
    names = "\n".join(path.name for path in parts)
    listed = {"parts": len(parts), "list of parts": hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()}
    with nullcontext() if made_from is None else Unfinished(output, {**listed, **made_from}) as unfinished:
        done = {} if unfinished is None else _done(parts, output, unfinished, photos)
        for number, path in enumerate(parts):
            if number not in done:
                one = replace(refine, title=f"{path.name} ({number + 1} of {len(parts)})")
                done[number] = _refine_part(path, output / path.name, read, one)
                if unfinished is not None:
                    unfinished.write(number, asdict(done[number]))
            for text in done[number].notices:
                warn_of_input(text, path)
            summaries.append(done.pop(number).summary)
    return RefineSummary(
        sum(summary.instances for summary in summaries),
        sum(summary.changed for summary in summaries),
        sum(summary.patches for summary in summaries),
        Skipped.joined(summary.skipped for summary in summaries),
        refine.refiner.engine,
    )


def _refine_part(path: Path, output: Path, read: InputReader, refine: Refinement) -> RefinedPart:
    before = fingerprint(path).sha256
    with collected_warnings() as warned:
        input = read.with_photos(read(path))
        photos = states_from(read.photos.root, input.paths.values())
        summary = refine(input, output)
    lines = (line if path.name in line else f"{path.name}: {line}" for line in summary.skipped.lines)
    summary = replace(summary, skipped=replace(summary.skipped, lines=tuple(lines)))
    texts = list(dict.fromkeys(warning.text for warning in warned))
    return RefinedPart(before, fingerprint(output).sha256, photos, summary, texts)


def _done(parts: Sequence[Path], output: Path, unfinished: Unfinished, photos: Path) -> dict[int, RefinedPart]:
    """What was refined before, by number of the part.

    A part is done again if its output is not there as it was written, or its photos have changed.

    Raises:
        InputError: a part is another than the one that was refined.
    """
    done: dict[int, RefinedPart] = {}
    for number, path in enumerate(parts):
        kept = unfinished.read(number)
        if kept is None:
            continue
        refined = RefinedPart.from_json(kept)
        if fingerprint(path).sha256 != refined.part:
            raise InputError(
                "the part has changed since it was refined",
                file=path,
                remedy=f"Use the same one to go on, or remove {unfinished.folder} to begin anew",
            )
        out = output / path.name
        is_there = out.is_file() and fingerprint(out).sha256 == refined.output
        if is_there and all(file_state(photos / name) == state for name, state in refined.photos.items()):
            done[number] = replace(refined, photos={})  # of which there may be millions
    return done
