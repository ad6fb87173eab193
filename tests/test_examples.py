"""The examples that begin with another library's model run, with a real detector's masks in the model's place."""

from __future__ import annotations

import importlib.util
import sys

import cv2
import numpy as np
import pytest
import torch

from bpr_cli.formats import read_results
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import to_frame
from tests.conftest import ROOT
from tests.refining import containers_made


@pytest.fixture(scope="module")
def detected(three_photos):
    """A photo's file, and masks, scores and boxes of what a detector found on it."""
    entry = read_results(three_photos.results).images[0]
    (name,) = (e.image.file_name for e in read_results(three_photos.gt).images if e.image.id == entry.image.id)
    size = entry.instances[0].segmentation["size"]
    masks = np.stack([to_frame(decode_mask(instance, *size)) for instance in entry.instances])
    x, y, width, height = np.array([instance.fields["bbox"] for instance in entry.instances]).T
    scores = np.array([instance.score for instance in entry.instances])
    return three_photos.images / name, masks, scores, np.stack((x, y, x + width, y + height), axis=1)


def run(name, detections, photo, out, monkeypatch):
    """Run an example's main with these detections; the picture that it writes."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "detect", lambda pixels: detections)
    monkeypatch.setattr(sys, "argv", [name, str(photo), "--out", str(out)])
    example.main()
    picture = cv2.imread(str(out))
    assert picture.shape == cv2.imread(str(photo)).shape
    return picture


def test_from_torchvision(detected, tmp_path, monkeypatch):
    photo, masks, scores, boxes = detected
    detections = {
        "boxes": torch.tensor(boxes),
        "labels": torch.ones(len(masks), dtype=torch.int64),
        "scores": torch.tensor(scores),
        "masks": torch.tensor(masks[:, None]).float(),
    }
    picture = run("from_torchvision", detections, photo, tmp_path / "out.png", monkeypatch)
    assert (picture == (0, 0, 255)).all(axis=2).any()
    assert (picture == 255).all(axis=2).any()


class Drawn(containers_made.Results):
    """With ultralytics' `plot`, as far as the example needs it."""

    def plot(self):
        return np.where(self.masks.data.numpy().any(axis=0)[..., None], np.uint8(255), self.orig_img)


def test_from_ultralytics(detected, tmp_path, monkeypatch):
    photo, masks, scores, boxes = detected
    rows = torch.tensor(np.column_stack((boxes, scores, np.zeros(len(masks)))))
    results = Drawn(cv2.imread(str(photo)), str(photo), {0: "thing"}, boxes=rows, masks=torch.tensor(masks))
    picture = run("from_ultralytics", results, photo, tmp_path / "out.png", monkeypatch)
    assert 0 < ((picture == 255).all(axis=2) != masks.any(axis=0)).sum() < masks.any(axis=0).sum()


def test_from_supervision(detected, tmp_path, monkeypatch):
    sv = pytest.importorskip("supervision")
    photo, masks, scores, boxes = detected
    detections = sv.Detections(xyxy=boxes, mask=masks != 0, confidence=scores, class_id=np.zeros(len(masks), int))
    picture = run("from_supervision", detections, photo, tmp_path / "out.png", monkeypatch)
    assert (picture != cv2.imread(str(photo))).any()


@pytest.mark.parametrize("name", ["torchvision", "ultralytics", "supervision"])
def test_each_says_what_to_install(name):
    text = (ROOT / "examples" / f"from_{name}.py").read_text(encoding="utf-8")
    assert f"pip install {name}" in text
    assert f"python examples/from_{name}.py photo.jpg" in text
