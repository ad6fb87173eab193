"""Composites: exact masks, made the same again, readable as a data set."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from types import ModuleType

import numpy as np
import pytest

from bpr_cli.formats import read_results
from bpr_cli.formats.images import read_image
from bpr_cli.formats.segmentation import decode_mask
from bpr_cli.masks import to_frame
from tests.conftest import ROOT

SCRIPT = ROOT / "examples" / "tools" / "composites.py"


@pytest.fixture(scope="module")
def composites() -> ModuleType:
    spec = util.spec_from_file_location("composites", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_objects_hide_one_another_and_are_what_was_pasted(composites):
    """Over a flat grey photo every pixel of a mask, and hardly any other, differs from grey."""
    grey = np.full((480, 640, 3), 120, np.uint8)
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    loud = np.stack(
        [np.tile(ramp, (480, 1)), np.tile(ramp[::-1], (480, 1)), np.full((480, 640), 255, np.uint8)], axis=2
    )
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        composites_of_grey = composites.compose([grey], [(loud, np.ones((480, 640), np.float32))], rng)
        image, masks = composites_of_grey
        assert image.shape == (480, 640, 3)
        assert image.dtype == np.uint8
        total = np.sum(masks, axis=0)
        assert total.max() == 1  # what hides another object takes the pixel
        assert all(mask.sum() >= composites.LEAST_VISIBLE for mask in masks)
        changed = np.abs(image.astype(int) - 120).max(axis=2) > 60
        shares.append(((changed & (total == 0)).sum(), changed.sum()))
    stray, everything = np.sum(shares, axis=0)
    assert everything > 10_000
    assert stray < 0.05 * everything


def test_the_command_makes_a_data_set_the_same_for_a_seed(example, tmp_path):
    for name in ("first", "again"):
        subprocess.run(
            [
                sys.executable,
                SCRIPT,
                "--photos",
                example.images,
                "--gt",
                example.gt,
                "--count",
                "2",
                "-o",
                tmp_path / name,
            ],
            check=True,
        )
    assert (tmp_path / "first" / "gt.json").read_bytes() == (tmp_path / "again" / "gt.json").read_bytes()
    results = read_results(tmp_path / "first" / "gt.json")
    assert len(results.images) == 2
    for entry in results.images:
        image = read_image(tmp_path / "first" / "images" / entry.image.file_name, None)
        same = read_image(tmp_path / "again" / "images" / entry.image.file_name, None)
        assert np.array_equal(image, same)
        assert entry.instances
        for instance in entry.instances:
            mask = decode_mask(instance, 480, 640)
            assert to_frame(mask).sum() == instance.fields["area"]
