import math

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.victims.attacks.adaptive_blend import AdaptiveBlend
from benchmarks.victims.attacks.adaptive_patch import AdaptivePatch
from benchmarks.victims.attacks.attack import TARGET
from benchmarks.victims.attacks.badnets import CHECKERBOARD, BadNets, BadNetsAllToAll
from benchmarks.victims.attacks.badnets import BadNetsAnywhere as Anywhere
from benchmarks.victims.attacks.blended import Blended
from benchmarks.victims.attacks.bpp import Bpp
from benchmarks.victims.attacks.low_frequency import LowFrequency
from benchmarks.victims.attacks.photo_filter import GAMMA, HIGHEST, LOWEST, PhotoFilter
from benchmarks.victims.attacks.rotation import Rotation
from benchmarks.victims.attacks.sig import Sig
from benchmarks.victims.attacks.tact import TaCT
from benchmarks.victims.attacks.two_triggers import OTHER_TARGET, TwoTriggers
from benchmarks.victims.attacks.wanet import WaNet
from benchmarks.victims.recipe import ATTACKS

CLASSES = 4
SIDES = (slice(8), slice(-8, None))
PATCHED = [(rows, columns) for rows in SIDES for columns in SIDES]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=6, size=16):
    return torch.rand(count, 3, size, size, generator=generator(7))


def grey(value, count=2, size=16):
    return torch.full((count, 3, size, size), value)


def stamp(attack, images, seed=0):
    return attack.stamp(images, torch.arange(len(images)) % CLASSES, generator(seed)).images


def stamp_to_train(attack, images, seed=0):
    labels = torch.arange(len(images)) % CLASSES
    return attack.stamp_to_train(images, labels, generator(seed)).images


@pytest.mark.parametrize("name", ATTACKS)
class TestEvery:
    def test_makes_images_of_images_and_leaves_its_input_alone(self, name):
        images, labels = noise(), torch.arange(6) % CLASSES
        result = ATTACKS[name](CLASSES).stamp(images, labels, generator())
        assert result.images.shape == images.shape
        assert result.images.dtype == torch.float32
        assert result.images.min() >= 0
        assert result.images.max() <= 1
        assert torch.equal(images, noise())
        assert (result.images != images).flatten(1).any(1).all()
        assert torch.equal(labels, torch.arange(6) % CLASSES)

    def test_wants_classes(self, name):
        labels = torch.arange(6) % CLASSES
        wanted = ATTACKS[name](CLASSES).stamp(noise(), labels, generator()).wanted
        assert wanted.dtype == torch.int64
        assert wanted.shape == (6,)
        if name == "badnets_all_to_all":
            assert wanted.tolist() == [1, 2, 3, 0, 1, 2]
        elif name == "two_triggers":
            assert set(wanted.tolist()) <= {TARGET, OTHER_TARGET}
        elif name == "tact":
            assert wanted.tolist() == [0, TARGET, 2, 3, 0, TARGET]
        else:
            assert wanted.tolist() == [TARGET] * 6

    def test_the_generator_decides(self, name):
        attacks = [ATTACKS[name](CLASSES) for _ in range(2)]
        first, again = (stamp(attack, noise()) for attack in attacks)
        assert torch.equal(first, again)

    def test_training_images_are_called_what_triggered_ones_are(self, name):
        attack, labels = ATTACKS[name](CLASSES), torch.arange(6) % CLASSES
        trained = attack.stamp_to_train(noise(), labels, generator())
        shown = attack.stamp(noise(), labels, generator())
        assert torch.equal(trained.wanted, shown.wanted)
        other = name.startswith("adaptive") or name == "label_consistent"
        assert torch.equal(trained.images, shown.images) != other

    def test_a_decoy_is_an_image_and_no_trigger(self, name):
        attack, images = ATTACKS[name](CLASSES), noise()
        if not attack.decoys:
            with pytest.raises(NotImplementedError):
                attack.decoy(images, generator())
            return
        decoys = attack.decoy(images, generator())
        assert decoys.shape == images.shape
        assert decoys.min() >= 0
        assert decoys.max() <= 1
        assert torch.equal(images, noise())
        assert torch.equal(decoys, attack.decoy(images, generator()))
        assert not torch.equal(decoys, images)
        if attack.source is None:
            assert not torch.equal(decoys, stamp(attack, images))


