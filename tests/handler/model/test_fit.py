import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.handler.bundles import small_bundle
from torchserve_fire.errors import BundleError, ConfigError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.resizing import Resizing
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.fit import check_fits
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.model.state_digest import state_digest

FILE = "a" * 64


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(2, 2)


def check(file_sha256, *, seed=0, allow=False, class_name="Net", settings=None, **bundle_fields):
    bundle = replace(small_bundle(), **{"weights_sha256": FILE, **bundle_fields})
    loaded = LoadedModel(model(seed), class_name, file_sha256)
    built = bundle.input
    config = HandlerConfig(
        built.kind,
        built.shape[1:],
        built.mean,
        built.std,
        allow_other_weights=allow,
        resizing=built.resizing,
    )
    assert check_fits(bundle, "b", loaded, replace(config, **(settings or {}))) == built


def test_weights_are_known_by_their_file_where_both_have_one():
    # The state_dict need not be looked at.
    check(FILE, state_sha256=None)
    check(FILE, state_sha256="b" * 64)
    with pytest.raises(BundleError, match=f"^b: weights_sha256: built for the weights {FILE}, "):
        check("b" * 64, state_sha256=state_digest(model()))


def test_weights_without_a_file_are_known_by_their_state_dict():
    digest = state_digest(model())
    check(None, state_sha256=digest)
    check("b" * 64, weights_sha256=None, state_sha256=digest)
    for file in (None, FILE):
        with pytest.raises(BundleError, match=f"^b: state_sha256: built for the weights {digest}"):
            check(file, seed=1, weights_sha256=None, state_sha256=digest)


def test_weights_of_which_nothing_is_known_are_refused():
    with pytest.raises(BundleError, match=r"weights_sha256: .* the model's are not known"):
        check(None, state_sha256=None)
    with pytest.raises(BundleError, match="weights_sha256: built for the weights None"):
        check(None, weights_sha256=None, state_sha256=None)


def test_other_weights_may_be_allowed_but_no_other_class(caplog):
    with caplog.at_level(logging.WARNING):
        check("b" * 64, allow=True)
    assert "ALLOWED by handler: allow_other_weights" in caplog.text
    with pytest.raises(BundleError, match=r"^b: built for a Net, the model is a Other: build a b"):
        check(FILE, allow=True, class_name="Other")


def test_the_class_is_looked_at_before_the_input():
    other = {"mean": (0.25, 0.25, 0.25)}
    with pytest.raises(BundleError, match="the model is a Other"):
        check(FILE, class_name="Other", settings=other)
    expected = (
        r"^handler: mean: \[0.25, 0.25, 0.25\], b was built for .*: set the same in model-con"
    )
    with pytest.raises(ConfigError, match=expected):
        check(FILE, settings=other)


CROPPED = InputDescription(
    "image", (3, 8, 8), (0.5,) * 3, (0.25,) * 3, Resizing(10, True, "bicubic", antialias=False)
)


@pytest.mark.parametrize(
    ("resizing", "message"),
    [
        (Resizing(9, True, "bicubic", False), "resize: 9, b was built for 10"),
        (Resizing((9, 10), True, "bicubic", False), r"resize: \[9, 10\], b was built for 10"),
        (Resizing(None, True, "bicubic", False), "resize: none, b was built for 10"),
        (Resizing(None, False, "bicubic", False), r"resize: \[8, 8\], b was built for 10"),
        (Resizing(10, True, "bilinear", False), "interpolation: bilinear, b was built for bicubic"),
        (Resizing(10, True, "bicubic", True), "antialias: true, b was built for false"),
    ],
)
def test_images_must_be_resized_as_at_calibration(resizing, message):
    check(FILE, input=CROPPED)
    with pytest.raises(ConfigError, match=f"^handler: {message}: set the same in model-config"):
        check(FILE, input=CROPPED, settings={"resizing": resizing})


def test_a_bundle_that_was_built_without_a_crop():
    with pytest.raises(ConfigError, match=r"^handler: resize: 10, b was built for \[8, 8\]: set"):
        check(FILE, settings={"resizing": Resizing(10, True)})
