"""The report: one page that needs nothing but itself, and works in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpr_cli.errors import InputError
from bpr_cli.evaluation.evaluate import evaluate_inputs
from bpr_cli.evaluation.evaluation_settings import EvaluationSettings
from bpr_cli.evaluation.reading import EvaluationInputs, read_inputs
from bpr_cli.report import page as page_module
from bpr_cli.report.cases import choose_cases, outline
from bpr_cli.report.page import write_report
from tests.conftest import Example
from tests.evaluation.made import made_set

VISIBILITY = "path => getComputedStyle(path).visibility"
SHOWN_WIDTH = "document.querySelector('#viewer svg').viewBox.baseVal.width"


@pytest.fixture(scope="module")
def inputs(example: Example, tmp_path_factory: pytest.TempPathFactory) -> EvaluationInputs:
    """Two forms of the same detections stand for before and after, in turn: some get better, some worse."""
    folder = tmp_path_factory.mktemp("inputs")
    forms = [json.loads(path.read_text()) for path in (example.results, example.results_native)]
    for name, first in (("before", 0), ("after", 1)):
        mixed = [forms[(first + position) % 2][position] for position in range(len(forms[0]))]
        (folder / f"{name}.json").write_text(json.dumps(mixed))
    return read_inputs(folder / "after.json", example.gt, folder / "before.json")


@pytest.fixture(scope="module")
def report(inputs: EvaluationInputs, example: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = EvaluationSettings(upper_bounds=(1, 2), group_by="sequence")
    folder = tmp_path_factory.mktemp("report")
    return write_report(
        evaluate_inputs(inputs, settings, quiet=True), inputs, folder, images=example.images, quiet=True
    )


def data_of(report: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_needs_nothing_but_itself(report: Path) -> None:
    html = report.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html.split('id="data"')[0])
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in html
    assert list(report.parent.iterdir()) == [report]
    assert report.stat().st_size < 3_000_000


def test_the_cases_are_those_that_changed_most(report: Path, inputs: EvaluationInputs) -> None:
    cases = data_of(report)["cases"]
    gains = [case["iou_after"] - case["iou_before"] for case in cases]
    changes = evaluate_inputs(inputs, quiet=True).changes
    assert max(gains) == pytest.approx(max(change.gain for change in changes))
    assert min(gains) == pytest.approx(min(change.gain for change in changes))
    assert {case["kind"] for case in cases} == {"improved", "harmed"}
    assert len(data_of(report)["points"]) == len(changes)


def test_links_to_photos_are_relative_and_lead_there(report: Path, example: Example) -> None:
    links = data_of(report)["links"]
    assert links
    for link in links.values():
        assert (report.parent / link).resolve().parent == example.images.resolve()


def test_without_a_baseline_the_worst_are_shown(inputs: EvaluationInputs, example: Example, tmp_path: Path) -> None:
    alone = replace(inputs, before=None)
    evaluation = evaluate_inputs(alone, quiet=True)
    path = write_report(evaluation, alone, tmp_path, images=example.images, quiet=True)
    assert {case["kind"] for case in data_of(path)["cases"]} == {"worst"}
    assert "What refinement changed" not in path.read_text()
    worst = min(evaluation.objects, key=lambda item: item.after.contour_f)
    assert choose_cases(evaluation)[0].index == worst.detection


def test_without_photos_there_are_figures_alone(tmp_path: Path) -> None:
    made = read_inputs(*made_set(tmp_path))
    path = write_report(evaluate_inputs(made, quiet=True), made, tmp_path / "report", quiet=True)
    assert data_of(path)["cases"] == []
    assert "Made without photos" in path.read_text()


def test_names_in_the_input_cannot_break_the_page(tmp_path: Path) -> None:
    results, gt = made_set(tmp_path)
    document = json.loads(gt.read_text())
    document["categories"][0]["name"] = "</script><b>x\ud800"
    gt.write_text(json.dumps(document))
    made = read_inputs(results, gt, results)
    path = write_report(evaluate_inputs(made, quiet=True), made, tmp_path / "report", quiet=True)
    assert "<b>x" not in path.read_text()
    assert data_of(path)["names"]["1"] == "</script><b>x?"


def test_many_instances_are_drawn_in_part(
    inputs: EvaluationInputs, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_POINTS", 2)
    path = write_report(evaluate_inputs(inputs, quiet=True), inputs, tmp_path, images=example.images, quiet=True)
    data = data_of(path)
    assert {point[5] for point in data["points"]} >= set(range(len(data["cases"])))


def test_a_missing_photo_is_named_and_nothing_is_written(inputs: EvaluationInputs, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="no file for"):
        write_report(
            evaluate_inputs(inputs, quiet=True), inputs, tmp_path / "out", images=tmp_path / "photos", quiet=True
        )
    assert not (tmp_path / "out" / "index.html").exists()


def test_an_outline_runs_along_pixel_edges() -> None:
    mask_HW = np.zeros((10, 10), np.uint8)
    mask_HW[2:5, 3:8] = 1
    numbers = np.array(re.findall(r"[\d.]+", outline(mask_HW, (100, 100))), float).reshape(-1, 2)
    assert numbers.min(axis=0).tolist() == [30, 20]
    assert numbers.max(axis=0).tolist() == [79, 49]  # the last pixel inside; the next one is outside


@pytest.fixture
def opened(report: Path, open_page: Callable[[Path], Any]) -> Any:
    return open_page(report)


def test_it_opens_without_errors_and_fits_the_screen(opened: Any) -> None:
    opened.wait_for_selector(".case svg image")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator(".case").count() >= 4
    assert opened.locator("#sizes rect").count() >= 2
    painted = """() => {
        const canvas = document.getElementById("scatter");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.some((value, position) => position % 4 === 3 && value > 0);
    }"""
    opened.wait_for_function(painted)


def test_the_slider_moves_the_border_between_before_and_after(opened: Any) -> None:
    opened.locator(".case").first.click()
    dialog = opened.locator("#viewer")
    assert dialog.is_visible()
    before = dialog.locator("clipPath rect").first
    half = float(before.get_attribute("width"))
    dialog.locator("input[type=range]").fill("100")
    assert float(before.get_attribute("width")) == pytest.approx(2 * half)
    dialog.locator("input[type=range]").fill("0")
    assert float(before.get_attribute("width")) == 0
    dialog.locator("[data-close]").click()
    assert not dialog.is_visible()


def test_the_switches_show_and_hide_the_outlines(opened: Any) -> None:
    opened.locator(".case").first.click()
    dialog = opened.locator("#viewer")
    for name, at_first in (("before", "visible"), ("after", "visible"), ("truth", "hidden")):
        path = dialog.locator(f"path.{name}")
        assert path.evaluate(VISIBILITY) == at_first
        dialog.locator(f"[data-line={name}]").click()
        assert path.evaluate(VISIBILITY) != at_first


def test_zooming_shows_less_of_the_photo(opened: Any) -> None:
    opened.locator(".case").first.click()
    view = opened.locator("#viewer svg")
    whole = float(view.get_attribute("viewBox").split()[2])
    opened.locator("[data-zoom='1.5']").click()
    near = float(view.get_attribute("viewBox").split()[2])
    assert near == pytest.approx(whole / 1.5)
    view.hover()
    opened.mouse.wheel(0, -100)
    opened.wait_for_function(f"() => {SHOWN_WIDTH} < {near} - 1")


def test_a_point_opens_its_image(opened: Any) -> None:
    opened.wait_for_function("() => plotted.length > 0")
    x, y = opened.evaluate("plotted[0]")
    opened.locator("#scatter").click(position={"x": x, "y": y})
    dialog = opened.locator("#viewer")
    assert dialog.is_visible()
    assert "IoU" in dialog.locator(".words").inner_text()
    assert dialog.locator("a.photo").is_visible()
