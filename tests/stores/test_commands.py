"""Commands on addresses give what they give on local files."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import run_bpr
from tests.stores.conftest import BUCKET

ROOT = f"s3://{BUCKET}"


@pytest.fixture
def model(small_model):
    return ["--model", small_model, "--speed", "fast", "--engine", "torch", "-q"]


def test_refine_from_s3_to_s3_writes_the_very_bytes_of_a_local_run(s3, three_photos, model, tmp_path):
    local = [three_photos.results, "-o", tmp_path / "local.json", "--images", three_photos.images]
    done = run_bpr("refine", *local, "--image-info", three_photos.gt, *model)
    assert done.returncode == 0, done.stderr
    s3.put_example(three_photos)
    before = s3.names()
    far = [f"{ROOT}/results.json", "-o", f"{ROOT}/new/refined.json", "--images", f"{ROOT}/photos/"]
    done = run_bpr("refine", *far, "--image-info", f"{ROOT}/gt.json", *model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"-> {ROOT}/new/refined.json\n")
    assert s3.get("new/refined.json") == (tmp_path / "local.json").read_bytes()
    assert sorted(s3.names()) == sorted([*before, "new/refined.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["local.json"]


def test_evaluate_and_compare_read_from_s3_and_write_reports_there(s3, three_photos, tmp_path):
    local = run_bpr(
        *("evaluate", three_photos.results_native, "--gt", three_photos.gt, "--baseline", three_photos.results, "-q"),
        *("--json", tmp_path / "figures.json"),
    )
    s3.put_example(three_photos)
    s3.put(three_photos.results_native, "refined.json")
    far = run_bpr(
        *("evaluate", f"{ROOT}/refined.json", "--gt", f"{ROOT}/gt.json", "--baseline", f"{ROOT}/results.json", "-q"),
        *("--images", f"{ROOT}/photos", "--json", f"{ROOT}/figures.json", "--report", f"{ROOT}/look/"),
    )
    assert far.returncode == 0, far.stderr
    assert f"report -> {ROOT}/look/index.html" in far.stdout
    tables = far.stdout.partition("figures ->")[0].rstrip()
    assert tables == local.stdout.partition("figures ->")[0].rstrip().replace("results_native.json", "refined.json")
    assert s3.get("figures.json") == (tmp_path / "figures.json").read_bytes()
    assert f"{ROOT}/photos/".encode() in s3.get("look/index.html")
    compared = run_bpr(
        "compare", f"{ROOT}/results.json", f"{ROOT}/refined.json", "--json", f"{ROOT}/changes.json", "-q"
    )
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.endswith(f"figures -> {ROOT}/changes.json\n")


def test_inputs_from_a_web_server_are_read_and_outputs_there_refused(web, three_photos, model, tmp_path, monkeypatch):
    monkeypatch.setenv("BPR_CACHE", str(tmp_path / "cache"))
    address, folder = web
    shutil.copy(three_photos.results, folder / "results.json")
    shutil.copy(three_photos.gt, folder / "gt.json")
    shutil.copytree(three_photos.images, folder / "photos")
    info = ["--image-info", f"{address}/gt.json?X-Amz-Signature=secret", *model]
    far = [f"{address}/results.json", "--images", f"{address}/photos/"]
    done = run_bpr("refine", *far, "-o", tmp_path / "far.json", *info)
    assert done.returncode == 0, done.stderr
    local = [three_photos.results, "--images", three_photos.images, "--image-info", three_photos.gt, *model]
    run_bpr("refine", *local, "-o", tmp_path / "local.json")
    assert (tmp_path / "far.json").read_bytes() == (tmp_path / "local.json").read_bytes()
    refused = run_bpr("refine", *far, "-o", f"{address}/refined.json", *info)
    assert refused.returncode == 2
    assert "only read from" in refused.stderr
    assert list((tmp_path / "cache").rglob("*.json")) == []
