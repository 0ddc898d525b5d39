from dataclasses import replace

import pytest
import torch

from tests.directions.messages import one_line
from tests.tiny import TinyFiles
from tests.tiny_net import trained
from torchserve_fire.errors import AttachError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.screening.bundle_screening import screen_with_bundle

CORNER = torch.tensor([0.0, 0, 0, 0, 1])


def pictures(*corners):
    """Images whose brightest quadrant is the second, (3, 8, 8) in [0, 1]."""
    inputs = torch.full((len(corners), 3, 8, 8), 0.1)
    inputs[:, :, :4, 4:] = 0.5
    inputs[:, :, 0, 0] = torch.tensor(corners).view(-1, 1)
    return TensorSamples(inputs, names=[f"{i}.png" for i in range(len(corners))])


@pytest.fixture
def bundle(tiny: TinyFiles):
    return replace(load_bundle(tiny.bundle), state_sha256=state_digest(trained().eval()))


def test_what_is_flagged_is_repaired(bundle):
    found = screen_with_bundle(trained().eval(), bundle, pictures(0.1, 1.0))
    assert found.found is True
    clean, triggered = found.rows()
    assert clean == {
        "path": "0.png",
        "predicted": 1,
        "repaired": 1,
        "flagged": False,
        "score": 0,
        "threshold": 1,
        "layer": "features",
        "repair": 0,
    }
    # Three channels of 1, times 4/3, less 2.
    assert triggered == clean | {
        "path": "1.png",
        "predicted": 0,
        "flagged": True,
        "score": pytest.approx(2),
    }
    heading, first, _, verdict = found.table()
    assert heading.split()[:3] == ["sample", "called", "repaired"]
    assert first.split()[:5] == ["1.png", "class", "0", "class", "1"]
    assert verdict.startswith("found: 1 of 2 samples are flagged; the repair has 1 of these")


def test_nothing_is_found_where_none_is_flagged(bundle):
    found = screen_with_bundle(trained().eval(), bundle, pictures(0.1, 0.2))
    assert found.found is False
    assert found.table()[-1].startswith("nothing found")


def test_of_several_repairs_the_one_that_flags_is_named(bundle):
    (first,) = bundle.layers
    blind = replace(first, detection=Detection(CORNER, 50.0, only_target=True))
    seeing = Layer("features", (5,), Detection(CORNER, 1.0, True), Shift(2 * CORNER, 1.0), repair=1)
    both = replace(bundle, layers=(blind, seeing))
    clean, triggered = screen_with_bundle(trained().eval(), both, pictures(0.1, 1.0)).rows()
    assert (triggered["flagged"], triggered["repair"], triggered["threshold"]) == (True, 1, 1)
    assert triggered["score"] == pytest.approx(2)
    # What is not flagged is shown beside the first.
    assert (clean["flagged"], clean["repair"], clean["threshold"]) == (False, 0, 50)


def test_a_bundle_that_does_not_detect_cannot_tell(bundle):
    (layer,) = bundle.layers
    moving = replace(bundle, layers=(replace(layer, detection=None),))
    found = screen_with_bundle(trained().eval(), moving, pictures(1.0))
    assert found.found is None
    (row,) = found.rows()
    assert (row["flagged"], row["repaired"], row["score"]) == (False, 1, None)
    assert found.table()[-1].startswith("could not tell: ")


def test_pictures_of_another_shape_are_refused(bundle):
    with pytest.raises(SamplesError) as caught:
        screen_with_bundle(trained().eval(), bundle, TensorSamples(torch.rand(2, 3, 9, 9)))
    one_line(caught, "inputs of shape (3, 9, 9), the bundle was built for (3, 8, 8)")


def test_a_bundle_for_other_weights_is_refused_unless_that_is_allowed(bundle):
    model = trained().eval()
    with torch.no_grad():
        model.head.bias += 0.1
    with pytest.raises(AttachError):
        screen_with_bundle(model, bundle, pictures(1.0))
    assert screen_with_bundle(model, bundle, pictures(1.0), allow_other_weights=True).found