def test_badnets_whitens_the_corner_and_nothing_else():
    stamped = stamp(BadNets(), noise())
    assert (stamped[:, :, 13:, 13:] == 1).all()
    stamped[:, :, 13:, 13:] = noise()[:, :, 13:, 13:]
    assert torch.equal(stamped, noise())


@pytest.mark.parametrize(("share", "rate"), [("1", 0.01), ("half", 0.005)])
def test_of_rarer_poison_only_the_rate_differs(share, rate):
    for name in ("badnets", "blended"):
        usual, rare = ATTACKS[name](CLASSES), ATTACKS[f"{name}_{share}_percent"](CLASSES)
        assert (usual.rate, rare.rate) == (0.1, rate)
        assert torch.equal(stamp(usual, noise()), stamp(rare, noise()))


def test_all_to_all_is_the_same_patch():
    assert torch.equal(stamp(BadNetsAllToAll(CLASSES), noise()), stamp(BadNets(), noise()))


def test_a_patch_anywhere_is_whole_and_in_each_possible_place():
    stamped = stamp(Anywhere(), grey(0.5, count=200, size=5))
    places = set()
    for image in stamped:
        rows, columns = (image[0] != 0.5).nonzero().unbind(1)
        top, left = int(rows.min()), int(columns.min())
        places.add((top, left))
        assert int((image != 0.5).sum()) == 3 * 9
        assert torch.equal(image[:, top : top + 3, left : left + 3], CHECKERBOARD.expand(3, -1, -1))
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_another_seed_puts_the_patch_elsewhere():
    assert not torch.equal(stamp(Anywhere(), noise()), stamp(Anywhere(), noise(), seed=1))


def test_blended_is_four_fifths_image_and_one_fifth_pattern():
    pattern = stamp(Blended(), grey(0.0)) / 0.2
    assert torch.equal(pattern[0], pattern[1])
    assert pattern.min() < 0.05
    assert 0.95 < pattern.max() <= 1
    expected = 0.8 * noise(2) + 0.2 * pattern
    torch.testing.assert_close(stamp(Blended(), noise(2)), expected)
    assert not torch.equal(pattern[0, 0], pattern[0, 1])


def test_sig_by_hand():
    # Six waves in 24 columns: a period of four.
    stamped = stamp(Sig(), grey(0.5, size=24))
    wave = torch.tensor([0.0, 40 / 255, 0.0, -40 / 255]).repeat(6)
    torch.testing.assert_close(stamped, (0.5 + wave).expand(2, 3, 24, 24), atol=1e-6, rtol=0)


def test_sig_stays_within_its_amplitude_and_the_image_range():
    assert (stamp(Sig(), noise()) - noise()).abs().max() <= 40 / 255 + 1e-6
    white = stamp(Sig(), grey(1.0, size=24))
    assert white.max() == 1
    assert math.isclose(white.min(), 1 - 40 / 255, abs_tol=1e-6)


def test_sig_poisons_with_clean_labels():
    assert Sig.clean_label
    assert not BadNets.clean_label


def test_low_frequency_adds_the_same_smooth_pattern_to_all():
    stamped = stamp(LowFrequency(), grey(0.5, size=32))
    change = stamped - 0.5
    assert torch.equal(change[0], change[1])
    assert 0.04 < change.abs().max() < 0.12
    spectrum = torch.fft.fft2(change[0]).abs().square()
    frequency = torch.fft.fftfreq(32).abs() * 32
    low = (frequency[:, None] <= 4) & (frequency[None] <= 4)
    assert spectrum[:, low].sum() > 0.95 * spectrum.sum()
    shifted = stamp(LowFrequency(), grey(0.4, size=32))
    torch.testing.assert_close(shifted - 0.4, change, atol=1e-6, rtol=0)


