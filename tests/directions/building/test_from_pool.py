import pytest
import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from tests.directions.backdoored_nets import backdoored
from tests.directions.field_search.nets import Net, rows_of
from tests.directions.pool.pools import METHODS, pool_of
from torchserve_fire.repair.attach import attach
from torchserve_fire_build.building.from_pool import build_from_pool
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError
from torchserve_fire_build.samples.tensor_samples import TensorSamples

LABELS = labels_of(80)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_clean", [True, False])
def test_a_mixed_pool_gives_a_bundle(tmp_path, logged, method, with_clean):
    pool, model = pool_of(tmp_path, "vector"), backdoored("vector")
    known = TensorSamples(clean_inputs("vector", labels_of(60), 5)) if with_clean else None
    built = build_from_pool(model, pool.samples, clean=known, split_by=method)
    assert built.split_samples is pool.samples
    assert torch.equal(built.split.flagged, pool.triggered)
    assert built.bundle.evidence["triggered"] == 40
    assert built.bundle.evidence["clean"] == (60 if with_clean else 200)
    # The labels of a pool are the attacker's.
    assert not built.bundle.evidence["labels"]
    assert [record.target for record in built.records] == [0]
    assert "predicted as class 0: 40 of 100 samples look triggered" in logged.messages
    inputs = clean_inputs("vector", LABELS, 7)
    with attach(model, built.bundle), torch.no_grad():
        assert torch.equal(model(inputs).argmax(1), LABELS)
        # A trigger on what is of the target anyway, of which the pool has none, is not asked for.
        others = LABELS != 0
        triggered = stamp("vector", inputs[others])
        assert torch.equal(model(triggered).argmax(1), LABELS[others])


def test_the_number_of_components_is_passed_on(tmp_path, monkeypatch):
    given = []

    def split(*args, components, **others):
        given.append(components)
        raise NoTriggerError("stopped here")

    monkeypatch.setattr("torchserve_fire_build.building.from_pool.split_pool", split)
    pool = pool_of(tmp_path, "vector").samples
    for more in ({}, {"components": 3}):
        with pytest.raises(NoTriggerError):
            build_from_pool(backdoored("vector"), pool, **more)
    assert given == [10, 3]


def test_a_pool_without_triggered_samples_is_refused(tmp_path):
    pool = pool_of(tmp_path, "vector", triggered=0).samples
    with pytest.raises(NoTriggerError, match=r"pool\.npz: among 240 samples"):
        build_from_pool(backdoored("vector"), pool)


def test_a_target_that_the_model_does_not_have_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="target 4: the model has the classes 0 to 3"):
        build_from_pool(backdoored("vector"), pool_of(tmp_path, "vector").samples, target=4)


def test_a_pool_of_rows_is_refused():
    with pytest.raises(CalibrationError, match=r"rows\.csv: .* rows.*--triggered"):
        build_from_pool(Net(backdoored=True).eval(), rows_of(200))
