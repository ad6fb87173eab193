"""`bpr doctor`: its options, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bpr_cli.commands.options import console
from bpr_cli.files import ensure_folder, replacing


def doctor(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all that was found, for machines; - prints it instead.")
    ] = None,
) -> None:
    """Look at this installation: versions, devices, engines, models, and what to do about what is wrong.

    The text is made for bug reports: no names of users, no colours. Exits with 1 if masks cannot be refined here.

    [bold]bpr doctor[/]

    [bold]bpr doctor[/] --json doctor.json
    """
    from bpr_cli.doctor.checkup import check
    from bpr_cli.doctor.text import as_text

    is_printed = json_file == Path("-")
    if json_file is not None and not is_printed:
        ensure_folder(json_file.parent)
    checkup = check()
    document = json.dumps(checkup.as_json(), indent=1)
    shown = document if is_printed else as_text(checkup)
    console.print(shown, highlight=False, markup=False, soft_wrap=True)
    if json_file is not None and not is_printed:
        with replacing(json_file) as temporary:
            temporary.write_text(document, encoding="utf-8")
        console.print(f"findings -> {json_file}", highlight=False, markup=False, soft_wrap=True)
    if not checkup.is_well:
        raise typer.Exit(1)
