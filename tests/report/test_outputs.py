"""What cannot be written is said before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpr_cli.errors import InputError
from bpr_cli.report.outputs import check_outputs


def test_folders_of_good_outputs_are_made_and_nothing_else(tmp_path: Path) -> None:
    check_outputs(tmp_path / "a" / "figures.json", tmp_path / "report", [])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "report"]


def test_former_outputs_may_be_replaced(tmp_path: Path) -> None:
    for name in ("figures.json", "index.html"):
        (tmp_path / name).write_text("former")
    check_outputs(tmp_path / "figures.json", tmp_path, [tmp_path / "missing.json"])


@pytest.mark.parametrize(
    ("json_name", "report_name", "message"),
    [
        ("file/figures.json", None, "cannot be made .* Choose another --json"),
        ("folder", None, "folder: it is a folder. Choose another --json"),
        ("x" * 300, None, "it cannot be written"),
        ("input.json", None, "the output is an input"),
        ("link.json", None, "the output is an input"),
        (None, "file", "Choose another --report"),
        (None, "taken", "index.html: it is a folder"),
        ("report/index.html", "report", "would overwrite the report"),
    ],
)
def test_what_cannot_be_written_is_named(
    tmp_path: Path, json_name: str | None, report_name: str | None, message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken" / "index.html").mkdir(parents=True)
    (tmp_path / "input.json").write_text("[]")
    (tmp_path / "link.json").symlink_to(tmp_path / "input.json")
    outputs = [None if name is None else tmp_path / name for name in (json_name, report_name)]
    with pytest.raises(InputError, match=message):
        check_outputs(*outputs, [tmp_path / "input.json"])
    assert (tmp_path / "input.json").read_text() == "[]"


def test_photos_that_are_not_there_are_missed_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="photos: there is no such folder of images"):
        check_outputs(None, tmp_path / "report", [], tmp_path / "photos")
    check_outputs(tmp_path / "figures.json", None, [], tmp_path / "photos")  # nothing asks for them
