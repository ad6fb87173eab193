"""The network's input."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from bpr_cli.network.input_tensor import MEAN, STD, prepare
from tests.network.seeded import seeded_patches


def test_colours_are_normalised_rgb_and_the_mask_is_minus_and_plus_one():
    images = np.zeros((1, 64, 64, 3), np.uint8)
    images[..., 0] = 255
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[:, :32] = 1
    inputs = prepare(torch.from_numpy(images), torch.from_numpy(masks), 64)
    assert inputs.shape == (1, 4, 64, 64)
    expected = (np.array([255, 0, 0]) - MEAN) / STD
    assert np.allclose(inputs[0, :3, 5, 5], expected, atol=1e-5)
    assert (inputs[0, 3, :32] == 1).all()
    assert (inputs[0, 3, 32:] == -1).all()


def test_enlarging_is_opencvs_bilinear_and_nearest():
    images, masks = seeded_patches()
    inputs = prepare(torch.from_numpy(images), torch.from_numpy(masks), 128).numpy()
    for patch, mask, result in zip(images, masks, inputs, strict=True):
        enlarged = cv2.resize(patch.astype(np.float32), (128, 128), interpolation=cv2.INTER_LINEAR)
        assert np.allclose(result[:3].transpose(1, 2, 0), (enlarged - MEAN) / STD, atol=1e-4)
        assert np.array_equal(result[3] > 0, cv2.resize(mask, (128, 128), interpolation=cv2.INTER_NEAREST) > 0)
