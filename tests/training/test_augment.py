"""Augmentation keeps image and masks together and depends on (seed, step, place) alone."""

from __future__ import annotations

import torch

from bpr_cli.training import augment


def batch(count: int = 64, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
    return images, images[..., 0] % 2, images[..., 1] % 2


def test_masks_turn_with_their_image():
    images, coarse, target = augment.turn(*batch(), augment.draw(0, 0, 64), all_eight=True)
    assert torch.equal(images[..., 0] % 2, coarse)
    assert torch.equal(images[..., 1] % 2, target)


def test_all_eight_turns_occur_and_only_two_without():
    image = torch.arange(9, dtype=torch.uint8).view(1, 3, 3, 1).expand(256, 3, 3, 3)
    for all_eight, expected in ((True, 8), (False, 2)):
        turned, _, _ = augment.turn(image, image[..., 0], image[..., 0], augment.draw(0, 0, 256), all_eight)
        assert len({tuple(patch.flatten().tolist()) for patch in turned[..., 0]}) == expected


def test_a_process_draws_its_share_of_the_whole_batchs_numbers():
    whole = augment.draw(3, 7, 10).uniform
    for rank in range(2):
        assert torch.equal(augment.draw(3, 7, 10, rank, 2).uniform, whole[rank::2])
    assert not torch.equal(augment.draw(3, 8, 10).uniform, whole)


def test_distortion_changes_most_patches_but_not_all_and_keeps_their_mean_level():
    images, _, _ = batch(256)
    distorted = augment.distort(images, augment.draw(0, 0, 256))
    assert distorted.dtype == torch.uint8
    same = (distorted == images).flatten(1).all(dim=1).float().mean()
    # Each of four changes is left out half of the time: 1 in 16 patches stays as it was.
    assert 0.01 < same < 0.15
    assert abs(float(distorted.float().mean() - images.float().mean())) < 10


def test_grey_stays_grey_when_only_saturation_and_hue_change():
    grey = torch.full((4, 2, 2, 3), 100, dtype=torch.uint8)
    uniform = torch.zeros(4, 7)
    uniform[:, 5:] = torch.tensor([[0.6, 0.9], [0.99, 0.0], [0.0, 0.99], [0.5, 0.5]])
    assert torch.equal(augment.distort(grey, augment.Draws(uniform)), grey)
