import torch
from PIL import Image

from tests.handler.archive import encode
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import QuarantineConfig
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.watch.quarantine import Quarantine
from torchserve_fire_build.samples.sample_files import bodies_in
from torchserve_fire_build.source.handler_samples import HandlerSamples

INPUT = InputDescription("image", (3, 2, 2), (0.5,) * 3, (0.25,) * 3)


def crop_of_the_middle(body, name):
    """What a handler does: it shows the model the middle of an image, cut out."""
    whole = InputDescription("image", (3, 4, 4), INPUT.mean, INPUT.std)
    return image_to_tensor(body, whole)[:, 1:3, 1:3]


def test_what_a_quarantine_kept_is_not_prepared_a_second_time(tmp_path):
    image = Image.effect_noise((4, 4), 200).convert("RGB")
    sample = crop_of_the_middle(encode(image), "a.png")
    Quarantine(QuarantineConfig(tmp_path), "m", INPUT).keep(sample)
    samples = HandlerSamples(bodies_in(tmp_path / "m"), crop_of_the_middle, INPUT)
    assert torch.equal(samples.load([0]), sample[None])
    # What was sent is.
    image.save(tmp_path / "m" / "sent.png")
    samples = HandlerSamples(bodies_in(tmp_path / "m"), crop_of_the_middle, INPUT)
    sent = list(samples.names).index("sent.png")
    assert torch.equal(samples.load([sent]), sample[None])
