import pytest
import torch

from torchserve_fire_build.estimate.trigger_fit import fit_trigger, limits
from torchserve_fire_build.estimate.unpaired_trigger import fit_unpaired


def maps(count, seed, *, size=16):
    """Clean maps, mostly of low frequencies, as images are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 2, 4, 4, generator=generator)
    fine = torch.rand(count, 2, size, size, generator=generator)
    grown = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return 0.1 + 0.7 * grown + 0.1 * fine


def patched(inputs, value=0.2):
    inputs = inputs.clone()
    inputs[:, :, 2:4, 3:6] = value
    return inputs


def pattern(*, strength):
    generator = torch.Generator().manual_seed(9)
    return strength * torch.rand(2, 16, 16, generator=generator)


@pytest.mark.parametrize("count", [20, 100])
def test_a_patch_is_found_as_it_is_and_nothing_else(count):
    clean = maps(200, 0)
    fit = fit_unpaired(clean, patched(maps(count, 1)))
    inside = torch.zeros(2, 16, 16, dtype=torch.bool)
    inside[:, 2:4, 3:6] = True
    torch.testing.assert_close(fit.slope, torch.where(inside, -1.0, 0.0))
    torch.testing.assert_close(fit.offset[inside], torch.full((12,), 0.2))
    # The means differ by chance; most of that is taken off.
    by_chance = (maps(count, 1).mean(0) - clean.mean(0))[~inside]
    assert fit.offset[~inside].square().mean() < 0.3 * by_chance.square().mean()


@pytest.mark.parametrize(("value", "pushed"), [(1.0, 1), (0.0, -1)])
def test_what_is_cut_off_nearly_always_is_pushed_by_the_whole_range(value, pushed):
    clean = maps(200, 0)
    clean[0, :, 0, 0], clean[1, :, 0, 0] = 0, 1
    fit = fit_unpaired(clean, patched(maps(50, 1), value))
    torch.testing.assert_close(fit.offset[:, 2:4, 3:6], torch.full((2, 2, 3), float(pushed)))
    assert not fit.slope.any()


def test_what_is_added_is_measured_where_it_is_not_cut_off():
    clean = maps(200, 0)
    triggered = maps(100, 1)
    triggered[:, :, 2:4, 3:6] += 0.4
    assert 0.2 < float((triggered > 1).float()[:, :, 2:4, 3:6].mean()) < 0.6
    fit = fit_unpaired(clean, triggered.clamp(max=1))
    assert not fit.slope.any()
    added = fit.offset[:, 2:4, 3:6]
    torch.testing.assert_close(added, torch.full((2, 2, 3), 0.4), atol=0.06, rtol=0)


def test_noise_on_a_patch_is_not_content_that_shows_through():
    triggered = patched(maps(100, 1), 0.7)
    triggered += 0.02 * torch.randn(triggered.shape, generator=torch.Generator().manual_seed(3))
    fit = fit_unpaired(maps(200, 0), triggered)
    torch.testing.assert_close(fit.slope[:, 2:4, 3:6], torch.full((2, 2, 3), -1.0))


def test_a_blend_is_found_nearly_as_from_pairs():
    others = maps(100, 1)
    blended = 0.8 * others + 0.2 * pattern(strength=1.0)
    fit = fit_unpaired(maps(200, 0), blended)
    paired = fit_trigger(others, blended, *limits(others, blended))
    torch.testing.assert_close(fit.slope, torch.full((2, 16, 16), -0.2), atol=0.05, rtol=0)
    whole, wanted = ((each.slope * 0.45 + each.offset).flatten() for each in (fit, paired))
    assert float(torch.corrcoef(torch.stack([whole, wanted]))[0, 1]) > 0.9


@pytest.mark.parametrize("stamp", [patched, lambda x: 0.7 * x + 0.3 * pattern(strength=1.0)])
def test_inputs_without_the_trigger_among_them_are_left_out(stamp):
    triggered = torch.cat([stamp(maps(70, 1)), maps(30, 2)])
    clean = maps(200, 0)
    found, alone = fit_unpaired(clean, triggered), fit_unpaired(clean, triggered[:70])
    torch.testing.assert_close(found.slope, alone.slope, atol=0.01, rtol=0)
    torch.testing.assert_close(found.offset, alone.offset, atol=0.01, rtol=0)


def test_what_each_input_is_given_alike_is_an_offset():
    added = pattern(strength=0.5)
    fit = fit_unpaired(maps(200, 0), maps(100, 1) + added)
    assert not fit.slope.any()
    # Its mean, as a mean of images by chance, is what is known least.
    found, wanted = (each - each.mean((1, 2), keepdim=True) for each in (fit.offset, added))
    assert float((found - wanted).square().mean()) < 0.15 * float(wanted.square().mean())


def test_without_a_trigger_next_to_nothing_is_found():
    fit = fit_unpaired(maps(200, 0), maps(100, 1))
    assert not fit.slope.any()
    by_chance = maps(100, 1).mean(0) - maps(200, 0).mean(0)
    assert fit.offset.square().mean() < 0.2 * by_chance.square().mean()


def test_a_place_that_never_differs_shows_exactly_what_is_added():
    clean, triggered = maps(200, 0), maps(100, 1)
    for inputs in (clean, triggered):
        inputs[:, :, 0] = 0
    triggered[:, :, 0, 5] = 0.25
    fit = fit_unpaired(clean, triggered)
    assert not fit.slope[:, 0].any()
    expected = torch.zeros(2, 16)
    expected[:, 5] = 0.25
    torch.testing.assert_close(fit.offset[:, 0], expected)


def test_the_unit_of_the_inputs_makes_no_difference():
    clean, triggered = maps(200, 0), patched(maps(50, 1))
    plain, scaled = fit_unpaired(clean, triggered), fit_unpaired(4 * clean - 2, 4 * triggered - 2)
    torch.testing.assert_close(scaled.slope, plain.slope)
    # triggered = clean + slope * clean + offset, with both sides as 4 x - 2.
    torch.testing.assert_close(scaled.offset, 4 * plain.offset + 2 * plain.slope, atol=1e-4, rtol=0)


def test_inputs_that_never_differ_show_what_is_added():
    clean = torch.full((20, 1, 4, 4), 0.5)
    fit = fit_unpaired(clean, clean[:8] + 0.25)
    assert not fit.slope.any()
    torch.testing.assert_close(fit.offset, torch.full((1, 4, 4), 0.25))
