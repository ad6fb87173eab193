"""Exported models are opened by their own runtimes and compute what torch computes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from bpr_cli.engines.torch_engine import TorchEngine
from bpr_cli.errors import InputError
from bpr_cli.exporting import export as exporting
from bpr_cli.locks import LOCK, holding
from bpr_cli.network.checkpoint import load, save
from bpr_cli.network.zoo import zoo_folder
from bpr_cli.refining.refiner import Refiner
from tests.conftest import run_bpr, run_bpr_process
from tests.network.seeded import seeded_patches


def expected_of(model, images, masks):
    module, config = load(model)
    return TorchEngine(module, config, torch.device("cpu"), "fp32").predict(images, masks)


def test_onnx_of_any_batch_size(small_model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    exported = run_bpr_process("export", "--model", small_model, "-o", tmp_path / "refiner.onnx")
    assert exported.returncode == 0, exported.stderr
    assert "largest difference from torch" in exported.stdout
    assert exported.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["refiner.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "refiner.onnx")
    for count in (1, 4):
        images, masks = seeded_patches(count)
        (found,) = session.run(["probabilities"], {"images": images, "masks": masks})
        assert np.abs(found - expected_of(small_model, images, masks)).max() < 1e-3


def test_openvino_files(small_model, tmp_path):
    openvino_engine = pytest.importorskip("bpr_cli.engines.openvino_engine", reason="OpenVINO is not installed")
    assert exporting.export(small_model, tmp_path / "new" / "refiner.xml") < 1e-3
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["refiner.bin", "refiner.xml"]
    compiled = openvino_engine.core().compile_model(
        tmp_path / "new" / "refiner.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    images, masks = seeded_patches(3)
    assert np.abs(compiled([images, masks])[0] - expected_of(small_model, images, masks)).max() < 1e-3


def test_what_differs_from_torch_is_not_written(small_model, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(exporting, "TOLERANCE", 0.0)
    with pytest.raises(RuntimeError, match="differs from torch"):
        exporting.export(small_model, tmp_path / "refiner.xml")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_removed_and_a_running_one_is_let_be(small_model, tmp_path):
    pytest.importorskip("openvino")
    for name in (".export-dead", ".export-running"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "refiner.bin").write_text("half")
    with holding(tmp_path / ".export-running" / LOCK):
        exporting.export(small_model, tmp_path / "refiner.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".export-running", "refiner.bin", "refiner.xml"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
@pytest.mark.parametrize("name", ["refiner.xml", "refiner.onnx"])
def test_a_full_disk_is_one_line_and_leaves_nothing(small_model, tmp_path, name):
    for package in ("openvino", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from bpr_cli.app import main\nmain()"
    )
    arguments = [sys.executable, "-c", code, "export", "--model", str(small_model), "-o", str(tmp_path / name)]
    failed = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_outputs_place_is_named_before_the_work(small_model, tmp_path):
    (tmp_path / "refiner.onnx").mkdir()
    with pytest.raises(InputError, match="a folder is there"):
        exporting.export(small_model, tmp_path / "refiner.onnx")


def test_unknown_formats_and_missing_packages_are_named(small_model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"\.onnx or a \.xml"):
        exporting.export(small_model, tmp_path / "refiner.tflite")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"boundary-patch-refinement\[onnx\]"):
        exporting.export(small_model, tmp_path / "refiner.onnx")


def take_few_patches(patched):
    """A training set of this project's tests has a few dozen patches."""
    quantizing = pytest.importorskip("bpr_cli.exporting.quantize")
    pytest.importorskip("nncf")
    patched.setattr(quantizing, "CALIBRATION_PATCHES", 12)
    patched.setattr(quantizing, "CHECKED_PATCHES", 12)
    return quantizing


@pytest.fixture
def few_patches(monkeypatch):
    return take_few_patches(monkeypatch)


def exact_copy(folder):
    """A model that ships, without its 8-bit form."""
    shutil.copytree(zoo_folder() / "davis-fast", folder, ignore=shutil.ignore_patterns("int8.*"))
    return folder


@pytest.fixture(scope="module")
def in_8_bits(shard_folder, tmp_path_factory):
    """A model with an 8-bit form of our making, and what that form's export said."""
    model = exact_copy(tmp_path_factory.mktemp("eight") / "model")
    with pytest.MonkeyPatch.context() as patched:
        take_few_patches(patched)
        return model, exporting.export_int8(model, model / "int8.xml", shard_folder)


def test_an_8_bit_model_beside_the_weights_is_what_refines(few_patches, in_8_bits, shard_folder, tmp_path):
    plain = exact_copy(tmp_path / "model")
    before = Refiner.from_pretrained(plain, "cpu", engine="openvino")
    assert before.networks[0].engine.precision != "int8"
    with pytest.raises(InputError, match="no 8-bit form"):
        Refiner.from_pretrained(plain, "cpu", "int8", engine="openvino")

    model, (exact, rounded) = in_8_bits
    assert abs(exact - rounded) < 0.002
    assert exact > 0.8
    after = Refiner.from_pretrained(model, "cpu")
    assert (after.networks[0].engine.name, after.networks[0].engine.precision) == ("openvino", "int8")
    patches, _ = few_patches.read_patches(shard_folder, 64)
    expected = before.networks[0].engine.predict(patches.images_NHWC, patches.masks_NHW)
    found = after.networks[0].engine.predict(patches.images_NHWC, patches.masks_NHW)
    assert 0 < np.abs(found - expected).mean() < 0.02
    assert Refiner.from_pretrained(model, "cpu", "fp32").networks[0].engine.precision == "fp32"
    with pytest.raises(InputError, match="int8 is for OpenVINO"):
        Refiner.from_pretrained(model, "cpu", "int8", engine="torch")


def test_an_8_bit_model_of_other_weights_is_refused(in_8_bits, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(in_8_bits[0], model)
    module, config = load(model)
    module.decode_head.conv_seg.bias.data += 1
    save(model, module, config)
    with pytest.raises(InputError, match="other weights") as caught:
        Refiner.from_pretrained(model, "cpu", engine="openvino")
    assert caught.value.file == model / "int8.xml"
    (model / "int8.xml").write_text("nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        Refiner.from_pretrained(model, "cpu", engine="openvino")


def test_8_bits_that_cost_too_much_are_not_written(few_patches, shard_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(few_patches, "quantize", lambda network, patches: network)  # what is decided comes after it
    monkeypatch.setattr(exporting, "INT8_LOSS", -1.0)
    with pytest.raises(RuntimeError, match="8 bits cost"):
        exporting.export_int8("davis-fast", tmp_path / "int8.xml", shard_folder)
    assert list(tmp_path.iterdir()) == []


def test_8_bits_need_patches_that_fit(shard_folder, tmp_path):
    pytest.importorskip("nncf")
    refused = run_bpr("export", "--model", "davis-fast", "--int8", shard_folder, "-o", tmp_path / "int8.xml")
    assert refused.returncode == 2
    assert "training patches, 600 are needed" in refused.stderr
    refused = run_bpr("export", "--model", "davis-fast", "--int8", shard_folder, "-o", tmp_path / "int8.onnx")
    assert refused.returncode == 2
    assert "8 bits are for OpenVINO" in refused.stderr
    assert list(tmp_path.iterdir()) == []