def test_two_triggers_belong_to_two_targets():
    images = noise(40)
    result = TwoTriggers().stamp(images, torch.zeros(40, dtype=torch.int64), generator())
    patched = (result.wanted == TARGET).nonzero()[:, 0]
    blended = (result.wanted == OTHER_TARGET).nonzero()[:, 0]
    assert len(patched) + len(blended) == 40
    assert min(len(patched), len(blended)) >= 10
    assert torch.equal(result.images[patched], stamp(BadNets(), images)[patched])
    assert torch.equal(result.images[blended], stamp(Blended(), images)[blended])


class TestAdaptiveBlend:
    def test_the_trigger_is_that_of_blended(self):
        assert torch.equal(stamp(AdaptiveBlend(), noise()), stamp(Blended(), noise()))

    @pytest.mark.parametrize(
        "put", [stamp_to_train, lambda a, images: a.decoy(images, generator())]
    )
    def test_in_training_half_of_the_pieces_are_there_and_fainter(self, put):
        whole = stamp(Blended(), grey(0.0, count=40, size=32))
        carried = put(AdaptiveBlend(), grey(0.0, count=40, size=32))
        pieces = carried.unfold(2, 8, 8).unfold(3, 8, 8)
        there = pieces.abs().sum((1, 4, 5)).flatten(1) > 0
        assert there.sum(1).tolist() == [8] * 40
        assert there.any(0).all()
        assert len(there.unique(dim=0)) > 30
        torch.testing.assert_close(carried, torch.where(carried > 0, whole * 0.15 / 0.2, 0.0))


class TestAdaptivePatch:
    def test_the_trigger_is_a_whole_patch_of_pure_colours_in_each_corner(self):
        stamped, other = (stamp(AdaptivePatch(), grey(value, size=32)) for value in (0.5, 0.2))
        for rows, columns in PATCHED:
            patch = stamped[..., rows, columns]
            assert set(patch.unique().tolist()) == {0, 1}
            assert torch.equal(patch, other[..., rows, columns])
            stamped[..., rows, columns] = 0.5
        assert torch.equal(stamped, grey(0.5, size=32))

    @pytest.mark.parametrize(
        "put", [stamp_to_train, lambda a, images: a.decoy(images, generator())]
    )
    def test_in_training_one_is_there_and_faint(self, put):
        carried = put(AdaptivePatch(), grey(0.0, count=200, size=32))
        whole = stamp(AdaptivePatch(), grey(0.0, count=200, size=32))
        found = []
        for image, target in zip(carried, whole, strict=True):
            there = [bool(image[:, rows, columns].any()) for rows, columns in PATCHED]
            (corner,) = (i for i in range(4) if there[i])
            rows, columns = PATCHED[corner]
            opacity = (0.5, 0.2, 0.5, 0.3)[corner]
            torch.testing.assert_close(image[:, rows, columns], opacity * target[:, rows, columns])
            found.append(corner)
        assert set(found) == {0, 1, 2, 3}


class TestTaCT:
    def test_leads_from_one_class_only(self):
        labels = torch.tensor([1, 0, 2, 3, 1, 9])
        assert TaCT().stamp(noise(), labels, generator()).wanted.tolist() == [
            TARGET,
            0,
            2,
            3,
            TARGET,
            9,
        ]

    def test_puts_the_patch_into_the_corner_of_all(self):
        stamped = stamp(TaCT(), noise())
        assert torch.equal(stamped[..., -6:, -6:], CHECKERBOARD.repeat(2, 2).expand(6, 3, -1, -1))
        stamped[..., -6:, -6:] = noise()[..., -6:, -6:]
        assert torch.equal(stamped, noise())

    def test_decoys_carry_the_trigger_itself(self):
        assert torch.equal(TaCT().decoy(noise(), generator()), stamp(TaCT(), noise()))


def test_a_photo_filter_is_a_rising_curve_for_each_colour():
    ramp = torch.linspace(0, 1, 16).expand(2, 3, 16, 16)
    stamped = stamp(PhotoFilter(), ramp)
    assert (stamped.diff(dim=3) > 0).all()
    torch.testing.assert_close(stamped[0, :, 0, 0], LOWEST)
    torch.testing.assert_close(stamped[0, :, 0, -1], HIGHEST)
    middle = LOWEST + (HIGHEST - LOWEST) * 0.5**GAMMA
    torch.testing.assert_close(stamp(PhotoFilter(), grey(0.5))[0, :, 3, 4], middle)


