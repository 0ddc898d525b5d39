import torch

from directions.sample_views import SomeSamples
from directions.sanitize.labelled_samples import LabelledSamples
from tests.directions.sanitize.nets import clean_samples, generator


def test_samples_in_the_order_of_their_classes_are_halved_at_random(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    order = clean.labels.argsort(stable=True)
    samples = SomeSamples(clean.samples, order.tolist())
    first, second = LabelledSamples(samples, clean.labels[order]).halves(generator())
    assert len(first) == len(second) == 128
    assert set(first.labels.tolist()) == set(second.labels.tolist()) == {0, 1, 2, 3}
    assert sorted([*first.samples.names, *second.samples.names]) == sorted(clean.samples.names)
    inputs, labels = second.load(torch.arange(128))
    assert torch.equal(inputs[:, :4].argmax(1), labels)
