from dataclasses import replace

import pytest
import torch

from tests.directions.alter.images import everything, image_evidence
from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import MapNet, backdoored
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.alter.alterations import OF_IMAGES, STRONG
from torchserve_fire_build.alter.altered_samples import AlteredSamples
from torchserve_fire_build.building import alter_evidence
from torchserve_fire_build.building.alter_evidence import (
    COPIES,
    MAX_CHANNELS,
    MAX_COPIES,
    alter_triggered,
    is_alterable,
)
from torchserve_fire_build.measure.observation import observe
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.tensor_samples import TensorSamples


class CornerNet(MapNet):
    """The map net, whose trigger works in the top left corner alone."""

    def forward(self, x):
        x = x.clone()
        x.flatten(1)[:, 1:].clamp_(max=2)
        return super().forward(x)


def of_corner():
    model = backdoored("map")
    model.__class__ = CornerNet
    return model


def observed(model, **options):
    return observe(model, image_evidence(**options))


def altered(model, observation, *, use=None, strong=False, seed=0):
    count = len(observation.evidence.triggered)
    return alter_triggered(
        model,
        observation,
        torch.ones(count, dtype=torch.bool) if use is None else use,
        Both(torch.arange(len(observation.evidence.clean)), torch.arange(count)),
        strong=strong,
        generator=torch.Generator().manual_seed(seed),
    )


def logged_kinds(logged):
    (line,) = [m for m in logged.messages if m.startswith("altered triggers that the model obeys")]
    return line.split(": ")[1].split(", ")


def test_a_trigger_that_works_anywhere_is_obeyed_wherever_it_is_moved(logged):
    model = backdoored("map")
    found = altered(model, observed(model))
    kinds = logged_kinds(logged)
    assert {"moved near", "moved further", "moved far", "moved anywhere", "repeated"} <= set(kinds)
    assert not set(kinds) & set(STRONG)
    inputs = everything(found.observation.evidence.triggered)
    places = {tuple((one[0] > 2).nonzero()[0].tolist()) for one in inputs}
    assert len(places) > 20


def test_a_kind_that_the_model_does_not_obey_is_dropped(logged):
    model = of_corner()
    found = altered(model, observed(model))
    kinds = logged_kinds(logged)
    assert {"as it is", "weaker", "repeated"} <= set(kinds)
    assert not any(kind.startswith("moved") for kind in kinds)
    inputs = everything(found.observation.evidence.triggered)
    assert bool((inputs[:, 0, 0, 0] > 2).all())


def test_strong_takes_further_kinds(logged):
    model = backdoored("map")
    altered(model, observed(model), strong=True)
    assert {"stronger", "flipped"} <= set(logged_kinds(logged))


def test_a_copy_that_leads_elsewhere_is_dropped(logged):
    # An input of 4 that is recoloured to less than half leads nowhere; most are recoloured less.
    model = backdoored("map")
    observation = observed(model)
    found = altered(model, observation)
    with torch.no_grad():
        predicted = model(everything(found.observation.evidence.triggered)).argmax(1)
    assert bool((predicted == 0).all())
    assert len(found.originals) < COPIES
    counts = next(line for line in logged.messages if line.startswith("altered copies: "))
    assert sum(int(part.split()[-1]) for part in counts.split(", ")) == len(found.originals)


def test_the_observation_is_of_the_same_clean_samples_and_of_the_copies():
    model = backdoored("map")
    before = observed(model)
    found = altered(model, before)
    after, originals = found.observation, found.originals
    assert originals.tolist() == sorted(originals.tolist())
    assert after.evidence.clean is before.evidence.clean
    assert torch.equal(after.logits.clean, before.logits.clean)
    # Each sample is a fold of its own here.
    assert torch.equal(found.folds.clean, torch.arange(len(after.evidence.clean)))
    assert torch.equal(found.folds.triggered, originals)
    assert list(after.evidence.partners) == originals.tolist()
    assert torch.equal(after.labels.triggered, before.labels.triggered[originals])
    assert len(after.evidence.triggered) == len(after.logits.triggered) == len(originals)
    with torch.no_grad():
        logits = model(everything(after.evidence.triggered))
    torch.testing.assert_close(logits, after.logits.triggered)


