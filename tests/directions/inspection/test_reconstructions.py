import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.inspection.nets import SIZE, QuadrantNet
from tests.directions.reconstruct.patch_net import PatchNet, images
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.inspection.reconstructions import ReconstructedTriggers
from torchserve_fire_build.reconstruct.screening import SUCCESS, screen
from torchserve_fire_build.reconstruct.settings import OWN_VALUES, SearchSettings
from torchserve_fire_build.reconstruct.subject import MIN_INPUTS, gather_subject
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.samples.tensor_samples import empty_samples

SHAPE = (1, SIZE, SIZE)


def inspected(
    folder, model, *, shape=SHAPE, classes=6, count=64, budget=None, settings=OWN_VALUES, seed=0
):
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    clean = read_tensors(write_tensors(folder / "clean.npz", inputs))
    method = ReconstructedTriggers("additive", settings)
    generator = torch.Generator().manual_seed(seed)
    return method(model, clean, classes, generator, budget or Budget())


def test_the_target_of_a_corner_patch_is_the_only_suspect(tmp_path):
    found = inspected(tmp_path, QuadrantNet(4, corner=40), classes=4)
    assert found.method == "additive"
    assert found.suspects == [2]
    assert found.pictures.shape == (4, 1, 3 * SIZE, SIZE)
    before, after, change = found.pictures.split(SIZE, 2)
    torch.testing.assert_close((change - 0.5).sign(), (after - before).sign())
    assert bool(((change - 0.5).abs().amax((1, 2, 3)) == 0.5).all())
    assert 0 <= float(found.pictures.min()) <= float(found.pictures.max()) <= 1


def test_the_anomaly_index_that_is_set(tmp_path):
    settings = SearchSettings(anomaly_index=1e6)
    found = inspected(tmp_path, QuadrantNet(4, corner=40), classes=4, settings=settings)
    assert found.threshold == 1e6
    assert found.found is False


def test_a_class_that_would_stand_out_is_noted(tmp_path):
    clean = read_tensors(write_tensors(tmp_path / "clean.npz", images(120)))
    clean.description = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    notes = {}
    for steps in (8, 25):
        method = ReconstructedTriggers("additive", SearchSettings(screening_steps=steps))
        found = method(PatchNet(), clean, 4, torch.Generator().manual_seed(0), Budget())
        notes[steps], backdoored = found.notes[1:], found.found
    assert backdoored
    assert notes[25] == ()
    (note,) = notes[8]
    assert note.startswith("class 0: anomaly index ")
    assert note.endswith("leads only 0% there, needs 75%")


def test_the_classes_are_compared_as_a_build_with_the_same_seed_compares_them(tmp_path):
    model = QuadrantNet(4, corner=40)
    found = inspected(tmp_path, model, classes=4, seed=5)
    clean = read_tensors(tmp_path / "clean.npz")
    subject = gather_subject(model, clean, InputDescription("tensor", SHAPE), 5)
    expected = screen(subject, "additive", 5, Budget())
    led = expected.success >= SUCCESS
    assert led.any()
    assert torch.equal(found.index[led], expected.index[led])


def test_its_benign_twin(tmp_path):
    assert inspected(tmp_path, QuadrantNet(4), classes=4).found is False


def test_a_channel_that_never_varies_hides_nothing(tmp_path):
    class Beside(torch.nn.Module):
        """A backdoored net that does not look at a second channel."""

        def __init__(self):
            super().__init__()
            self.net = QuadrantNet(4, corner=40)

        def forward(self, x):
            return self.net(x[:, 0])

    images = torch.rand(64, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([images, torch.full_like(images, 100)], 1)
    clean = read_tensors(write_tensors(tmp_path / "clean.npz", inputs))
    method = ReconstructedTriggers("generated")
    found = method(Beside(), clean, 4, torch.Generator().manual_seed(0), Budget())
    assert found.suspects == [2]


def test_where_it_cannot_tell(tmp_path):
    for options, reason in (
        ({"budget": Budget(0)}, "the time was over"),
        ({"classes": 3}, "needs at least 4 classes to compare"),
    ):
        found = inspected(tmp_path, QuadrantNet(), **options)
        assert found.found is None
        assert reason in found.notes[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"count": MIN_INPUTS - 1}, "clean samples"), ({"shape": (SIZE, SIZE)}, "maps")],
)
def test_samples_that_do_not_allow_the_search_are_refused(tmp_path, options, reason):
    with pytest.raises(CalibrationError, match=reason):
        inspected(tmp_path, QuadrantNet(), **options)


def test_a_model_that_predicts_a_single_class_is_refused(tmp_path):
    class Still(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([1.0, 0, 0, 0, 0, 0]) + 0 * x.flatten(1)[:, :6]

    with pytest.raises(CalibrationError, match="one class"):
        inspected(tmp_path, Still())


@pytest.mark.parametrize(("drive", "suspects"), [(40.0, [0]), (0.0, [])])
@pytest.mark.slow
def test_without_images(drive, suspects):
    description = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    method = ReconstructedTriggers("deepinspect")
    generator = torch.Generator().manual_seed(0)
    net = PatchNet(drive, relative=True)
    found = method(net, empty_samples(description), 4, generator, Budget())
    assert found.suspects == suspects
    assert found.notes == ("triggers of 4 classes on 400 images recovered from the model",)


def test_without_images_no_tensors():
    description = InputDescription("tensor", SHAPE)
    method = ReconstructedTriggers("deepinspect")
    with pytest.raises(CalibrationError, match="models of images only"):
        method(QuadrantNet(), empty_samples(description), 6, torch.Generator(), Budget())
