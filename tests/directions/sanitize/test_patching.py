from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import labels_of, write_tensors
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp
from tests.directions.sanitize.nets import accuracy, generator, same_form
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples
from torchserve_fire_build.sanitize.methods import SANITIZE_METHODS, SanitizeInputs
from torchserve_fire_build.sanitize.patching import patch
from torchserve_fire_build.sanitize.training import Schedule

LABELS = labels_of(80)
SCHEDULE = Schedule(10, 0.1)
FOUND = Reconstruction("by hand", 0, stamp, 1.0)


def clean(folder, count=256):
    labels = labels_of(count)
    return LabelledSamples(
        read_tensors(write_tensors(folder / "clean.npz", images(count), labels)), labels
    )


def test_a_reconstructed_trigger_is_unlearned(tmp_path, logged):
    model, test = PatchNet(), images(80, seed=7)
    assert accuracy(model, stamp(test), LABELS) == 0.25
    patched = patch(model, clean(tmp_path), [FOUND], SCHEDULE, generator())
    assert accuracy(patched, stamp(test), LABELS) == 1
    assert accuracy(patched, test, LABELS) == 1
    assert logged.messages == [
        "patched: 10 of 10 epochs over 256 samples, 20% of them with one of 1 reconstructed "
        "triggers",
        "share of these samples that the triggers led to class 0 before: 100%",
        "and now: 0%",
    ]
    assert same_form(patched, model)
    assert accuracy(model, stamp(test), LABELS) == 0.25


def test_without_the_trigger_the_same_training_forgets_nothing(tmp_path):
    nothing = replace(FOUND, stamp=lambda inputs: inputs)
    patched = patch(PatchNet(), clean(tmp_path), [nothing], SCHEDULE, generator())
    assert accuracy(patched, stamp(images(80, seed=7)), LABELS) == 0.25


def test_too_little_training_is_logged(tmp_path, logged):
    patch(PatchNet(), clean(tmp_path), [FOUND], Schedule(1, 1e-6), generator())
    assert logged.messages[2:] == [
        "and now: 100%",
        "this is much: train for longer, or with more samples that carry a trigger",
    ]


def test_a_benign_model_keeps_its_accuracy(tmp_path):
    test = images(80, seed=7)
    patched = patch(PatchNet(0), clean(tmp_path), [FOUND], SCHEDULE, generator())
    assert accuracy(patched, test, LABELS) == 1
    assert accuracy(patched, stamp(test), LABELS) == 1


def test_the_share_of_stamped_samples_is_as_set(tmp_path):
    # Each trigger marks what it was put on by a value that no image has.
    seen = []

    def marks(value):
        return Reconstruction("mark", 0, lambda inputs: torch.full_like(inputs, value), 1.0)

    class Seeing(PatchNet):
        def forward(self, x):
            if self.training:
                seen.append(x.detach().amax((1, 2, 3)))
            return super().forward(x)

    few = Schedule(4, 1e-6)
    patch(Seeing(), clean(tmp_path), [marks(5.0), marks(6.0)], few, generator(), stamped=0.5)
    values = torch.cat(seen)
    shares = [(values == value).double().mean() for value in (5.0, 6.0)]
    assert shares == pytest.approx([0.25, 0.25], abs=0.05)
    seen.clear()
    patch(Seeing(), clean(tmp_path), [marks(5.0)], few, generator(), stamped=1.0)
    assert (torch.cat(seen) == 5).all()


def test_samples_are_augmented_before_they_are_stamped(tmp_path):
    seen = []

    class Seeing(PatchNet):
        def forward(self, x):
            if self.training:
                seen.append(x.detach().clone())
            return super().forward(x)

    def darken(inputs, generator):
        return torch.zeros_like(inputs)

    samples = clean(tmp_path)
    few = Schedule(1, 1e-6)
    patch(Seeing(), samples, [FOUND], few, generator(), stamped=1.0, augment=darken)
    middle = torch.cat(seen)[:, :, 3:5, 3:5]
    assert torch.equal(middle, torch.full_like(middle, 0.42))


def test_patching_without_triggers_is_refused(tmp_path):
    given = SanitizeInputs(clean(tmp_path), generator(), SCHEDULE, accuracy_loss=0.1)
    with pytest.raises(SanitizeError, match="expected reconstructed triggers"):
        SANITIZE_METHODS["patch"](PatchNet(), given)
