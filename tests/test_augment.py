"""Changes of the training images, against NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import overrides, pretrained

from skelift.config import AugmentConfig, compose
from skelift.data.format import Dataset
from skelift.data.loading import ImageBatch
from skelift.geometry import CropCamera
from skelift.training.augment import Augmentation, augments
from skelift.training.build import build_trainer
from skelift.training.distributed import World

BATCH, SIZE = 64, 6
ALL = AugmentConfig(flip=0.5, brightness=0.4, colour=0.2)


@pytest.fixture
def images() -> ImageBatch:
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, SIZE, SIZE, 3), dtype=np.float32)
    x[:, 0] = 0
    mask = rng.random((BATCH, 1, SIZE, SIZE), dtype=np.float32)
    crop, focal = rng.uniform(100, 900, (BATCH, 3)), rng.uniform(1000, 1200, (BATCH, 2))
    camera = CropCamera(*(torch.from_numpy(t) for t in (crop, focal, np.full((BATCH, 2), 500.0))))
    return ImageBatch(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(mask), camera)


def test_images_and_masks_change_as_in_numpy(images: ImageBatch) -> None:
    change = Augmentation.at(ALL, 3, 5, BATCH)
    changed = change(images)
    flip, gain = change.flip.numpy(), change.gain.numpy()
    assert 10 < flip.sum() < 54
    for i in range(BATCH):
        x, mask = images.x[i].numpy(), images.mask[i].numpy()
        if flip[i]:
            x, mask = x[..., ::-1], mask[..., ::-1]
        np.testing.assert_array_equal(changed.mask[i].numpy(), mask)
        expected = np.clip(x * gain[i, :, None, None], 0, 1)
        np.testing.assert_allclose(changed.x[i].numpy(), expected, rtol=1e-6)
    x = images.camera.crop[:, 0].numpy()
    np.testing.assert_allclose(changed.camera.crop[:, 0], np.where(flip, 1000 - x, x))
    assert not changed.x[:, :, 0].any()  # black stays black
    assert changed.x.is_contiguous(memory_format=torch.channels_last)


def test_gains_keep_to_their_range_and_differ_by_channel_only_with_colour() -> None:
    gain = Augmentation.at(AugmentConfig(brightness=0.4), 3, 5, 4096).gain
    assert torch.equal(gain, gain[:, :1].expand(-1, 3))
    assert 0.6 <= gain.min() < 0.61 < 1.39 < gain.max() <= 1.4
    gain = Augmentation.at(AugmentConfig(colour=0.2), 3, 5, 4096).gain
    assert 0.8 <= gain.min() < 0.81 < 1.19 < gain.max() <= 1.2
    assert np.abs(np.corrcoef(gain.T.numpy()) - np.eye(3)).max() < 0.1


def test_a_step_has_its_own_draws_and_each_process_its_share(tmp_path: Path) -> None:
    home = pretrained(tmp_path)
    config = compose(
        overrides(home, "augmented", "train.augment.flip=0.5", "train.augment.colour=0.2")
    )
    data = Dataset(config.paths.data)
    whole, *halves = (
        build_trainer(config, data, _Share(rank, size, torch.device("cpu")))
        for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    for step in (0, 7):
        shares = [half._images_and_poses(step)[0] for half in halves]
        assert torch.equal(torch.cat([p.x for p in shares]), whole._images_and_poses(step)[0].x)
        assert torch.equal(
            torch.cat([p.mask for p in shares]), whole._images_and_poses(step)[0].mask
        )
    again, other = (Augmentation.at(ALL, 3, step, 8).gain for step in (5, 6))
    assert torch.equal(again, Augmentation.at(ALL, 3, 5, 8).gain)
    assert not torch.equal(again, other)
    assert not torch.equal(again, Augmentation.at(ALL, 4, 5, 8).gain)


class _Share(World):
    """Test double: a process among several that speaks to no other."""

    def parallel(self, module: torch.nn.Module) -> torch.nn.Module:
        return module


def test_off_is_off() -> None:
    assert not augments(AugmentConfig())
    assert augments(AugmentConfig(brightness=0.1))
