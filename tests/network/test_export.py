"""Exported models are opened by their own runtimes and compute what torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bpr_cli.errors import InputError
from bpr_cli.network import export as exporting
from bpr_cli.network.checkpoint import load
from bpr_cli.network.torch_engine import TorchEngine
from tests.conftest import run_bpr
from tests.network.seeded import seeded_patches


def expected_of(model, images, masks):
    module, config = load(model)
    return TorchEngine(module, config, torch.device("cpu"), "fp32").predict(images, masks)


def test_onnx_of_any_batch_size(small_model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    exported = run_bpr("export", "--model", small_model, "-o", tmp_path / "refiner.onnx")
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
    openvino = pytest.importorskip("openvino")
    assert exporting.export(small_model, tmp_path / "new" / "refiner.xml") < 1e-3
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["refiner.bin", "refiner.xml"]
    compiled = openvino.Core().compile_model(
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


def test_unknown_formats_and_missing_packages_are_named(small_model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"\.onnx or a \.xml"):
        exporting.export(small_model, tmp_path / "refiner.tflite")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"bpr\[onnx\]"):
        exporting.export(small_model, tmp_path / "refiner.onnx")
