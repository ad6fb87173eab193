"""The gate weighs how far a boundary moved by what the photo shows there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpr_cli import patches
from bpr_cli.masks import crop_mask, to_frame
from bpr_cli.network.config import ModelConfig
from bpr_cli.refining.gate import evidence
from bpr_cli.refining.looks import Look, Refined, Subject, first_look, next_look
from bpr_cli.refining.settings import RefineSettings

SIZE = 64


def half_plane(edge: int) -> np.ndarray:
    """One patch whose left part, up to `edge`, is object."""
    mask_NHW = np.zeros((1, SIZE, SIZE), np.uint8)
    mask_NHW[:, :, :edge] = 1
    return mask_NHW


def photo_of(mask_NHW: np.ndarray, contrast: int) -> np.ndarray:
    grey = 60 + contrast * mask_NHW
    return np.repeat(grey[..., None], 3, axis=3).astype(np.uint8)


@given(st.integers(10, 50), st.integers(-8, 8))
def test_without_edges_in_the_photo_it_is_the_distance(edge, shift):
    flat = photo_of(half_plane(edge), 0)
    found = evidence(flat, half_plane(edge), half_plane(edge + shift))
    assert found == pytest.approx(abs(shift))


@given(st.integers(10, 50), st.integers(3, 8), st.integers(1, 150))
def test_moving_on_to_an_edge_is_more_and_leaving_one_is_less(edge, shift, contrast):
    old, new = half_plane(edge), half_plane(edge + shift)
    assert evidence(photo_of(new, contrast), old, new) == pytest.approx(shift * (contrast + 1))
    assert evidence(photo_of(old, contrast), old, new) == pytest.approx(shift / (contrast + 1))


def test_without_a_boundary_there_is_none():
    flat = photo_of(half_plane(20), 0)
    assert evidence(flat, half_plane(0), half_plane(20)) == 0
    assert evidence(flat, half_plane(20), half_plane(0)) == 0


@pytest.mark.parametrize(("scheme", "padding"), [("dense", 0), ("dense", 8), ("grid", 0)])
def test_a_mask_without_evidence_is_returned_as_it_came(scheme, padding):
    true, coarse = np.zeros((160, 200), np.uint8), np.zeros((160, 200), np.uint8)
    true[40:120, 50:150] = 1
    coarse[36:124, 46:154] = 1
    image_HWC = photo_of(true[None], 80)[0]

    def refined(image_HWC, caution):
        settings = RefineSettings(scheme=scheme, caution=caution)
        mask = crop_mask(coarse, 0, 0, *coarse.shape)
        config = ModelConfig(padding=padding)
        look = first_look(Subject(0, image_HWC, mask), [config], settings)
        assert isinstance(look, Look)
        # The network's answer: sure of the true mask.
        sure = patches.crop(true, look.boxes).astype(np.float32)
        after = next_look(look, sure, [config], settings)
        assert isinstance(after, Refined)
        return to_frame(after.mask)

    assert np.mean(refined(image_HWC, 0.4) != true) < 0.01
    misleading = photo_of(coarse[None], 80)[0]
    assert np.array_equal(refined(misleading, 0.4), coarse)
    assert np.mean(refined(misleading, 0.0) != true) < 0.01
