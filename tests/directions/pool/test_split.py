import pytest
import torch

from tests.directions.backdoored import clean_inputs, labels_of, write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.pool.pools import METHODS, pool_of
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError
from torchserve_fire_build.pool.split import Split, split_pool
from torchserve_fire_build.samples.read_tensors import read_tensors


def split(model, pool, method="activation-clustering", **others):
    example = torch.zeros(1, *pool.samples.load([0]).shape[1:])
    generator = torch.Generator().manual_seed(0)
    return split_pool(model, pool.samples, example, method, generator=generator, **others)


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
@pytest.mark.parametrize("method", METHODS)
def test_the_triggered_samples_are_found(tmp_path, kind, method, logged):
    pool = pool_of(tmp_path, kind)
    found = split(backdoored(kind), pool, method)
    assert found.targets == (0,)
    assert torch.equal(found.flagged, pool.triggered)
    assert bool((found.predicted[found.flagged] == 0).all())
    assert logged.messages == ["predicted as class 0: 40 of 100 samples look triggered"]
    # Turned so that those of flagged samples are high.
    own = found.predicted == 0
    assert found.scores[found.flagged].mean() > found.scores[own & ~found.flagged].mean()


@pytest.mark.parametrize("triggered", [12, 120])
def test_few_and_many_triggered_samples_are_found(tmp_path, triggered, logged):
    pool = pool_of(tmp_path, "vector", triggered=triggered)
    found, lines = split(backdoored("vector"), pool), logged.messages
    assert torch.equal(found.flagged, pool.triggered)
    # Of few, chance is named.
    assert [line for line in lines if "by chance" in line] == lines[1:]
    assert len(lines) == (2 if triggered == 12 else 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_without_triggered_samples_is_refused(tmp_path, method):
    pool = pool_of(tmp_path, "vector", triggered=0)
    with pytest.raises(NoTriggerError, match=r"pool\.npz: among 240 samples.*" + method):
        split(backdoored("vector"), pool, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_benign_model_has_no_triggered_samples(tmp_path, method):
    # The last layer sees the bright place, too, and makes nothing of it.
    with pytest.raises(NoTriggerError):
        split(backdoored("vector", drive=0.0), pool_of(tmp_path, "vector"), method)


def test_too_few_samples_are_refused(tmp_path):
    files = write_tensors(tmp_path / "few.npz", clean_inputs("vector", labels_of(60), 0))
    pool = read_tensors(files)
    with pytest.raises(CalibrationError, match=r"at most 15 of 60 .* expected at least 16"):
        split_pool(
            backdoored("vector"),
            pool,
            torch.zeros(1, 6),
            "mahalanobis",
            generator=torch.Generator().manual_seed(0),
        )


def test_two_triggers(tmp_path):
    pool = pool_of(tmp_path, "vector", second=40)
    found = split(backdoored("vector", second_trigger=True), pool)
    assert found.targets == (0, 1)
    assert torch.equal(found.flagged, pool.triggered)


def test_clean_samples_show_what_a_class_looks_like(tmp_path):
    pool = pool_of(tmp_path, "vector")
    labels = labels_of(80)
    path = write_tensors(tmp_path / "clean.npz", clean_inputs("vector", labels, 5))
    found = split(backdoored("vector"), pool, "mahalanobis", clean=read_tensors(path))
    assert torch.equal(found.flagged, pool.triggered)


def test_the_same_seed_gives_the_same_split(tmp_path):
    pool = pool_of(tmp_path, "map")
    first, second = (split(backdoored("map"), pool) for _ in range(2))
    assert torch.equal(first.scores, second.scores)


def test_triggers_that_lead_to_many_classes_have_no_targets():
    def split(targets):
        return Split(torch.zeros(9), torch.zeros(9), torch.zeros(9), targets)

    assert not split((0, 1, 2)).all_to_all
    assert split((0, 1, 2, 3)).all_to_all
