"""Whatever a request's body is, it is a row of finite numbers, or refused with a reason."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.handler.tables import DESCRIBED, GOOD, NUMBERS, csv_of
from torchserve_fire.errors import InputError
from torchserve_fire.model.config import parse_config
from torchserve_fire.model.preprocess import kept_body, read_body
from torchserve_fire_build.deployment.archive.random_bodies import random_bodies

BESIDE = ("class", "id")
ZEROS = parse_config(
    {"handler": {"input": "table", "columns": [{"name": "a", "values": ["x"], "unknown": "zeros"}]}}
).describe_input()

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = scalars | st.lists(scalars, max_size=3)
names = st.sampled_from([*GOOD, *BESIDE, "other"])


def read(body):
    try:
        return read_body(body, DESCRIBED, BESIDE)
    except InputError as error:
        return error


def read_or_refused(body):
    sample = read(body)
    if isinstance(sample, InputError):
        assert sample.status == 400
        assert sample.reason != "other"
        assert str(sample).isprintable()
        return
    assert sample.shape == (12,)
    assert sample.dtype == torch.float32
    assert bool(sample.isfinite().all())
    # What a quarantine keeps of it is the same sample.
    kept = kept_body(body, DESCRIBED.table, BESIDE)
    assert kept.suffix == ".csv"
    assert torch.equal(read_body(kept.content, DESCRIBED), sample)


@settings(deadline=None)
@given(st.dictionaries(names, values))
def test_any_record(changed):
    read_or_refused({**GOOD, **changed})


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.floats(allow_nan=False) | st.integers(-(10**400), 10**400))
def test_any_number(name, number):
    read_or_refused({**GOOD, name: number})
    read_or_refused(csv_of({**GOOD, name: number}))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_and_text(body):
    read_or_refused(body)


@settings(deadline=None)
@given(st.dictionaries(names, st.text(max_size=8)))
def test_any_cells_of_csv(changed):
    read_or_refused(csv_of({**GOOD, **changed}))


@pytest.mark.parametrize("category", ["zebra", 'a "b", c', "ü", "7", "x, y"])
def test_an_unknown_category_is_zeros_and_is_kept_as_it_is(category):
    sample = read_body({"a": category}, ZEROS)
    assert sample.tolist() == [0]
    kept = kept_body(json.dumps({"a": category}), ZEROS.table, ())
    assert torch.equal(read_body(kept.content, ZEROS), sample)
    assert category.split('"')[0] in kept.content.decode()


@pytest.mark.parametrize("category", ["x" * 1001, "a\nb", "\ud800", "\0"])
def test_an_unknown_category_that_could_not_be_kept_is_refused(category):
    with pytest.raises(InputError, match="expected one of 1 categories"):
        read_body({"a": category}, ZEROS)


def test_random_bodies_are_rows():
    bodies = random_bodies(DESCRIBED)
    samples = [read_body(body.content, DESCRIBED) for body in bodies]
    assert len(samples) == 4
    assert not torch.equal(samples[0], samples[1])


def test_a_large_body_is_refused_fast():
    many = {f"c{i}": 0 for i in range(100_000)}
    with pytest.raises(InputError, match="column 1: unknown name"):
        read_body(json.dumps(many).encode(), DESCRIBED)
