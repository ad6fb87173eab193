"""Where an evaluation's figures and report go, checked before the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bpr_cli.errors import InputError
from bpr_cli.files import ensure_folder
from bpr_cli.report.page import PAGE


def check_outputs(
    json_file: Path | None,
    report: Path | None,
    inputs: Sequence[Path],
    images: Path | None = None,
    *,
    output: Path | None = None,
) -> None:
    """Make sure that the figures and the report can be written; their folders are made.

    Args:
        json_file, report: `--json` and `--report`; None: not asked for.
        inputs: files that must not be overwritten.
        images: folder of the report's photos; None: it has none.
        output: what the command writes besides; None: nothing.

    Raises:
        InputError: one of them cannot be written, is an input or the output, or both are one file; there is no
            folder of photos.
    """
    if report is not None and images is not None and not images.is_dir():
        raise InputError("there is no such folder of images", file=images, remedy="Give it with --images")
    page = None
    if report is not None:
        page = report / PAGE
        _check_file(page, "--report", inputs)
    if json_file is not None:
        _check_file(json_file, "--json", inputs)
    for path, option in ((page, "--report"), (json_file, "--json")):
        if path is not None and output is not None and path.resolve() == output.resolve():
            raise InputError("it would overwrite the output", file=path, remedy=f"Choose another {option}")
    if json_file is not None and page is not None and json_file.resolve() == page.resolve():
        raise InputError("the figures would overwrite the report", file=json_file, remedy="Choose another --json")


def _check_file(path: Path, option: str, inputs: Sequence[Path]) -> None:
    remedy = f"Choose another {option}"
    try:
        ensure_folder(path.parent)
        exists, is_file = path.exists(), path.is_file()
    except InputError as error:
        raise InputError(error.problem, file=error.file, remedy=remedy) from error
    except OSError as error:
        raise InputError(f"it cannot be written ({error.strerror})", file=path, remedy=remedy) from error
    if exists and not is_file:
        raise InputError("it is a folder" if path.is_dir() else "it is no plain file", file=path, remedy=remedy)
    if exists and any(source.exists() and path.samefile(source) for source in inputs):
        raise InputError("the output is an input", file=path, remedy=remedy)
