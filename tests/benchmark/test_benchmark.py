"""`bpr benchmark` counts what it says it counts; its times are a benchmark's affair, not a test's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bpr_cli.benchmark import benchmark as benchmarking
from bpr_cli.benchmark.throughput import PLAIN
from bpr_cli.benchmark.time_tables import benchmark_tables
from bpr_cli.benchmark.workload import WORKLOADS, make_workload
from bpr_cli.engines.devices import knows_bfloat16
from bpr_cli.errors import InputError
from bpr_cli.formats import read_results
from bpr_cli.formats.images import image_size, read_image
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.patches import propose_boxes
from bpr_cli.refining.refiner import STAGES
from bpr_cli.refining.settings import RefineSettings
from tests.conftest import run_bpr


@pytest.mark.parametrize(("name", "patches"), [("cityscapes", (100, 170)), ("coco", (25, 60))])
def test_a_workload_has_its_data_sets_shape(name, patches, tmp_path):
    workload = WORKLOADS[name]
    results = read_results(make_workload(workload, 2, tmp_path))
    assert len(results.images) == 2
    counts = []
    for entry in results.images:
        photo = tmp_path / f"{entry.image.id}{workload.suffix}"
        assert image_size(photo) == (workload.height, workload.width)
        assert read_image(photo, None).std() > 20
        assert len(entry.instances) == workload.instances
        masks = [decode_mask(instance, workload.height, workload.width) for instance in entry.instances]
        counts.append(sum(len(propose_boxes(mask)) for mask in masks))
    assert patches[0] < np.mean(counts) < patches[1]


def test_the_same_seed_makes_the_same_workload(tmp_path):
    paths = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths.append(make_workload(WORKLOADS["coco"], 1, tmp_path / name))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].with_name("1.jpg").read_bytes() == paths[1].with_name("1.jpg").read_bytes()


def test_ones_own_results_are_timed_and_written_as_json(three_photos, small_model, tmp_path):
    before = three_photos.results.read_bytes()
    done = run_bpr(
        "benchmark", three_photos.results, "--images", three_photos.images, "--image-info", three_photos.gt,
        "--model", small_model, "--model", "davis-fast", "--json", tmp_path / "times.json", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "times.json").read_text())
    stages = written["stages"]
    assert f"{small_model} (" in written["way"]
    assert ", then davis-fast (" in written["way"]
    refined = run_bpr(
        "refine", three_photos.results, "-o", tmp_path / "out.json", "--images", three_photos.images,
        "--image-info", three_photos.gt, "--model", small_model, "--model", "davis-fast", "--quiet",
    )  # fmt: skip
    assert f"{stages['instances']} instances" in refined.stdout
    assert f"{stages['patches']} patches" in refined.stdout
    assert stages["images"] == 3
    assert set(stages["seconds"]) == set(STAGES)
    assert all(seconds > 0 for seconds in stages["seconds"].values())
    assert stages["seconds"]["network"] < stages["wall"]
    assert written["machine"]["torch"] == torch.__version__
    assert three_photos.results.read_bytes() == before
    for stage in STAGES:
        assert stage in done.stdout


def test_a_sweep_measures_every_way_and_threshold(small_model, monkeypatch):
    monkeypatch.setattr(benchmarking, "BATCH_SIZES", (1, 2))
    monkeypatch.setattr(benchmarking, "INPUT_SIZES", (32, 64))
    monkeypatch.setattr("bpr_cli.benchmark.throughput.CONFIGS", {"hrnet-w18-small": None})
    settings = RefineSettings(nms_threshold=0.25, passes=1)
    measured = benchmarking.benchmark(
        workload="coco", photos=1, model=small_model, settings=settings, engine="torch", sweep=True, quiet=True
    )
    assert measured.engines[0].way == PLAIN
    precisions = ("fp32", "bf16") if knows_bfloat16(torch.device("cpu")) else ("fp32",)
    ways = [(trial.way, trial.batch_size) for trial in measured.engines]
    assert {(f"torch, {precision}", size) for precision in precisions for size in (1, 2)} <= set(ways)
    assert len(set(ways)) == len(ways)
    assert [trial.input_size for trial in measured.networks] == [32, 64]
    assert all(0 < trial.seconds < 60 for trial in measured.engines + measured.networks)
    counts = list(measured.patches_by_threshold.values())
    assert counts == sorted(counts)
    assert counts[1] == measured.stages.patches  # 0.25, the threshold refined with; one photo
    shown = list(benchmark_tables(measured))
    assert len(shown) == 7
    json.dumps(benchmarking.as_json(measured))


def test_unknown_workloads_are_refused(small_model):
    with pytest.raises(InputError, match="cityscapes, coco"):
        benchmarking.benchmark(workload="imagenet", model=small_model)
    with pytest.raises(InputError, match="0 photos"):
        benchmarking.benchmark(photos=0, model=small_model)


def test_photos_of_ones_own_would_not_be_used_beside_a_made_up_workload(tmp_path):
    with pytest.raises(InputError, match="images would not be used beside a made-up workload"):
        benchmarking.benchmark(images=tmp_path)
