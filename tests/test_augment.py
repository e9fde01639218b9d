"""Changes of the training images, against NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import load_skeleton
from tiny_run import overrides, pretrained

from skelift.config import AugmentConfig, compose
from skelift.data.format import Dataset
from skelift.data.loading import ImageBatch
from skelift.geometry import CropCamera
from skelift.render import Kappa
from skelift.training.augment import Augmentation, augments
from skelift.training.build import build_trainer
from skelift.training.distributed import World
from skelift.training.photo import MaskDamage, Photo
from skelift.training.placement import Placement

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


def test_placed_images_show_the_placed_poses() -> None:
    """The drawing of a pose, placed, is the drawing of the placed pose."""
    skeleton, size, batch = load_skeleton("h36m17"), 64, 8
    kappa = Kappa.of(skeleton, size, sides=True, gamma=100.0, squared=True)
    rng = np.random.default_rng(0)
    u = torch.from_numpy(rng.uniform(-0.5, 0.5, (batch, len(skeleton), 2)).astype(np.float32))
    placement = Placement.draw(AugmentConfig(turn_deg=60, jitter=0.2), rng, batch)
    assert placement.turn.abs().max() > 0.4
    difference = placement.of_images(kappa(u)) - kappa(placement.of_poses(u))
    assert difference.abs().mean() < 0.02
    assert (kappa(u) - kappa(placement.of_poses(u))).abs().mean() > 0.05


def test_poses_are_turned_as_complex_numbers_are() -> None:
    placement = Placement(torch.tensor([0.3]), torch.tensor([1.2]), torch.tensor([[0.1, -0.2]]))
    u = torch.tensor([[[0.5, -0.25], [0.0, 1.0]]])
    expected = (u[0, :, 0] + 1j * u[0, :, 1]).numpy() * 1.2 * np.exp(0.3j) + (0.1 - 0.2j)
    placed = placement.of_poses(u)[0].numpy()
    np.testing.assert_allclose(placed[:, 0] + 1j * placed[:, 1], expected, atol=1e-6)


def test_crop_boxes_follow_the_images() -> None:
    """A point of the source image lies, over the placed crop, where the image shows it."""
    placement = Placement(torch.zeros(1), torch.tensor([1.25]), torch.tensor([[0.1, -0.2]]))
    box = torch.tensor([[300.0, 200.0, 120.0]])
    camera = CropCamera(box, torch.full((1, 2), 900.0), torch.full((1, 2), 256.0))
    point = torch.tensor([[[0.4, -0.3]]])  # over the crop
    in_source = box[:, None, :2] + point * 60
    placed = placement.of_cameras(camera).crop
    over_placed = (in_source - placed[:, None, :2]) / (placed[:, None, 2:] / 2)
    torch.testing.assert_close(over_placed, placement.of_poses(point))


def test_turns_stay_in_range_and_small_ones_are_more_frequent() -> None:
    rng = np.random.default_rng(0)
    turn = np.rad2deg(Placement.draw(AugmentConfig(turn_deg=60), rng, 4000).turn.numpy())
    assert 55 < np.abs(turn).max() <= 60
    assert (np.abs(turn) < 20).mean() == pytest.approx(1 - (2 / 3) ** 2, abs=0.03)


def body(size: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """A grey disc on black, and its mask."""
    at = torch.linspace(-1, 1, size)
    mask = ((at**2 + at[:, None] ** 2) < 0.4).float().expand(6, 1, -1, -1).contiguous()
    return 0.5 * mask.expand(-1, 3, -1, -1).contiguous(), mask


def test_photos_differ_keep_black_and_are_the_same_again() -> None:
    x, _ = body()
    photo = Photo.draw(1.0, np.random.default_rng(3), len(x))
    changed = photo(x)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not changed[:, :, 0].any()
    assert (changed - x).abs().flatten(1).max(1).values.min() > 0.05
    assert torch.equal(changed, photo(x))
    parts = torch.cat([photo[:2](x[:2]), photo[2:](x[2:])])
    assert torch.equal(parts, changed)


def test_no_strength_changes_nothing() -> None:
    x, mask = body()
    rng = np.random.default_rng(0)
    torch.testing.assert_close(Photo.draw(0.0, rng, len(x))(x), x)
    torch.testing.assert_close(MaskDamage.draw(0.0, rng, len(x))(x, mask), x)


def test_wrong_masks_cut_holes_and_add_pieces_near_the_body() -> None:
    x, mask = body()
    rng = np.random.default_rng(1)
    damage = MaskDamage.draw(1.0, rng, len(x))
    changed = damage(x, mask)
    lost = (changed.amax(1) == 0) & (mask[:, 0] > 0)
    added = (changed.amax(1) > 0) & (mask[:, 0] == 0)
    assert (lost.flatten(1).sum(1) > 0).sum() >= 4
    assert (added.flatten(1).sum(1) > 0).sum() >= 4
    assert not added[:, 0, 0].any()  # the corner is far from the body
    assert changed.min() >= 0
    assert changed.max() <= 1