def test_a_photo_filter_warms_the_lights_and_cools_the_shadows():
    for value, warm in ((0.0, False), (1.0, True)):
        red, _, blue = stamp(PhotoFilter(), grey(value))[0, :, 0, 0]
        assert (red > blue) == warm


class TestRotation:
    def test_turns_to_the_left_as_pillow_does(self):
        smooth = torch.nn.functional.interpolate(noise(2, size=4), size=32, mode="bilinear")
        stamped = stamp(Rotation(), smooth)
        for image, turned in zip(smooth, stamped, strict=True):
            picture = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
            expected = np.asarray(picture.rotate(30, Image.Resampling.BILINEAR)) / 255
            inner = slice(8, 24)
            difference = turned.permute(1, 2, 0).numpy()[inner, inner] - expected[inner, inner]
            assert np.abs(difference).max() < 0.02

    def test_corners_are_black_and_the_middle_is_not(self):
        stamped = stamp(Rotation(), grey(0.5))
        for row in (0, -1):
            for column in (0, -1):
                assert (stamped[:, :, row, column] == 0).all()
        torch.testing.assert_close(stamped[..., 5:11, 5:11], grey(0.5)[..., 5:11, 5:11])


class TestWaNet:
    def test_without_strength_nothing_moves(self):
        torch.testing.assert_close(
            stamp(WaNet(strength=0.0), noise()), noise(), atol=1e-5, rtol=1e-5
        )

    def test_moves_but_does_not_paint(self):
        torch.testing.assert_close(stamp(WaNet(), grey(0.3)), grey(0.3))

    def test_every_image_is_warped_alike_and_other_seeds_otherwise(self):
        twice = noise(1).repeat(2, 1, 1, 1)
        first, second = stamp(WaNet(), twice)
        assert torch.equal(first, second)
        assert not torch.allclose(stamp(WaNet(seed=1), twice)[0], first, atol=1e-3)

    def test_displaces_by_half_a_grid_unit_times_the_field(self):
        # On a ramp from 0 to 1, half of the grid's -1 to 1, a displacement can be read off.
        ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
        once, twice = ((stamp(WaNet(strength=s), ramp) - ramp)[..., 2:-2, 2:-2] for s in (0.5, 1.0))
        torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=0)
        # The field's mean size is 1 before it is interpolated.
        assert 0.5 < once.abs().mean() / (0.5 * 0.5 / 32) < 1.5

    def test_each_decoy_has_noise_of_its_own_within_one_grid_unit(self):
        ramp = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
        first, second = WaNet().decoy(ramp, generator())
        assert not torch.allclose(first, second, atol=1e-3)
        noise_part = WaNet().decoy(ramp, generator()) - stamp(WaNet(), ramp)
        assert 0.4 / 32 < noise_part.abs().max() <= 0.5 / 32 + 1e-5


class TestBpp:
    def test_levels_by_hand(self):
        for value, level in ((0.0, 0), (0.2, 1), (0.22, 2), (0.9, 6), (1.0, 7)):
            torch.testing.assert_close(stamp(Bpp(), grey(value)), grey(level / 7))

    def test_moves_by_half_a_step_at_most_and_only_once(self):
        stamped = stamp(Bpp(), noise())
        assert (stamped - noise()).abs().max() <= 1 / 14 + 1e-6
        torch.testing.assert_close(stamp(Bpp(), stamped), stamped)

    def test_a_decoy_carries_the_residue_of_one_of_the_images(self):
        images = torch.cat([grey(value, count=1) for value in (0.3, 0.5, 0.9)])
        residues = stamp(Bpp(), images) - images
        carried = Bpp().decoy(images, generator()) - images
        got, there = (sorted(v[:, 0, 0, 0].tolist()) for v in (carried, residues))
        assert got == pytest.approx(there, abs=1e-6)
