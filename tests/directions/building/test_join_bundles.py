from dataclasses import replace

import pytest

from tests.handler.bundles import small_bundle
from torchserve_fire_build.building.join_bundles import join_bundles, renew_repairs
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.measure.by_target import of_target


def bundle_for(target, layers):
    return replace(small_bundle(), target=target, layers=layers, evidence={"clean": 10 * target})


def test_each_repair_keeps_its_layers_and_its_target():
    late, early, middle, *_ = small_bundle().layers
    first, second = bundle_for(2, (late, early)), bundle_for(1, (late, middle))
    joined = join_bundles(first, second)
    assert joined.targets == (2, 1)
    assert [[layer.name for layer in repair.layers] for repair in joined.repairs] == [
        ["late", "early"],
        ["late", "middle"],
    ]
    assert of_target(joined.evidence, 2) == {"clean": 20}
    assert of_target(joined.evidence, 1) == {"clean": 10}
    assert of_target(joined.held_out, 1) == {"clean_accuracy": 0.75}
    assert joined.digest == ""


def test_a_third_bundle_is_joined_to_two():
    layers = small_bundle().layers[:2]
    two = join_bundles(bundle_for(2, layers), bundle_for(1, layers))
    three = join_bundles(two, bundle_for(3, layers))
    assert three.targets == (2, 1, 3)
    assert [of_target(three.evidence, t)["clean"] for t in three.targets] == [20, 10, 30]


def test_a_newer_repair_replaces_the_older_one_of_its_target():
    late, early, middle, *_ = small_bundle().layers
    older = join_bundles(bundle_for(2, (late, early)), bundle_for(1, (late, early)))
    newer = replace(bundle_for(1, (late, middle)), evidence={"clean": 99})
    renewed = renew_repairs(older, newer)
    assert renewed.targets == (1, 2)
    assert [layer.name for layer in renewed.repairs[0].layers] == ["late", "middle"]
    assert [layer.name for layer in renewed.repairs[1].layers] == ["late", "early"]
    assert [of_target(renewed.evidence, t)["clean"] for t in (1, 2)] == [99, 20]
    assert renew_repairs(bundle_for(1, (late, early)), newer) is newer


def several_for(target, *names):
    """A bundle with a repair for each of these names, in this order, all for one target."""
    detecting, repairing, *_ = small_bundle().layers
    layers = [
        replace(layer, name=f"{name} {layer.role}", repair=place)
        for place, name in enumerate(names)
        for layer in (detecting, repairing)
    ]
    return bundle_for(target, tuple(layers))


def repairs_named(bundle):
    """The target of each repair, and the name of its layers."""
    return [
        (repair.target, *{layer.name.split()[0] for layer in repair.layers})
        for repair in bundle.repairs
    ]


def test_several_repairs_for_one_target_stay_together_and_in_order():
    joined = join_bundles(several_for(2, "first", "next"), several_for(1, "last"))
    assert repairs_named(joined) == [(2, "first"), (2, "next"), (1, "last")]
    assert joined.targets == (2, 1)
    assert all(len(repair.layers) == 2 for repair in joined.repairs)
    assert of_target(joined.evidence, 2) == {"clean": 20}
    more = join_bundles(several_for(3, "one", "other"), joined)
    assert repairs_named(more) == [(3, "one"), (3, "other"), *repairs_named(joined)]


def test_newer_repairs_replace_all_older_ones_of_their_target():
    older = join_bundles(several_for(2, "first", "next"), several_for(1, "old", "older"))
    renewed = renew_repairs(older, several_for(1, "new"))
    assert repairs_named(renewed) == [(1, "new"), (2, "first"), (2, "next")]
    renewed = renew_repairs(older, several_for(2, "new", "newer"))
    assert repairs_named(renewed) == [(2, "new"), (2, "newer"), (1, "old"), (1, "older")]


def test_a_bundle_that_flags_any_prediction_cannot_be_joined():
    late, early, *_ = small_bundle().layers
    older = join_bundles(bundle_for(2, (late, early)), bundle_for(1, (late, early)))
    detection = replace(late.detection, only_target=False)
    newer = bundle_for(1, (replace(late, detection=detection), early))
    with pytest.raises(CalibrationError, match=r"class 1 flags samples whatever .* class 2"):
        renew_repairs(older, newer)
