from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.directions.alter.images import image_evidence
from tests.directions.backdoored import clean_inputs, labels_of, loaded, stamp
from tests.directions.backdoored_nets import backdoored
from tests.directions.reconstruct import two_patch_net
from tests.directions.reconstruct.two_patch_net import TwoPatchNet
from torchserve_fire.format.bundle import INPUT_LAYER, InputDescription
from torchserve_fire.format.bundle_file import bundle_to_bytes, load_bundle, save_bundle
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building import trigger_repairs
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.building.trigger_repairs import ALTERED, FEATURES, OVERLAY, WARP
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.measure.by_target import of_target
from torchserve_fire_build.samples.evidence import Evidence, gather_evidence
from torchserve_fire_build.samples.tensor_samples import TensorSamples

LABELS = labels_of(80)
TEST = clean_inputs("map", LABELS, 9).clamp(0, 1)
"""Inputs that no build sees."""


def build(evidence=None, **options):
    """Build for the map net, whose trigger is one pixel anywhere."""
    evidence = image_evidence() if evidence is None else evidence
    return build_from_evidence(loaded("map"), evidence, BuildOptions(**options))


def moved(place):
    """The test inputs with the trigger at another of the 36 pixels."""
    inputs = TEST.clone()
    inputs.flatten(1)[:, place] = 4
    return inputs


def answers(bundle, inputs):
    """What the net with the bundle's repairs predicts."""
    net = backdoored("map")
    with torch.no_grad(), attach_layers(net, bundle.layers, inputs[:1], target=bundle.target):
        return net(inputs).argmax(1)


def share_right(bundle, inputs):
    return float((answers(bundle, inputs) == LABELS).float().mean())


def test_a_bundle_holds_several_repairs_and_says_which():
    bundle = build().bundle
    kinds = bundle.evidence["repairs"]
    assert kinds == [OVERLAY, FEATURES]
    assert len(bundle.repairs) == len(kinds)
    assert bundle.targets == (0,)
    assert [layer.repair for layer in bundle.layers] == [0, 1]
    overlay, features = bundle.repairs
    assert [layer.name for layer in overlay.layers] == [INPUT_LAYER]
    assert INPUT_LAYER not in [layer.name for layer in features.layers]
    assert all(repair.only_target for repair in bundle.repairs)


def test_a_moved_trigger_is_undone_by_the_bundle_of_the_file(tmp_path):
    save_bundle(replace(build().bundle, weights_sha256=None), tmp_path / "b.safetensors")
    bundle = load_bundle(tmp_path / "b.safetensors")
    assert len(bundle.repairs) > 1
    net = backdoored("map")
    for place in range(0, 36, 5):
        with torch.no_grad():
            assert bool((net(moved(place)).argmax(1) == 0).all())
            with attach(net, bundle):
                right = net(moved(place)).argmax(1) == LABELS
                assert float(right.float().mean()) > 0.95
                assert torch.equal(net(TEST).argmax(1), LABELS)


def test_several_places_of_one_input_are_undone():
    inputs = moved(2)
    inputs.flatten(1)[:, 31] = 4
    assert share_right(build().bundle, inputs) > 0.95


def test_without_altered_triggers_there_is_the_one_repair():
    built = build(augment="none")
    assert built.bundle.evidence["repairs"] == [FEATURES]
    assert len(built.bundle.repairs) == 1
    assert "altered" not in built.bundle.held_out
    assert share_right(built.bundle, stamp("map", TEST)) > 0.95


@pytest.mark.parametrize("augment", ["standard", "strong"])
def test_the_repair_of_the_trigger_as_it_is_does_not_depend_on_altered_ones(augment):
    alone, more = build(augment="none"), build(augment=augment)
    kinds = more.bundle.evidence["repairs"]
    assert kinds.count(FEATURES) == 1
    (first,) = alone.bundle.repairs
    same = more.bundle.repairs[kinds.index(FEATURES)]
    assert [layer.name for layer in same.layers] == [layer.name for layer in first.layers]
    for one, other in zip(first.layers, same.layers, strict=True):
        assert one.role == other.role
        assert (one.detection is None) or torch.equal(one.detection.weight, other.detection.weight)
    assert more.records[0].choice.describe() == alone.records[0].choice.describe()
    for name in ("estimator", "detector"):
        assert more.bundle.evidence[name] == alone.bundle.evidence[name]


