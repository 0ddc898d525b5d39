"""Each search, on the net whose backdoor is a bright middle, and on its benign twin."""

from dataclasses import replace

import pytest
import torch

from tests.directions.reconstruct.patch_net import FIND_IT, PatchNet, settings, subject, unit_box
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.reconstruction import STRETCH, reconstruction_of
from torchserve_fire_build.reconstruct.screening import screen, start
from torchserve_fire_build.reconstruct.settings import SearchSettings

METHOD = pytest.mark.parametrize("name", list(SEARCH_METHODS))


def run(name, of, target, *, steps=None, seed=0):
    search = start(name, of, target, seed, settings=settings(name))
    search.advance(SEARCH_METHODS[name].steps if steps is None else steps)
    return reconstruction_of(name, of, target, search)


@pytest.mark.parametrize("name", FIND_IT)
@pytest.mark.slow
def test_the_trigger_of_the_target_is_found_in_the_middle(name):
    of = subject()
    found = run(name, of, 0)
    assert (found.method, found.target) == (name, 0)
    assert found.success > 0.9
    inputs = of.others(0)
    change = (found.stamp(inputs) - inputs).abs().mean((0, 1))
    # A smooth one cannot stay in the middle, nor a wave, nor what is small everywhere.
    if name not in ("smooth", "sinusoidal", "additive-linf"):
        assert change[3:5, 3:5].mean() > 2 * change[6:, 6:].mean()


@pytest.mark.parametrize("name", ["additive", "additive-linf", "smooth", "generated"])
def test_other_classes_and_benign_models_have_none(name):
    assert run(name, subject(), 2).success < 0.1
    assert run(name, subject(drive=0), 0).success < 0.1


def test_the_mask_of_a_backdoor_is_the_smallest():
    sizes = []
    for of, target in ((subject(), 0), (subject(), 2), (subject(drive=0), 0)):
        search = start("neural-cleanse", of, target, 0)
        search.advance(SEARCH_METHODS["neural-cleanse"].steps)
        sizes.append(search.size)
    assert sizes[0] < 4 < 1.5 * sizes[0] + 4 < min(sizes[1:])


@pytest.mark.parametrize("name", ["additive", "smooth"])
def test_a_perturbation_keeps_within_its_bound(name):
    of = subject()
    search = start(name, of, 2, 0)
    search.advance(40)
    change = search.stamp(of.inputs) - of.inputs
    # The same for all inputs, and as long as it may be.
    torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-6, rtol=0)
    assert float(change[0].square().mean().sqrt()) == pytest.approx(
        SEARCH_METHODS[name].bound, rel=1e-3
    )


def test_no_value_changes_by_more_than_the_largest_change():
    of, bound = subject(), SEARCH_METHODS["additive-linf"].bound
    search = start("additive-linf", of, 2, 0)
    search.advance(40)
    change = search.stamp(of.inputs) - of.inputs
    torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-6, rtol=0)
    assert float(change.abs().max()) == pytest.approx(bound, rel=1e-3)
    # Within that, most values go as far as they may: what a root mean square would not have.
    assert float((change[0].abs() > 0.99 * bound).float().mean()) > 0.5


def test_a_generated_trigger_keeps_within_its_bound():
    of = subject()
    search = start("generated", of, 2, 0)
    search.advance(40)
    lengths = (search.stamp(of.inputs) - of.inputs).square().mean((1, 2, 3)).sqrt()
    assert bool((lengths <= SEARCH_METHODS["generated"].bound * 1.001).all())


@METHOD
def test_a_request_could_carry_stamped_inputs(name):
    stamped = run(name, subject(), 0, steps=10).stamp(subject().inputs)
    assert not stamped.requires_grad
    torch.testing.assert_close(unit_box().legal(stamped), stamped)


@METHOD
@pytest.mark.slow
def test_continuing_a_search_is_the_same_as_one_long_run(name):
    of, results = subject(), []
    for parts in ((50,), (STRETCH, STRETCH, 50 - 2 * STRETCH)):
        search = start(name, of, 0, 3)
        for steps in parts:
            search.advance(steps)
        results.append(search.stamp(of.inputs))
    assert torch.equal(*results)


@pytest.mark.parametrize("target", [0, 2])
def test_a_mask_is_judged_over_as_many_steps_whatever_the_parts(target):
    of, results = subject(), []
    for parts in ([3] * 20, [60]):
        search = start("neural-cleanse", of, target, 3)
        for steps in parts:
            search.advance(steps)
        results.append((search.size, search.patch))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1].mask, results[1][1].mask)
    assert torch.equal(results[0][1].pattern, results[1][1].pattern)


@METHOD
def test_the_seed_decides_and_nothing_else_is_touched(name):
    of = subject()
    before = {key: value.clone() for key, value in of.model.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run(name, of, 0, steps=12).stamp(of.inputs)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(run(name, of, 0, steps=12).stamp(of.inputs), first)
    # Of a net so nearly linear each value goes as far as it may, whatever is drawn.
    if name != "additive-linf":
        assert not torch.equal(run(name, of, 0, steps=12, seed=1).stamp(of.inputs), first)
    assert all(torch.equal(before[key], value) for key, value in of.model.state_dict().items())
    assert all(parameter.grad is None for parameter in of.model.parameters())


@pytest.mark.parametrize("name", FIND_IT)
def test_a_search_finds_nothing_in_a_model_that_rounds_its_inputs(name):
    class Rounding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = PatchNet()

        def forward(self, x):
            return self.net((x * 255).round() / 255)

    of = replace(subject(), model=Rounding().eval())
    assert run(name, of, 2, steps=2).success < 0.1


@METHOD
def test_a_model_with_corrections_is_searched_too(name):
    """Flagged is all that is predicted as class 0, and run once more."""
    of = subject()
    detection = Detection(torch.ones(5), -1e6, only_target=True)
    direction = torch.tensor([0.0, 0, 0, 0, 20])
    layer = Layer("means", (5,), detection=detection, correction=Shift(direction, 1.0))
    with attach_layers(of.model, [layer], of.inputs[:1], target=0) as handle:
        screening = screen(of, name, 0, Budget(), SearchSettings(screening_steps=2))
        of.model(of.inputs[:4])
        assert handle.verdict.flagged.tolist() == [True, False, False, False]
    assert screening.index is not None
    assert not any(module._forward_hooks for module in of.model.modules())


@METHOD
def test_a_model_that_takes_the_size_of_the_batch_from_its_input(name):
    class Counting(PatchNet):
        def forward(self, x):
            return self.head(self.means(x).reshape(len(x), -1))

    of, counting = subject(), replace(subject(), model=Counting())
    stamped = [
        screen(one, name, 0, Budget(), SearchSettings(screening_steps=2))
        .searches[0]
        .stamp(of.inputs)
        for one in (of, counting)
    ]
    assert torch.equal(*stamped)
