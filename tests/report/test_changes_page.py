"""The page of what changed, in a real browser: its cases, and the list of detections."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Example, run_bpr


@pytest.fixture(scope="module")
def look(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 57 detections, three times those of the example; a third of them did not change."""
    folder = tmp_path_factory.mktemp("look")
    forms = [json.loads(path.read_text()) for path in (example.results, example.results_native)]
    for name, parts in (("before", (0, 0, 0)), ("after", (1, 1, 0))):
        (folder / f"{name}.json").write_text(json.dumps([record for part in parts for record in forms[part]]))
    run = run_bpr(
        "compare", folder / "before.json", folder / "after.json", "--images", example.images, "--image-info",
        example.gt, "--report", folder, "--quiet",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return folder / "index.html"


@pytest.fixture
def opened(look: Path, open_page: Callable[[Path], Any]) -> Any:
    return open_page(look)


def test_it_opens_without_errors_and_fits_the_screen(opened: Any) -> None:
    opened.wait_for_selector(".case svg image")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator(".case").count() == 36
    assert opened.locator("#cases h2").all_inner_texts() == [
        "Changed most", "Changed, drawn by chance", "Unchanged, drawn by chance",
    ]  # fmt: skip


def test_the_slider_moves_the_border_between_before_and_after(opened: Any) -> None:
    opened.locator(".case").first.click()
    dialog = opened.locator("#viewer")
    before = dialog.locator("clipPath rect").first
    half = float(before.get_attribute("width"))
    dialog.locator("input[type=range]").fill("100")
    assert float(before.get_attribute("width")) == pytest.approx(2 * half)
    assert dialog.locator("[data-line]").count() == 2  # there is no truth to show
    dialog.locator("[data-close]").click()
    assert not dialog.is_visible()


def test_the_list_is_turned_over_sorted_and_cut(opened: Any) -> None:
    rows = opened.locator("#list tbody tr")
    assert rows.count() == 50
    assert opened.locator("#where").inner_text() == "1–50 of 57"
    opened.locator("#on").click()
    assert rows.count() == 7
    assert opened.locator("#on").is_disabled()
    opened.locator("#fate").select_option(label="unchanged")
    assert opened.locator("#where").inner_text() == "1–19 of 19"
    opened.locator("#list th button", has_text="size, px").click()
    sizes = [int(text) for text in opened.locator("#list td:nth-child(4)").all_inner_texts()]
    assert sizes == sorted(sizes)
    opened.locator("#list th button", has_text="size, px").click()
    assert [int(text) for text in opened.locator("#list td:nth-child(4)").all_inner_texts()] == sizes[::-1]


def test_a_row_opens_its_case_and_leads_to_its_photo(opened: Any, look: Path) -> None:
    opened.locator("#list tbody button").first.click()
    dialog = opened.locator("#viewer")
    assert "IoU" in dialog.locator(".words").inner_text()
    assert dialog.locator(".view svg image").count() == 1
    link = dialog.locator("a.photo").get_attribute("href")
    assert (look.parent / link).resolve().is_file()