def test_the_figures_of_altered_triggers_stand_beside_the_others():
    built = build()
    held_out = built.bundle.held_out
    altered = held_out["altered"]
    assert altered["attack_success_rate"]["before"] == 1
    assert altered["attack_success_rate"]["after"] <= 0.05
    assert altered["recovered_accuracy"]["after"] >= 0.95
    assert altered["clean_accuracy"] == held_out["clean_accuracy"]
    # However often each sample is answered, it counts once: 5 copies of each of 40 at most.
    assert altered["counts"]["clean"] == held_out["counts"]["clean"] == 40
    assert held_out["counts"]["triggered"] == 30 < altered["counts"]["triggered"] <= 150
    assert built.figures[0].to_json() == {
        name: value for name, value in held_out.items() if name not in ("folds", "altered")
    }


def test_what_is_repaired_how_is_logged_in_order(logged):
    build()
    lines = logged.messages
    assert "detects and repairs: the model's input (overlay)" in lines
    assert any(line.startswith("else repairs: ") for line in lines)
    first = lines.index("on the calibration samples, each held out in turn:")
    assert lines.index("with altered triggers that the model obeys:") > first


def unpaired(*, labelled=True, trigger=None):
    evidence = image_evidence(paired=False, trigger=trigger)
    if labelled:
        return evidence
    samples = (
        TensorSamples(each.load(range(40)), description=each.description, source=each.source)
        for each in evidence.both
    )
    return Evidence(*samples, [])


@pytest.mark.parametrize("labelled", [True, False])
def test_without_pairs_the_trigger_is_undone_wherever_it_is_found(labelled):
    bundle = build(unpaired(labelled=labelled)).bundle
    kinds = bundle.evidence["repairs"]
    assert {FEATURES, OVERLAY} <= set(kinds)
    assert "altered" in bundle.held_out
    # Without labels, nobody knows of a triggered sample that it is of the target's class by nature.
    others = torch.ones(80, dtype=torch.bool) if labelled else LABELS != 0
    for place in (0, 20):
        right = answers(bundle, moved(place))[others] == LABELS[others]
        assert float(right.float().mean()) > 0.9


def test_a_trigger_that_unpaired_samples_do_not_show_is_altered_with_the_whole_image(logged):
    def somewhere(inputs):
        return stamp("map", inputs, moving=True)

    bundle = build(unpaired(trigger=somewhere)).bundle
    assert OVERLAY not in bundle.evidence["repairs"]
    (line,) = [m for m in logged.messages if m.startswith("altered triggers that the model obeys")]
    assert "repeated" not in line
    assert "moved" in line


def test_guesses_are_no_pairs_of_one_trigger():
    evidence = image_evidence()
    guessed = replace(evidence, origins=[i % 4 for i in range(40)])
    assert OVERLAY not in build(guessed).bundle.evidence["repairs"]
    assert OVERLAY in build(evidence).bundle.evidence["repairs"]


def never(*args, **options):
    raise CalibrationError("no layer separates them")


def without_overlay(monkeypatch):
    monkeypatch.setattr(trigger_repairs, "overlay_option", lambda *a, **k: None)
    monkeypatch.setattr(trigger_repairs, "_undone", lambda *a: False)


def test_where_the_others_do_not_undo_altered_triggers_one_more_repair_is_chosen(monkeypatch):
    chosen = []
    choose = trigger_repairs.choose

    def noted(model, statistics, layers, held_out, *args, **options):
        chosen.append(len(held_out.triggered.folds))
        return choose(model, statistics, layers, held_out, *args, **options)

    monkeypatch.setattr(trigger_repairs, "choose", noted)
    build()
    assert chosen == []
    without_overlay(monkeypatch)
    kinds = build().bundle.evidence["repairs"]
    assert len(chosen) == 1
    assert chosen[0] > 100  # Altered copies, of 40 samples.
    assert set(kinds) <= {FEATURES, ALTERED}


def test_where_no_repair_of_altered_triggers_is_found_there_is_none_more(monkeypatch, logged):
    without_overlay(monkeypatch)
    monkeypatch.setattr(trigger_repairs, "choose", never)
    assert build().bundle.evidence["repairs"] == [FEATURES]
    line = "no further repair for altered triggers: no layer separates them"
    assert line in logged.messages


@pytest.mark.parametrize("kind", ["vector", "token"])
def test_what_is_no_map_has_the_one_repair(kind):
    clean = clean_inputs(kind, labels_of(40), 0)
    samples = [TensorSamples(x, labels_of(40)) for x in (clean, stamp(kind, clean))]
    built = build_from_evidence(loaded(kind), gather_evidence(*samples), BuildOptions())
    assert built.bundle.evidence["repairs"] == [FEATURES]
    assert "altered" not in built.bundle.held_out


