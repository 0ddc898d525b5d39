from itertools import pairwise

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.estimate.candidate_layers import MAX_CANDIDATES, candidate_layers


class Block(nn.Module):
    """A residual block: what is inside runs beside the shortcut."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return x + self.relu(self.inner(x))


class Twice(nn.Module):
    """A net in which one module runs twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.relu = nn.ReLU()
        self.second = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.relu(self.second(self.relu(self.first(x)))))


class Beside(nn.Module):
    """Nothing but the input is passed by everything: the raw pixels reach the head too."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.cat([x, self.inner(x)], 1))


class Dense(nn.Module):
    """Features are joined to what came before, as in a DenseNet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 1)
        self.grow = nn.Conv2d(2, 2, 1)
        self.transition = nn.Conv2d(4, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        x = self.stem(x)
        x = self.transition(torch.cat([x, self.grow(x)], 1))
        return self.head(self.flat(self.pool(x)))


class Shared(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.second(x))


class Attention(nn.Module):
    """A small ViT: patches, a class token, positions, a block of attention and a block of MLP."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 4, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.after = nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
        self.final = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        y = self.norm(x)
        x = self.after(x + self.attention(y, y, y, need_weights=False)[0])
        x = self.final(x + self.mlp(x))
        return self.head(x[:, 0])


def find(model, *shape):
    return candidate_layers(model.eval(), torch.zeros(1, *shape))


def test_a_plain_chain():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert find(model, 4) == ["0", "1", "2", "3"]


def test_an_in_place_relu_leaves_the_layer_before_it_a_candidate():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2))
    assert find(model, 1, 2, 2) == ["0", "1", "2"]


def test_the_candidates_of_a_residual_net_are_its_blocks_not_their_inner_layers():
    model = nn.Sequential(nn.Linear(4, 4), Block(), Block(), nn.Linear(4, 2))
    assert find(model, 4) == ["0", "1", "2"]


def test_a_container_counts_as_its_innermost_part():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU())), nn.Linear(4, 2))
    assert find(model, 4) == ["0.0", "0.1.0"]


def test_layers_that_do_nothing_are_no_candidates():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Identity(), nn.Linear(4, 2))
    assert find(model, 4) == ["0"]


def test_a_module_that_runs_twice_is_left_out():
    assert find(Twice(), 4) == ["first", "second"]


def test_a_densenet_has_stem_and_transition():
    assert find(Dense(), 1, 2, 2) == ["stem", "transition", "pool", "flat"]


def test_tokens():
    assert find(Attention(), 1, 4, 4) == ["patches", "after", "final"]


class Rows(nn.Module):
    """Each token is a row of its own to the layer in the middle; the batch comes second after."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.each = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        count, tokens, size = x.shape
        x = self.each(self.first(x).flatten(0, 1)).view(count, tokens, size)
        return self.head(self.second(x.transpose(0, 1)).mean(0))


def test_layers_whose_rows_are_not_the_samples_are_left_out():
    assert find(Rows(), 3, 4) == ["first"]


def test_a_model_without_candidate_layers_is_refused():
    with pytest.raises(CalibrationError) as caught:
        find(Beside(), 4)
    assert "Beside" in str(caught.value)
    assert "--layers" in str(caught.value)


def test_the_logits_are_no_candidate():
    with pytest.raises(CalibrationError):
        find(nn.Sequential(nn.Linear(4, 2)), 4)


def test_the_candidates_of_a_deep_net_are_spread_from_start_to_end():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(50)))
    found = find(model, 2)
    assert len(found) == MAX_CANDIDATES
    assert found[0] == "0"
    assert found[-1] == "48"
    assert found == sorted(set(found), key=int)


def test_frozen_parameters_and_another_mode_of_gradients_do_not_matter():
    model = nn.Sequential(nn.Linear(4, 4), Block(), nn.Linear(4, 2))
    model.requires_grad_(False)
    with torch.no_grad():
        assert find(model, 4) == ["0", "1"]


def test_the_model_is_not_changed():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find(model, 4)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_module_with_two_names_is_found_once():
    assert find(Shared(), 4) == ["first"]


def test_torchvisions_resnet():
    found = find(resnet18(num_classes=3), 3, 32, 32)
    blocks = [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    # The last relu of a block is the block's own output, and runs twice: the block stands for it.
    assert [name for name in found if name.startswith("layer")] == blocks
    assert found[0] == "conv1"


def test_among_many_layers_the_last_of_each_shape_is_a_candidate():
    widths = [8] * 20 + [4] * 2 + [6] * 20
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise([3, *widths, 2])))
    found = find(model, 3)
    assert len(found) == MAX_CANDIDATES
    assert {"19", "21", "41"} <= set(found)
    assert found == sorted(found, key=int)
