"""Classifiers that are backdoored by hand, with samples to compare defences on."""

import torch

from tests.directions.backdoored import clean_inputs, labels_of, loaded, stamp
from torchserve_fire_build.comparison.subject import Given, read_subject
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def samples(count, seed, *, kind="vector", triggered=False, source="clean"):
    """Samples of four classes in turn, on the net of a kind."""
    labels = labels_of(count)
    inputs = clean_inputs(kind, labels, seed)
    inputs = stamp(kind, inputs) if triggered else inputs
    return TensorSamples(inputs, labels, source=source)


def given(count=40, *, kind="vector", test=24):
    """Pairs to build from, and others to measure on; without the latter for a `test` of 0."""
    build = samples(count, 0, kind=kind), samples(count, 0, kind=kind, triggered=True, source="t")
    if not test:
        return Given(*build)
    pairs = (samples(test, 5, kind=kind, triggered=x, source="test") for x in (False, True))
    return Given(*build, tuple(pairs))


def subject(of=None, *, kind="vector", **options):
    """The net of a kind with its samples."""
    known = {
        "reload": lambda: loaded(kind).model,
        "names_file": None,
        "unpaired": False,
        "target": None,
        "seed": 0,
        "accept_accuracy": False,
    }
    return read_subject(loaded(kind), of or given(kind=kind), **(known | options))


def rows(samples):
    """The samples as a set of tuples, to see which are there."""
    return {tuple(row.flatten().tolist()) for row in samples.load(range(len(samples)))}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
