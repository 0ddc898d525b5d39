import torch

from tests.directions.backdoored import stamp, write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import clean_samples, generator
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.samples.subset import Subset
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples, labelled_by


def test_samples_sorted_by_class_are_halved_at_random(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    order = clean.labels.argsort(stable=True)
    samples = Subset(clean.samples, order.tolist())
    first, second = LabelledSamples(samples, clean.labels[order]).halves(generator())
    assert len(first) == len(second) == 128
    assert set(first.labels.tolist()) == set(second.labels.tolist()) == {0, 1, 2, 3}
    assert sorted([*first.samples.names, *second.samples.names]) == sorted(clean.samples.names)
    inputs, labels = second.load(torch.arange(128))
    assert torch.equal(inputs[:, :4].argmax(1), labels)


def test_samples_are_labelled_with_the_models_predictions(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    triggered = clean.samples.load(range(256))
    triggered[::2] = stamp("vector", triggered[::2])
    file = write_tensors(tmp_path / "mixed.npz", triggered, clean.labels)
    found = labelled_by(backdoored("vector"), read_tensors(file))
    assert len(found) == 256
    assert (found.labels[::2] == 0).all()
    assert torch.equal(found.labels[1::2], clean.labels[1::2])
