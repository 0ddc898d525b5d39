import logging

import pytest
from torch import nn
from torch.func import functional_call

from tests.directions.inspection.shadows import (
    LABELS,
    inputs,
    known_trojan,
    network,
    task,
)
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError, OutputError
from torchserve_fire_build.inspection import shadow_models
from torchserve_fire_build.inspection.shadow_models import Task, obtain_shadows, train_shadow


def same(one, two):
    names = one.state.keys() == two.state.keys()
    return names and all(one.state[n].equal(two.state[n]) for n in one.state)


def test_every_second_shadow_model_has_a_backdoor_that_works(monkeypatch):
    monkeypatch.setattr(shadow_models, "draw_trojan", known_trojan)
    shadows = [train_shadow(task(), number) for number in range(4)]
    assert [s.trojaned for s in shadows] == [False, True] * 2
    assert min(s.accuracy for s in shadows) > 0.7
    assert [s.success for s in shadows[::2]] == [0, 0]
    assert min(s.success for s in shadows[1::2]) > 0.9


def test_the_accuracy_is_on_samples_that_were_not_learnt_from():
    shadow = train_shadow(task(), 1)
    logits = functional_call(network(), shadow.state, (inputs()[-20:],))
    assert shadow.accuracy == float((logits.argmax(1) == LABELS[-20:]).float().mean())
    # What these are makes no difference to the weights.
    changed = inputs()
    changed[-20:] = 0
    assert same(
        train_shadow(Task(network(), changed, LABELS, 20, 4, 0), 0), train_shadow(task(), 0)
    )


def test_the_seed_and_the_number_decide_and_not_the_weights():
    assert same(train_shadow(task(), 2), train_shadow(task(), 2))
    assert not same(train_shadow(task(), 2), train_shadow(task(), 4))
    assert not same(train_shadow(task(), 2), train_shadow(task(seed=1), 2))


def test_batch_statistics_and_dropout_are_learnt_and_repeatable():
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4))
    # Of 65 to learn from, batches of 32 leave a single one.
    learnt = Task(net.eval(), inputs()[:66], LABELS[:66], 1, 4, 0)
    one, two = (train_shadow(learnt, 0) for _ in range(2))
    assert same(one, two)
    assert one.state["1.running_mean"].abs().max() > 0
    assert net[1].running_mean.eq(0).all()
    assert not net.training


def test_a_network_that_cannot_be_trained_is_refused():
    class Silent(nn.Linear):
        def forward(self, x):
            return {"features": [super().forward(x)]}

    with pytest.raises(CalibrationError, match="Silent"):
        train_shadow(Task(Silent(16, 4), inputs(), LABELS, 20, 4, 0), 0)


def test_shadow_models_are_trained_once_per_task(tmp_path):
    cache = tmp_path / "cache"
    first = obtain_shadows(task(), range(4), cache, Budget())
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(before) == 4
    # Of more of the same task the first four are not trained again, budget or not.
    second = obtain_shadows(task(), range(6), cache, Budget())
    assert len(obtain_shadows(task(), range(8), cache, Budget(0))) == len(second) == 6
    for one, two in zip(first, second, strict=False):
        assert same(one, two)
        assert (one.trojaned, one.accuracy, one.success) == (
            two.trojaned,
            two.accuracy,
            two.success,
        )
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}.items()


def test_another_task_or_architecture_has_its_own_shadow_models():
    wider = nn.Sequential(nn.Linear(16, 33), nn.ReLU(), nn.Linear(33, 4))
    others = [
        task(seed=1),
        Task(wider, inputs(), LABELS, 20, 4, 0),
        Task(network(), inputs(1), LABELS, 20, 4, 0),
        Task(network(), inputs(), LABELS.flip(0), 20, 4, 0),
        Task(network(), inputs(), LABELS, 10, 4, 0),
    ]
    assert len({each.digest() for each in [task(), *others]}) == 6
    # The weights of the inspected model are not part of it.
    assert task().digest() == task().digest()


def test_a_damaged_shadow_model_is_dropped_with_a_line_and_trained_again(tmp_path, caplog):
    (before,) = obtain_shadows(task(), range(1), tmp_path, Budget())
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], b"", whole.replace(b"accuracy", b"acuracy_")):
        file.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            (after,) = obtain_shadows(task(), range(1), tmp_path, Budget())
        assert caplog.messages == [f"cache: {file}: damaged, and dropped"]
        assert same(after, before)
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        obtain_shadows(task(), range(1), tmp_path / "file", Budget())
