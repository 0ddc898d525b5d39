"""Everything that is registered, held to the contract of its kind."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.directions import backdoored as vectors
from tests.directions.backdoored_nets import backdoored
from tests.directions.pool.pools import two_blobs
from tests.directions.reconstruct import patch_net
from tests.directions.reconstruct.patch_net import PatchNet, images
from tests.directions.sanitize.nets import generator, same_form
from tests.directions.their_package import install
from tests.handler.bundles import small_bundle
from torchserve_fire.format.bundle import Bundle, InputDescription, Layer
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.corrections import build_correction, project
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.estimate.detectors import BY_TOKEN, DETECTORS
from torchserve_fire_build.estimate.layer_statistics import LayerStatistics
from torchserve_fire_build.estimate.registry import REPAIRS
from torchserve_fire_build.inspection import shadow_models
from torchserve_fire_build.inspection.inspection import Inspection
from torchserve_fire_build.inspection.meta_classifier import MIN_SHADOWS
from torchserve_fire_build.inspection.methods import INSPECTION_METHODS, InspectionSettings
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction, reconstruction_of
from torchserve_fire_build.reconstruct.settings import SearchSettings
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples
from torchserve_fire_build.sanitize.methods import SANITIZE_METHODS, SanitizeInputs
from torchserve_fire_build.sanitize.training import Schedule

REGISTRIES = (
    DETECTORS,
    REPAIRS,
    POOL_METHODS,
    SEARCH_METHODS,
    INSPECTION_METHODS,
    SANITIZE_METHODS,
)
SHAPE = (3, 4, 4)
CLEAN = torch.randn(50, *SHAPE, generator=torch.Generator().manual_seed(0))
TRIGGERED = CLEAN + torch.tensor([0.0, 8.0, 0.0]).view(3, 1, 1)
"""Maps, and the same with a trigger that lights one of their channels."""


def statistics(*, paired: bool = True, of_target: int = 50) -> LayerStatistics:
    """Statistics of these maps, of whose clean ones the first are predicted as the target."""
    found = LayerStatistics()
    target = torch.arange(50) < of_target
    partners = torch.arange(50) if paired else None
    found.add(torch.cat([TRIGGERED, CLEAN]), 50, target, partners=partners)
    return found


def reloaded(folder: Path, layer: Layer) -> Layer:
    """Return a layer as it comes out of a bundle's file."""
    bundle: Bundle = replace(small_bundle(), layers=(layer,))
    path = folder / "b.safetensors"
    save_bundle(bundle, path)
    (found,) = load_bundle(path).layers
    return found


# Those of single tokens are of layers of any length alone: tests/directions/estimate/test_local.py.
@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in BY_TOKEN])
def test_a_detector_gives_0_to_the_clean_mean_and_1_to_the_triggered_mean(name, tmp_path):
    detector = DETECTORS[name](statistics())
    assert detector is not None
    means = torch.stack([CLEAN.mean(0), TRIGGERED.mean(0)])
    scores = project(means, detector.weight) - detector.offset
    assert scores.tolist() == pytest.approx([0, 1], abs=0.01)
    # In a bundle it flags what lies beyond the threshold, and nothing else.
    detection = detector.detection(0.5, scores[:1], only_target=False)
    layer = Layer("any", SHAPE, detection, Shift(CLEAN[0], 1.0))
    stored = reloaded(tmp_path, layer).detection
    flagged = project(means, stored.weight.float()) > stored.threshold
    assert flagged.tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "paired"),
    # With pairs, the classes do not differ: nothing is left for that of other classes.
    [
        (n, paired)
        for n in REPAIRS
        for paired in (True, False)
        if (n, paired) != ("from_others", True)
    ],
)
def test_a_repair_moves_the_triggered_mean_to_the_clean_one_from_a_bundle_too(
    name, paired, tmp_path
):
    of_target = 25 if name == "from_others" else 50
    correction = REPAIRS[name](statistics(paired=paired, of_target=of_target))
    assert correction is not None
    assert correction.strength == 1
    mean = TRIGGERED.mean(0)[None]
    moved = build_correction(correction)(mean)
    assert float((moved - CLEAN.mean(0)).norm()) < 0.5 * float((mean - CLEAN.mean(0)).norm())
    layer = Layer("any", SHAPE, correction=correction)
    stored = reloaded(tmp_path, layer).correction
    assert type(stored) is type(correction)
    torch.testing.assert_close(build_correction(stored)(mean), moved, rtol=1e-2, atol=1e-2)
    halfway = build_correction(replace(correction, strength=0.5))(mean)
    torch.testing.assert_close(halfway, (mean + moved) / 2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", list(REPAIRS))
def test_a_repair_is_none_where_there_is_nothing_to_move(name):
    found = LayerStatistics()
    found.add(torch.cat([CLEAN, CLEAN]), 50, torch.ones(50, dtype=torch.bool), partners=None)
    assert REPAIRS[name](found) is None


@pytest.mark.parametrize("name", list(POOL_METHODS))
def test_a_pool_method_scores_planted_samples_apart(name):
    features, planted = two_blobs(100, 30)
    # What is triggered in the same way lies closer together.
    features[planted] *= [1.0, *[0.3] * 19]
    scores = POOL_METHODS[name](features, None, 0)
    assert scores.shape == (130,)
    assert np.isfinite(scores).all()
    above = float((scores[planted][:, None] > scores[~planted][None]).mean())
    assert max(above, 1 - above) > 0.98


STEPS = {"abs": 60, "deepinspect": 300, "neural-cleanse": 60, "tabor": 60}
"""Of those that take more than 40 to lead to the target."""


@pytest.mark.parametrize("name", patch_net.FIND_IT)
def test_a_search_finds_a_trigger_that_leads_to_its_target(name):
    method, of = SEARCH_METHODS[name], patch_net.subject(drive=20.0)
    bound = patch_net.settings(name).method(name).bound
    search = method.start(of, 0, generator(), bound)
    search.advance(STEPS.get(name, 40))
    found = reconstruction_of(name, of, 0, search)
    assert (found.method, found.target) == (name, 0)
    assert found.success > 0.5
    # What it stamps is an input like the others, and what it takes is a number.
    stamped = found.stamp(of.inputs)
    assert stamped.shape == of.inputs.shape
    assert 0 <= float(stamped.min()) <= float(stamped.max()) <= 1
    assert np.isfinite(search.effort(0.1))


@pytest.mark.parametrize("name", list(INSPECTION_METHODS))
def test_an_inspection_compares_the_classes_or_says_why_not(name, monkeypatch):
    monkeypatch.setattr(shadow_models, "EPOCHS", 1)
    description = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    labels = vectors.labels_of(64)
    clean = TensorSamples(images(64), labels, description=description)
    settings = InspectionSettings(shadows=MIN_SHADOWS, search=SearchSettings(screening_steps=3))
    model = PatchNet()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inspect = INSPECTION_METHODS[name].make(settings)
    for budget in (Budget(), Budget(0)):
        found = inspect(model, clean, 4, generator(), budget)
        assert isinstance(found, Inspection)
        assert found.method == name
        if found.index is None:
            assert found.backdoored is not None or found.notes
        else:
            assert found.index.shape == (4,)
            assert bool(found.index.isfinite().all())
        # Of all classes, or of those that it says.
        pictured = range(4) if found.pictured is None else found.pictured
        assert found.pictures is None or len(found.pictures) == len(pictured)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module.training for module in model.modules())


