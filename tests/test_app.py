"""The command line through its real entry point: what a user sees, and what a fault leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import bpr_cli
from tests.conftest import run_bpr, run_bpr_process


@pytest.fixture
def refine_arguments(three_photos, small_model):
    return [
        "--images",
        three_photos.images,
        "--image-info",
        three_photos.gt,
        "--model",
        small_model,
        "--speed",
        "fast",
        "--quiet",
    ]


@pytest.mark.parametrize(
    "command", ["refine", "extract", "train", "compare", "evaluate", "benchmark", "export", "doctor", "models"]
)
def test_every_command_has_help_with_an_example(command):
    shown = run_bpr(command, "--help")
    assert shown.returncode == 0
    if command != "models":
        assert f"bpr {command}" in shown.stdout.split("Usage")[1].split("\n", 1)[1]


def test_help_and_version_answer_without_loading_torch():
    code = "import sys\nsys.argv = ['bpr', '--version']\nfrom bpr_cli.app import main\n"
    code += "try: main()\nexcept SystemExit: pass"
    shown = subprocess.run(
        [sys.executable, "-c", code + "\nprint('torch' in sys.modules, 'cv2' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == ["bpr", bpr_cli.__version__, "False", "False"]


def test_the_whole_line_from_photos_to_a_scored_refinement(three_photos, tmp_path):
    data = ["--images", three_photos.images, "--gt", three_photos.gt]
    extracted = run_bpr_process(
        "extract", *data, "--results", three_photos.results, "--split-by", "sequence", "--val-fraction", 0.3,
        "-o", tmp_path / "shards", "--processes", 1,
    )  # fmt: skip
    assert extracted.returncode == 0, extracted.stderr
    assert "extract: 100%" in extracted.stderr
    trained = run_bpr_process(
        "train", "--patches", tmp_path / "shards", "-o", tmp_path / "run", "--steps", 2, "--batch-size", 4,
        "--input-size", 64, "--workers", 0,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert "best at step 2" in trained.stdout
    refined = run_bpr_process(
        "refine", three_photos.results, "-o", tmp_path / "refined.json", "--images", three_photos.images,
        "--image-info", three_photos.gt, "--model", tmp_path / "run", "--speed", "fast",
    )  # fmt: skip
    assert refined.returncode == 0, refined.stderr
    assert len(json.loads((tmp_path / "refined.json").read_text())) == len(json.loads(three_photos.results.read_text()))
    for command in ("evaluate", "eval"):
        scored = run_bpr_process(
            command, tmp_path / "refined.json", "--gt", three_photos.gt, "--baseline", three_photos.results
        )  # fmt: skip
        assert scored.returncode == 0, scored.stderr
        assert "Boundary AP" in scored.stdout


def test_defaults_come_from_bpr_toml_and_the_command_line_wins(three_photos, small_model, tmp_path):
    (tmp_path / "bpr.toml").write_text(
        f'images = "{three_photos.images.as_posix()}"\n[refine]\nimage-info = "{three_photos.gt.as_posix()}"\n'
        f'model = "no-such-model"\nspeed = "fast"\nquiet = true\n'
    )
    failed = run_bpr("refine", three_photos.results, "-o", "out.json", cwd=tmp_path)
    assert failed.returncode == 2
    assert "no-such-model" in failed.stderr
    worked = run_bpr("refine", three_photos.results, "-o", "out.json", "--model", small_model, cwd=tmp_path)
    assert worked.returncode == 0, worked.stderr
    text = (tmp_path / "bpr.toml").read_text().replace("no-such-model", small_model.as_posix())
    (tmp_path / "bpr.toml").write_text(text)
    alike = run_bpr("refine", three_photos.results, "-o", "alike.json", cwd=tmp_path)
    assert alike.returncode == 0, alike.stderr
    assert (tmp_path / "alike.json").read_text() == (tmp_path / "out.json").read_text()


def bad_inputs():
    good = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": {"size": [480, 854], "counts": "0"}}
    yield "malformed JSON", "[{", "line 1"
    yield "neither list nor dataset", "3", "neither"
    yield "list of strings", '["a"]', "annotation 0"
    yield "no segmentation", json.dumps([{"image_id": 1}]), "annotation 0"
    yield "NaN score", json.dumps([{**good, "score": float("nan")}]), "score"
    yield "unknown image id", json.dumps([good]), "image 1"
    yield "absurd size", json.dumps([{**good, "segmentation": {"size": [-4, 9], "counts": "0"}}]), "image 1"


@pytest.mark.parametrize(("name", "text", "says"), list(bad_inputs()), ids=[case[0] for case in bad_inputs()])
def test_bad_input_ends_in_one_line_and_code_2_and_writes_nothing(three_photos, tmp_path, name, text, says):
    (tmp_path / "input.json").write_text(text)
    failed = run_bpr("refine", tmp_path / "input.json", "-o", tmp_path / "out.json", "--images", three_photos.images)
    assert failed.returncode == 2
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(failed.stderr.strip().splitlines()) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["input.json"]


def broken_masks(records):
    height, width = records[0]["segmentation"]["size"]
    yield "size of another image", {"size": [10, 10], "counts": "T3"}, "size"
    yield "counts that end early", {"size": [height, width], "counts": "0"}, "cover"
    yield "counts of other characters", {"size": [height, width], "counts": "\x7f\x01"}, "malformed"
    yield "odd polygon", [[1, 2, 3, 4, 5]], "polygon 0"
    yield "polygon with NaN", [[1, 2, 3, float("nan"), 5, 6]], "polygon 0"
    yield "a number", 7, "segmentation"


def test_broken_masks_name_image_and_annotation(three_photos, refine_arguments, tmp_path):
    records = json.loads(three_photos.results.read_text())
    for name, segmentation, says in broken_masks(records):
        changed = [dict(record) for record in records]
        changed[1]["segmentation"] = segmentation
        (tmp_path / "input.json").write_text(json.dumps(changed))
        failed = run_bpr("refine", tmp_path / "input.json", "-o", tmp_path / "out.json", *refine_arguments)
        assert failed.returncode == 2, name
        assert "annotation 1" in failed.stderr, name
        assert f"image {records[1]['image_id']}" in failed.stderr, name
        assert says in failed.stderr, name
        assert not (tmp_path / "out.json").exists(), name


@pytest.mark.parametrize("fault", ["missing", "truncated", "no image"])
def test_a_bad_photo_is_named(three_photos, small_model, tmp_path, fault):
    images = tmp_path / "images"
    shutil.copytree(three_photos.images, images)
    gt = json.loads(three_photos.gt.read_text())
    victim = images / gt["images"][0]["file_name"]
    if fault == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:30_000] if fault == "truncated" else b"no image at all")
    failed = run_bpr(
        "refine", three_photos.results, "-o", tmp_path / "out.json", "--images", images,
        "--image-info", three_photos.gt, "--model", small_model,
    )  # fmt: skip
    assert failed.returncode == 2
    named = f"image {gt['images'][0]['id']}" if fault == "missing" else victim.name
    assert named in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_former_output(three_photos, refine_arguments, tmp_path):
    (tmp_path / "out.json").write_text("former")
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from bpr_cli.app import main\nmain()"
    )
    # By torch, which keeps no cache of its own that would not fit either.
    arguments = ["refine", three_photos.results, "-o", tmp_path / "out.json", *refine_arguments, "--engine", "torch"]
    failed = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {tmp_path / 'out.json'}: ")
    assert len(failed.stderr.splitlines()) == 1
    assert (tmp_path / "out.json").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_refinement_leaves_no_half_output(example, small_model, tmp_path, sent):
    # The example many times over, so that there is work left when the signal comes.
    records = json.loads(example.results.read_text()) * 40
    (tmp_path / "input.json").write_text(json.dumps(records))
    before = (tmp_path / "input.json").read_bytes()
    command = [
        sys.executable, "-m", "bpr_cli", "refine", tmp_path / "input.json", "-o", tmp_path / "out.json",
        "--images", example.images, "--image-info", example.gt, "--model", small_model,
    ]  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Under nohup and in a script's background the tests, and so their children, would ignore it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        assert "refine:   0%" in process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(getattr(signal, sent))
        rest = process.stderr.read()
    if sent != "SIGKILL":
        assert process.returncode == 128 + getattr(signal, sent)
        assert rest.splitlines()[-1] == "interrupted; no output was written"
        assert all(line.startswith("refine:") for line in rest.splitlines()[:-1])
    assert [path.name for path in tmp_path.iterdir()] == ["input.json"]
    assert (tmp_path / "input.json").read_bytes() == before


def test_an_output_that_cannot_be_written_is_refused_before_the_work(three_photos, refine_arguments, tmp_path):
    (tmp_path / "file").write_text("")
    failed = run_bpr("refine", three_photos.results, "-o", tmp_path / "file" / "out.json", *refine_arguments)
    assert failed.returncode == 2
    assert "cannot be made" in failed.stderr


def test_a_missing_gpu_is_said_plainly(three_photos, refine_arguments, tmp_path):
    failed = run_bpr(
        "refine", three_photos.results, "-o", tmp_path / "out.json", *refine_arguments, "--device", "cuda:99"
    )
    assert failed.returncode == 2
    assert "cuda:99" in failed.stderr


def test_evaluate_prints_tables_writes_report_and_json_and_keeps_gates(example, tmp_path):
    done = run_bpr(
        *("evaluate", example.results_native, "--gt", example.gt, "--baseline", example.results),
        *("--upper-bound", "1,3", "--group-by", "sequence", "--per-category", "-q"),
        *("--report", tmp_path / "report", "--images", example.images, "--json", tmp_path / "figures.json"),
        *("--fail-below", "boundary_ap=0.99", "--fail-above", "harmed=1"),
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("failed: boundary_ap is 0.")
    assert "harmed is" not in done.stderr
    for title in ("Boundary AP", "upper bounds", "by class", "by size", "by sequence", "goat"):
        assert title in done.stdout
    assert (tmp_path / "report" / "index.html").stat().st_size > 100_000
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["counts"]["images"] == 10
    passed = run_bpr("eval", example.results_native, "--gt", example.gt, "-q", "--fail-below", "ap=0.1")
    assert passed.returncode == 0, passed.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-by", "weather"], "no field weather"),
        (["--upper-bound", "x"], "not distances"),
        (["--boundary-ratio", "7"], "--boundary-ratio"),
        (["--tolerance", "-1"], "tolerance"),
        (["--fail-below", "mood=1"], "there is no figure"),
        (["--upper-bound", "1,,2"], "not distances"),
        (["--upper-bound", "9" * 5000], "not distances"),
        (["--fail-above", "harmed=0.1"], "Give --baseline"),
        (["--coco-classes"], "not LVIS"),
        (["--report", "{file}/x"], "cannot be made"),
        (["--json", "{file}/x"], "cannot be made"),
    ],
)
def test_evaluate_names_what_it_cannot_use(three_photos, tmp_path, options, message):
    (tmp_path / "file").write_text("")
    given = [option.format(file=tmp_path / "file") for option in options]
    failed = run_bpr("evaluate", three_photos.results, "--gt", three_photos.gt, "-q", *given)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_mask_of_another_size_is_named_itself_and_can_be_skipped(three_photos, refine_arguments, tmp_path):
    records = json.loads(three_photos.results.read_text())
    first = records[0]["image_id"]
    records.append({**records[0], "segmentation": {"size": [10, 10], "counts": "d3"}})
    (tmp_path / "in.json").write_text(json.dumps(records))
    arguments = [tmp_path / "in.json", "-o", tmp_path / "out.json", *refine_arguments]
    failed = run_bpr("refine", *arguments)
    assert failed.returncode == 2
    assert f"image {first}, annotation {len(records) - 1}: " in failed.stderr
    done = run_bpr("refine", *arguments, "--skip-bad")
    assert done.returncode == 0
    assert "1 instance left as it was:" in done.stderr
    written = json.loads((tmp_path / "out.json").read_text())
    assert written[-1]["segmentation"] == records[-1]["segmentation"]
    assert written[0]["segmentation"] != records[0]["segmentation"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that nobody can write to, by any right")
def test_a_folder_without_room_for_files_is_refused_before_the_work(three_photos, refine_arguments):
    failed = run_bpr("refine", three_photos.results, "-o", "/proc/self/out.json", *refine_arguments)
    assert failed.returncode == 2
    assert "cannot be written to" in failed.stderr


def test_a_photo_without_masks_is_told_of_the_mask_option(three_photos, tmp_path):
    photo = next(three_photos.images.iterdir())
    failed = run_bpr("refine", photo, "-o", tmp_path / "out")
    assert failed.returncode == 2
    assert "--mask" in failed.stderr
