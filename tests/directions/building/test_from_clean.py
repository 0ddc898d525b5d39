from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.directions.reconstruct.two_patch_net import TwoPatchNet, images, stamp
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.from_clean import build_from_clean
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.building.name_target import NamedTarget
from torchserve_fire_build.building.search_plan import SearchPlan
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError
from torchserve_fire_build.reconstruct.find_triggers import FoundTriggers, find_triggers
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction
from torchserve_fire_build.samples.tensor_samples import TensorSamples

FROM_CLEAN = "torchserve_fire_build.building.from_clean"
SEARCH_PLAN = "torchserve_fire_build.building.search_plan"


IMAGES = InputDescription("image", (3, 8, 16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def build(drives, *, method="additive", net=TwoPatchNet, **options):
    samples = TensorSamples(images(160), torch.arange(160) % 8, description=IMAGES)
    loaded = LoadedModel(net(drives), "TwoPatchNet", "0" * 64)
    plan = SearchPlan(methods=[method], otherwise=())
    return loaded.model, build_from_clean(loaded, samples, plan=plan, **options)


def answers(net, bundle, inputs):
    with attach_layers(net, bundle.layers, inputs[:1], target=bundle.target), torch.no_grad():
        return net(inputs).argmax(1)


@pytest.mark.parametrize("method", ["additive", "abs"])
@pytest.mark.slow
def test_triggers_are_found_one_after_the_other(logged, method):
    net, built = build((14.0, 10.0), method=method)
    bundle = built.bundle
    assert set(bundle.targets) == {0, 5}
    assert [record.target for record in built.records] == list(bundle.targets)
    assert [figures.target for figures in built.figures] == list(bundle.targets)
    clean, truth = images(80, seed=7), torch.arange(80) % 8
    assert torch.equal(answers(net, bundle, clean), truth)
    for target in (0, 5):
        triggered = stamp(clean, target)
        with torch.no_grad():
            assert bool((net(triggered).argmax(1) == target).all())
        assert float((answers(net, bundle, triggered) == truth).float().mean()) > 0.95
    assert logged.messages.count("searching again, with the repairs so far") >= 2


@pytest.mark.slow
def test_the_model_is_not_changed():
    net, _ = build((14.0, 10.0))
    inputs = stamp(images(16), 0)
    with torch.no_grad():
        assert torch.equal(net(inputs), TwoPatchNet()(inputs))
    assert not any(module._forward_hooks for module in net.modules())


def test_with_one_trigger_nothing_is_added(logged):
    _, built = build((14.0, 0.0))
    assert built.bundle.targets == (0,)
    assert "searching again, with the repairs so far" in logged.messages


def test_a_repair_that_cannot_be_combined_is_not_added(logged, monkeypatch):
    def flag_whatever_is_predicted(loaded, evidence, options, names_file):
        built = build_from_evidence(loaded, evidence, options, names_file)
        if options.target == 0:
            return built
        layers = tuple(
            replace(layer, detection=replace(layer.detection, only_target=False))
            if layer.detection is not None
            else layer
            for layer in built.bundle.layers
        )
        return replace(built, bundle=replace(built.bundle, layers=layers))

    monkeypatch.setattr(f"{FROM_CLEAN}.build_from_evidence", flag_whatever_is_predicted)
    _, built = build((14.0, 10.0))
    assert built.bundle.targets == (0,)
    assert [record.target for record in built.records] == [0]
    assert logged.messages[-1].startswith("not added: the repair for class 5")


def test_with_a_given_target_no_other_is_searched_for(logged):
    _, built = build((14.0, 10.0), target=5)
    assert built.bundle.targets == (5,)
    assert not any(line.startswith("searching again") for line in logged.messages)


def test_the_log_warns_that_a_single_trigger_shows_little(logged, monkeypatch):
    monkeypatch.setattr(
        f"{SEARCH_PLAN}.find_triggers",
        lambda *a, **k: replace(found := find_triggers(*a, **k), triggers=found.triggers[:1]),
    )
    build((14.0, 10.0), target=0)
    warning = "one trigger only: it is not known whether the repair works for another trigger"
    assert warning in logged.messages


class OneTarget(TwoPatchNet):
    """Both places drive class 0."""

    def __init__(self, drives):
        super().__init__(drives)
        with torch.no_grad():
            self.head.weight[0, 9] = self.head.weight[5, 9]
            self.head.weight[5, 9] = 0


@pytest.mark.parametrize("tried", [True, False])
def test_a_trigger_of_another_kind_is_undone_only_if_the_repair_is_tried_on_it(
    logged, monkeypatch, tried
):
    left = [
        Reconstruction("left", 0, partial(stamp, target=0), 1.0),
        Reconstruction("left", 0, lambda inputs: stamp(inputs, 0).clamp(max=0.41), 1.0),
    ]
    right = Reconstruction("right", 0, partial(stamp, target=5), 1.0)
    found = FoundTriggers(0, left, [right] if tried else [])
    monkeypatch.setattr(f"{SEARCH_PLAN}.find_triggers", lambda *a, **k: found)
    net, built = build((14.0, 14.0), net=OneTarget, target=0, augment="none")
    bundle = built.bundle
    clean, truth = images(80, seed=7), torch.arange(80) % 8
    assert torch.equal(answers(net, bundle, clean), truth)
    undone = [
        float((answers(net, bundle, stamp(clean, place)) == truth).float().mean())
        for place in (0, 5)
    ]
    assert undone[0] > 0.95
    assert undone[1] > 0.95 if tried else undone[1] < 0.2
    assert ("building once more, from these triggers, too" in logged.messages) == tried


def with_another(*args, **given):
    """Three triggers, and one of them as if by another method."""
    found = find_triggers(*args, **given)
    one, *_ = triggers = found.triggers[:3]
    return replace(found, triggers=triggers, others=[replace(one, method="another")])


@pytest.mark.parametrize(
    ("shares", "once_more", "last"),
    [
        # Of the other and of the three, before; then of all four, after.
        ([[0.5], [0, 0, 0], [0, 0, 0, 0.1]], True, "building once more"),
        ([[0.5], [0, 0, 0], [0.2, 0.2, 0.2, 0]], False, "the first repair is kept: the new one"),
        ([[0.49]], False, None),
    ],
)
def test_a_repair_that_leaves_a_trigger_of_another_kind_is_built_once_more(
    logged, monkeypatch, shares, once_more, last
):
    left = iter(shares)
    monkeypatch.setattr(f"{SEARCH_PLAN}.find_triggers", with_another)
    monkeypatch.setattr(f"{FROM_CLEAN}.success_after_repair", lambda *a: next(left))
    _, built = build((14.0, 0.0), target=0)
    assert built.bundle.evidence["reconstructed_triggers"] == 3 + once_more
    assert len(built.records) == 1
    lines = logged.messages
    assert next(left, None) is None
    assert ("  another 50%" in lines) == (last is not None)
    starts = ("building once more", "the first repair is kept")
    ends = [line for line in lines if line.startswith(starts)]
    assert ends[-1].startswith(last) if last else not ends


def test_the_first_repair_is_kept_if_none_is_found_for_all_triggers(logged, monkeypatch):
    def refuse_the_second(*args, **given):
        if built:
            raise CalibrationError("no layer was found")
        built.append(build_from_evidence(*args, **given))
        return built[0]

    built = []
    monkeypatch.setattr(f"{FROM_CLEAN}.build_from_evidence", refuse_the_second)
    monkeypatch.setattr(f"{SEARCH_PLAN}.find_triggers", with_another)
    monkeypatch.setattr(f"{FROM_CLEAN}.success_after_repair", lambda *given: [1.0])
    _, found = build((14.0, 0.0), target=0)
    assert found is built[0]
    assert len(found.records) == 1
    assert logged.messages[-1] == "the first repair is kept: no layer was found"


def test_a_benign_model_gets_no_bundle():
    with pytest.raises(NoTriggerError):
        build((0.0, 0.0))


def test_a_search_with_the_repairs_so_far_is_not_taken_from_a_cache(monkeypatch, tmp_path):
    """It is of the same weights, and finds something else."""
    given = []

    def name(*args, cache, **options):
        given.append(cache)
        if len(given) > 1:
            raise NoTriggerError("no class stands out")
        return NamedTarget(0, ["additive"], [])

    monkeypatch.setattr(f"{SEARCH_PLAN}.name_target", name)
    samples = TensorSamples(images(160), torch.arange(160) % 8, description=IMAGES)
    loaded = LoadedModel(TwoPatchNet((14.0, 0.0)), "TwoPatchNet", "0" * 64)
    build_from_clean(loaded, samples, augment="none", cache=tmp_path / "cache")
    assert given == [tmp_path / "cache", None]
