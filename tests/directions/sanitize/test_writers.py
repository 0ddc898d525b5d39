import pytest
import torch

from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.sum_nets import Beside, Residual, Tokens, random_net
from torchserve_fire.errors import AttachError
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.sanitize.writers import find_writers

MAPS, TOKENS = torch.randn(1, 2, 5, 5), torch.randn(1, 5, 6)


def found(net, layer, example, channels):
    writers = find_writers(net, layer, example, channels)
    return {writer.name for writer in writers.writers}, set(writers.biases)


@pytest.mark.parametrize(
    ("layer", "names", "biases"),
    [
        ("stem", {"stem"}, set()),
        ("norm", {"stem"}, {"norm.bias"}),
        ("first.conv", {"first.conv"}, {"first.conv.bias"}),
        ("first", {"stem", "first.conv"}, {"norm.bias", "first.norm.bias"}),
        (
            "second",
            {"stem", "first.conv", "second.conv"},
            {"norm.bias", "first.norm.bias", "second.norm.bias"},
        ),
    ],
)
def test_the_writers_of_maps(layer, names, biases):
    assert found(random_net(Residual), layer, MAPS, 4) == (names, biases)


def test_the_writers_of_tokens():
    names = {"embed", "layer.self_attn.out_proj", "layer.linear2"}
    assert found(random_net(Tokens), "layer", TOKENS, 8) == (names, {f"{n}.bias" for n in names})


def test_a_batch_normalisation_scales_what_is_written():
    net = random_net(Residual)
    (writer,) = find_writers(net, "norm", MAPS, 4).writers
    # What the normalisation makes of one more in each channel.
    with torch.no_grad():
        more = net.norm(torch.ones(1, 4, 1, 1)) - net.norm(torch.zeros(1, 4, 1, 1))
    torch.testing.assert_close(writer.scale, more.flatten())


def test_the_model_is_not_changed():
    net = random_net(Residual).requires_grad_(False)
    assert found(net, "first", MAPS, 4)[0] == {"stem", "first.conv"}
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("kind", "layer", "channels", "message"),
    [
        (Residual, "first.relu", 4, "'first.relu' is written by Relu"),
        (Residual, "grouped", 4, "written by 'grouped', Conv2d.*groups=2"),
        (Residual, "plain_norm", 4, "weights that are not those of BatchNorm1d"),
        (Beside, "add", 2, "written by the input itself"),
    ],
)
def test_an_output_that_no_weights_write_is_refused(kind, layer, channels, message):
    with pytest.raises(SanitizeError, match=message) as caught:
        find_writers(random_net(kind), layer, MAPS, channels)
    assert "\n" not in str(caught.value)
    assert "build --layers NAME" in str(caught.value)


def test_a_layer_that_does_not_depend_on_the_input_is_refused():
    with pytest.raises(SanitizeError, match="'still' does not run once, with gradients"):
        find_writers(backdoored("map"), "still", torch.rand(1, 1, 6, 6), 72)


def test_an_unknown_layer_is_refused():
    with pytest.raises(AttachError, match=r"'fist'.*nearest are first"):
        find_writers(random_net(Residual), "fist", MAPS, 4)