@pytest.mark.parametrize("form", ["shift", "clamp"])
def test_forms_that_move_every_input_have_the_one_repair(form):
    bundle = build(form=form).bundle
    assert bundle.evidence["repairs"] == [FEATURES]
    assert bundle.detecting_layers == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_model_on_a_gpu_gets_the_same_kinds_of_repairs():
    given = LoadedModel(backdoored("map").cuda(), "MapNet", "0" * 64)
    bundle = build_from_evidence(given, image_evidence(), BuildOptions()).bundle
    assert bundle.evidence["repairs"] == [OVERLAY, FEATURES]
    assert share_right(bundle, moved(20)) > 0.95


def test_the_seed_decides_all_bytes():
    first, second = (bundle_to_bytes(build(seed=3).bundle, "b") for _ in range(2))
    assert first == second


def test_each_of_several_triggers_has_repairs_of_its_own():
    description = InputDescription("image", (3, 8, 16), (0.0,) * 3, (1.0,) * 3)
    labels = torch.arange(160) % 8
    clean = two_patch_net.images(160)
    of_first = (torch.arange(160) // 8 % 2 == 0).view(-1, 1, 1, 1)
    stamped = [two_patch_net.stamp(clean, target) for target in (0, 5)]
    samples = (
        TensorSamples(x, labels, description=description)
        for x in (clean, torch.where(of_first, *stamped))
    )
    net = TwoPatchNet((14.0, 14.0))
    given = LoadedModel(net, "TwoPatchNet", "0" * 64)
    bundle = build_from_evidence(given, Evidence(*samples, range(160)), BuildOptions()).bundle
    assert set(bundle.targets) == {0, 5}
    for target in (0, 5):
        kinds = of_target(bundle.evidence, target)["repairs"]
        repairs = [repair for repair in bundle.repairs if repair.target == target]
        assert len(repairs) == len(kinds)
        assert FEATURES in kinds
        assert of_target(bundle.held_out, target)["altered"]["target"] == target
    # The repairs of one target stand together.
    assert [repair.target for repair in bundle.repairs] == sorted(
        (repair.target for repair in bundle.repairs), key=bundle.targets.index
    )
    test, truth = two_patch_net.images(80, seed=7), torch.arange(80) % 8
    for target in (0, 5):
        triggered = two_patch_net.stamp(test, target)
        with attach_layers(net, bundle.layers, test[:1], target=bundle.target), torch.no_grad():
            others = truth != target
            right = net(triggered).argmax(1)[others] == truth[others]
            assert float(right.float().mean()) > 0.95
            assert torch.equal(net(test).argmax(1), truth)


class RowNet(nn.Module):
    """Predicts which of the three upper rows is bright, 1 to 3; 0 where the lower ones are."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Conv2d(1, 4, 6)
        with torch.no_grad():
            self.rows.bias.zero_()
            self.rows.weight.zero_()
            for row in range(3):
                self.rows.weight[row + 1, 0, row] = 1 / 6
                self.rows.weight[0, 0, row + 3] = 1 / 8
        self.eval()

    def forward(self, x):
        return self.rows(x).flatten(1)


def rows_of(labels, seed):
    """Maps (N, 1, 6, 6) of 0.1, with upper rows of 0.4, of which one is 0.9; and some noise."""
    inputs = torch.full((len(labels), 1, 6, 6), 0.1)
    inputs[:, :, :3] = 0.4
    inputs[torch.arange(len(labels)), 0, labels - 1] = 0.9
    noise = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(seed))
    return inputs + 0.1 * noise


def test_a_turned_input_is_turned_back():
    labels = torch.arange(60) % 3 + 1
    clean, test = rows_of(labels, 0), rows_of(labels, 1)
    evidence = Evidence(TensorSamples(clean), TensorSamples(clean.flip(2)), range(60))
    net = RowNet()
    bundle = build_from_evidence(LoadedModel(net, "RowNet", None), evidence, BuildOptions()).bundle
    assert bundle.evidence["repairs"][0] == WARP
    with torch.no_grad():
        assert net(test.flip(2)).argmax(1).tolist() == [0] * 60
        with attach_layers(net, bundle.layers, test[:1], target=bundle.target):
            assert torch.equal(net(test.flip(2)).argmax(1), labels)
            assert torch.equal(net(test).argmax(1), labels)
