from dataclasses import replace

import pytest

from tests.directions.backdoored import clean_inputs, labels_of
from tests.directions.comparison.hand_made import given, rows, samples, subject
from tests.directions.field_search.nets import rows_of
from torchserve_fire_build.common.errors import CalibrationError, SamplesError
from torchserve_fire_build.comparison.subject import _refuse_same
from torchserve_fire_build.samples.subset import Subset
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def test_target_labels_and_pairs_are_found():
    found = subject()
    assert (found.targets, found.single, found.held_out) == ((0,), True, False)
    assert found.calibration.paired
    assert found.test.evidence.paired
    assert found.calibration.clean.labels.tolist() == labels_of(40).tolist()
    assert found.pass_seconds > 0


def test_without_test_samples_half_is_held_out():
    found = subject(given(test=0))
    assert found.held_out
    halves = [part.clean for part in (found.calibration, found.test.evidence)]
    assert list(map(len, halves)) == [20, 20]
    assert not rows(halves[0]) & rows(halves[1])


def test_the_target_may_be_named():
    assert subject(target=2).targets == (2,)
    with pytest.raises(CalibrationError, match="classes 0 to 3"):
        subject(target=4)


def test_samples_to_measure_on_that_are_built_from_are_refused():
    both = given()
    same = samples(40, 0, source="same")
    with pytest.raises(SamplesError, match="same: 40 of 40 samples to measure on are among"):
        subject(replace(both, test=(same, samples(40, 0, triggered=True))))


def test_rows_of_a_table_may_be_equal_by_chance(caplog):
    clean = rows_of(40)
    _refuse_same(clean, rows_of(40, seed=1))
    assert not caplog.messages
    with caplog.at_level("INFO"):
        _refuse_same(Subset(clean, range(20)), clean)
    assert caplog.messages[0].startswith("rows.csv: 20 of 40 rows to measure on equal one")
    with pytest.raises(SamplesError, match="21 of 40 samples to measure on are among those"):
        _refuse_same(Subset(clean, range(21)), clean)


def test_samples_that_show_no_trigger_are_refused():
    clean = samples(24, 9, source="no trigger")
    with pytest.raises(SamplesError, match="no trigger: the model predicts these samples as"):
        subject(replace(given(), test=(samples(24, 8), clean)))
    both = replace(given(), triggered=samples(40, 3, source="none"))
    with pytest.raises(SamplesError, match="none: the model predicts these samples as"):
        subject(both)


def test_samples_without_classes_are_refused():
    clean = TensorSamples(clean_inputs("vector", labels_of(40), 0), source="unknown")
    with pytest.raises(SamplesError, match="unknown: expected labels"):
        subject(replace(given(), clean=clean))