@pytest.mark.parametrize("name", list(SANITIZE_METHODS))
def test_a_sanitize_method_returns_another_model_of_the_same_form(name):
    model, labels = backdoored("vector"), vectors.labels_of(64)
    inputs = vectors.clean_inputs("vector", labels, 0)
    direction = torch.tensor([0.0, 0, 0, 0, 3, 0])
    given = SanitizeInputs(
        LabelledSamples(TensorSamples(inputs, labels), labels),
        generator(),
        Schedule(1, 1e-3),
        accuracy_loss=0.1,
        bundle=replace(
            small_bundle(), layers=(Layer("mix", (6,), correction=Shift(direction, 1.0)),)
        ),
        triggers=[Reconstruction("by hand", 0, partial(vectors.stamp, "vector"), 1.0)],
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    changed = SANITIZE_METHODS[name](model, given)
    assert changed is not model
    assert same_form(changed, model)
    assert not changed.training
    assert any(not torch.equal(before[key], value) for key, value in changed.state_dict().items())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert changed(inputs).shape == (64, 4)


LISTED = """
import sys
from torchserve_fire.errors import FireError
from torchserve_fire_build.estimate.detectors import DETECTORS
from torchserve_fire_build.estimate.registry import REPAIRS, SHIFTS
from torchserve_fire_build.inspection.methods import INSPECTION_METHODS
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.sanitize.methods import SANITIZE_METHODS

for each in (
    DETECTORS, REPAIRS, POOL_METHODS, SEARCH_METHODS, INSPECTION_METHODS, SANITIZE_METHODS
):
    print(each.group, *[name for name in each if name in ("broken", "mean_difference", "theirs")])
assert REPAIRS["mean_difference"] is SHIFTS["mean_difference"]
assert "their_methods" not in sys.modules
for name in ("theirs", "broken"):
    try:
        REPAIRS[name]("statistics")
    except FireError as error:
        print(error)
"""


@pytest.mark.slow
def test_an_installed_package_adds_to_each_registry_without_a_fork(tmp_path):
    install(
        tmp_path,
        {
            registry.group: {"theirs": "their_methods:add"}
            | (
                {"broken": "their_broken:add", "mean_difference": "their_methods:add"}
                if registry is REPAIRS
                else {}
            )
            for registry in REGISTRIES
        },
    )
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{LISTED}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    groups = [registry.group for registry in REGISTRIES]
    expected = [f"{group} theirs" for group in groups]
    # What is built in keeps its meaning, and its place before what is added.
    expected[groups.index(REPAIRS.group)] = f"{REPAIRS.group} mean_difference broken theirs"
    # Each search is an inspection, too.
    assert lines[: len(groups)] == expected
    assert lines[len(groups) : -1] == [
        "imported",
        "theirs, an entry point of torchserve_fire.repairs that their-package adds, returned a "
        "tuple, expected Shift or Affine or Clamp or Local or Overlay or Warp or NoneType",
    ]
    assert lines[-1] == (
        "broken, an entry point of torchserve_fire.repairs that their-package adds, cannot be "
        "imported: no such library"
    )