@pytest.mark.parametrize(("count", "each"), [(20, MAX_COPIES), (40, 5), (150, 1), (500, 1)])
def test_few_pairs_give_many_copies_each(monkeypatch, count, each):
    wanted = []

    class Noted(AlteredSamples):
        def __init__(self, evidence, copies, fit):
            super().__init__(evidence, copies, fit)
            wanted.append(copies)

    monkeypatch.setattr(alter_evidence, "AlteredSamples", Noted)
    model = backdoored("map")
    found = altered(model, observed(model, count=count))
    per_sample = torch.tensor([copy.original for copy in wanted[-1]]).bincount(minlength=count)
    assert per_sample.tolist() == [each] * count
    # Of the copies that are obeyed, none is of another sample.
    assert int(found.originals.bincount().max()) <= each
    # Each kind is as frequent as the others.
    kinds = [copy.kind for copy in wanted[-1]]
    frequent = [kinds.count(kind) for kind in set(kinds)]
    assert max(frequent) - min(frequent) <= max(1, count * each // len(frequent) // 4)


def test_copies_are_made_of_the_samples_on_which_the_trigger_works():
    model = backdoored("map")
    use = torch.arange(40) % 4 == 1
    found = altered(model, observed(model), use=use)
    assert set(found.originals.tolist()) == set(use.nonzero().flatten().tolist())
    assert int(found.originals.bincount().max()) <= MAX_COPIES


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides(seed):
    model = backdoored("map")
    observation = observed(model)
    first, second = altered(model, observation), altered(model, observation, seed=seed)
    inputs = [everything(one.observation.evidence.triggered) for one in (first, second)]
    same = len(inputs[0]) == len(inputs[1]) and torch.equal(*inputs)
    assert same == (seed == 0)


def test_without_pairs_whole_images_are_altered(logged):
    model = backdoored("map")
    found = altered(model, observed(model, paired=False))
    kinds = set(logged_kinds(logged))
    assert kinds <= set(OF_IMAGES) - set(STRONG)
    assert "moved near" in kinds
    assert list(found.observation.evidence.partners) == []
    assert not found.observation.evidence.paired


def test_without_labels_copies_have_none():
    model = backdoored("map")
    observation = observed(model)
    observation = replace(observation, labels=replace(observation.labels, triggered=None))
    assert altered(model, observation).observation.labels.triggered is None


def test_copies_of_guesses_keep_the_guess_that_they_are_of():
    model = backdoored("map")
    observation = observed(model)
    origins = [i % 3 for i in range(40)]
    evidence = replace(observation.evidence, origins=origins)
    found = altered(model, replace(observation, evidence=evidence))
    expected = [origins[i] for i in found.originals.tolist()]
    assert list(found.observation.evidence.origins) == expected


def test_there_are_none_of_a_trigger_that_the_model_does_not_obey(logged):
    # What is seen of it is not what leads to the class: the model answers by another sample.
    model = backdoored("map")
    observation = observed(model)
    elsewhere = observation.logits.triggered.roll(1, 1)
    logits = replace(observation.logits, triggered=elsewhere)
    assert altered(model, replace(observation, logits=logits)) is None
    assert logged_kinds(logged) == ["none"]


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("image", (3, 8, 8), True),
        ("tensor", (1, 6, 6), True),
        ("tensor", (MAX_CHANNELS, 6, 6), True),
        ("tensor", (MAX_CHANNELS + 1, 6, 6), False),
        ("tensor", (6,), False),
        ("tensor", (3, 6), False),
        ("integers", (1, 6, 6), False),
    ],
)
def test_images_and_what_is_like_them_can_be_altered(kind, shape, expected):
    dtype = torch.int64 if kind == "integers" else torch.float32
    of_images = ((0.0,) * 3, (1.0,) * 3) if kind == "image" else ()
    samples = TensorSamples(
        torch.zeros(2, *shape, dtype=dtype), description=InputDescription(kind, shape, *of_images)
    )
    assert is_alterable(Evidence(samples, samples, range(2))) == expected


def test_maps_that_are_no_images_are_altered_beyond_their_range():
    model = backdoored("map")
    clean = clean_inputs("map", labels_of(40), 0)
    samples = [TensorSamples(x, labels_of(40)) for x in (clean, stamp("map", clean))]
    evidence = Evidence(*samples, range(40))
    found = altered(model, observe(model, evidence), strong=True)
    # The most that an image holds is a pixel of 1, an input of 5.
    assert float(everything(found.observation.evidence.triggered).max()) > 5


def test_of_very_many_triggered_samples_some_are_copied(monkeypatch):
    model = backdoored("map")
    monkeypatch.setattr(alter_evidence, "MOST_COPIED", 5)
    found = altered(model, observed(model))
    assert found is not None
    assert len(set(found.originals.tolist())) <= 5
