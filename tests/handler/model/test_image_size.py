import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_fire.errors import ConfigError
from torchserve_fire.format.resizing import SQUASHED, Resizing
from torchserve_fire.model.config import parse_config

REST = {"input": "image", "mean": [0, 0, 0], "std": [1, 1, 1]}


def read(**settings):
    config = parse_config({"handler": REST | settings})
    return config.image_size, config.resizing


@pytest.mark.parametrize(
    ("settings", "size", "resizing"),
    [
        ({"image_size": [32, 48]}, (32, 48), SQUASHED),
        ({"resize": [32, 48]}, (32, 48), SQUASHED),
        ({"resize": [32, 48], "image_size": [32, 48]}, (32, 48), SQUASHED),
        ({"resize": [32, 48], "crop": [32, 48]}, (32, 48), SQUASHED),
        ({"resize": 256, "crop": 224}, (224, 224), Resizing(256, True)),
        (
            {"resize": 256, "crop": 224, "image_size": [224, 224]},
            (224, 224),
            Resizing(256, True),
        ),
        # The shorter side: what is longer is still cut off.
        ({"resize": 224, "crop": 224}, (224, 224), Resizing(224, True)),
        ({"resize": 40, "crop": [32, 48]}, (32, 48), Resizing(40, True)),
        ({"resize": [40, 50], "crop": 32}, (32, 32), Resizing((40, 50), True)),
        ({"crop": 32}, (32, 32), Resizing(None, True)),
        (
            {"image_size": [32, 48], "interpolation": "bicubic", "antialias": False},
            (32, 48),
            Resizing(interpolation="bicubic", antialias=False),
        ),
    ],
)
def test_what_settings_mean(settings, size, resizing):
    assert read(**settings) == (size, resizing)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "handler: image_size: missing"),
        ({"resize": 256}, r"resize: 256 is the shorter side, .*: add a crop \(as crop: 256\)"),
        ({"resize": 256, "image_size": [256, 256]}, "resize: 256 is the shorter side"),
        (
            {"resize": 256, "crop": 224, "image_size": [256, 256]},
            r"image_size: \[256, 256\], but images have the size \[224, 224\] after crop: leave",
        ),
        (
            {"resize": [32, 32], "image_size": [32, 48]},
            r"image_size: \[32, 48\], but images have the size \[32, 32\] after resize: leave",
        ),
        ({"crop": 28, "image_size": [32, 32]}, r"but images have the size \[28, 28\] after crop"),
        ({"resize": 224, "crop": 256}, r"crop: \[256, 256\] is larger than resize: 224, "),
        ({"resize": [32, 40], "crop": [40, 32]}, r"is larger than resize: \[32, 40\]"),
        ({"crop": 224, "interpolation": "bicubic"}, "interpolation: without resize, images are"),
        ({"crop": 224, "antialias": True}, "antialias: without resize, images are only cropped"),
        (
            {"image_size": [8, 8], "interpolation": "nearest", "antialias": False},
            "antialias: False, expected true with interpolation: nearest, which it does not change",
        ),
        ({"image_size": [8, 8], "interpolation": "linear"}, "interpolation: 'linear', expected"),
        ({"resize": 0, "crop": 1}, "resize: 0, expected pixels, or"),
        ({"resize": True, "crop": 1}, "resize: True, expected pixels, or"),
        ({"resize": [256], "crop": 224}, r"resize: \[256\], expected pixels, or"),
        ({"resize": 256, "crop": [1, 2, 3]}, r"crop: \[1, 2, 3\], expected pixels, or"),
        ({"resize": 17_000, "crop": 224}, "resize: 17000, expected .* of at most 16384 each"),
        ({"resize": 256, "crop": "224"}, "crop: '224', expected pixels"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(**settings)
    assert str(caught.value).startswith("model-config.yaml: handler: ")
    assert str(caught.value).isprintable()


SIDES = st.integers(1, 5) | st.lists(st.integers(1, 5), min_size=2, max_size=2)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "image_size": st.lists(st.integers(1, 5), min_size=2, max_size=2),
            "resize": SIDES,
            "crop": SIDES,
            "interpolation": st.sampled_from(["bilinear", "bicubic", "box"]),
            "antialias": st.booleans(),
        },
    )
)
def test_what_is_taken_gives_images_of_the_size_that_is_said(settings):
    try:
        size, resizing = read(**settings)
    except ConfigError:
        return
    assert settings.get("image_size", list(size)) == list(size)
    crop = settings.get("crop", settings.get("resize"))
    if crop is not None:
        assert size == ((crop, crop) if isinstance(crop, int) else tuple(crop))
    # What it stands for says the same.
    said = {name: value for name, value in resizing.settings(size).items() if value is not None}
    if said.get("resize") is None:
        said = {"crop": said["crop"]}
    assert read(**said) == (size, resizing)
