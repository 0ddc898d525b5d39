import numpy as np
import pytest
import torch
from PIL import Image

from tests.directions.backdoored import clean_inputs, labels_of, stamp, stamp_second, write_tensors
from tests.directions.backdoored_nets import backdoored
from tests.directions.messages import one_line
from tests.directions.pool.pools import METHODS, two_blobs
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.common.errors import CalibrationError, NoTriggerError, SamplesError
from torchserve_fire_build.pool.class_groups import ClassGroups, find_class_groups
from torchserve_fire_build.pool.methods import POOL_METHODS
from torchserve_fire_build.pool.quarantine import clean_quarantine
from torchserve_fire_build.pool.split import MAX_OVERLAP, MIN_GAIN
from torchserve_fire_build.pool.two_groups import TwoGroups
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.read_tensors import read_tensors

OF_TARGET, OF_OTHERS = torch.zeros(80, dtype=torch.int64), labels_of(80)[labels_of(80) != 0]


def triggered(kind, count, seed=1):
    return stamp(kind, clean_inputs(kind, OF_OTHERS[:count], seed))


def falsely_flagged(kind, count, seed=2):
    return clean_inputs(kind, OF_TARGET[:count], seed)


def known_clean(kind, count=160):
    return clean_inputs(kind, labels_of(count), 3)


def clean_up(folder, kind, quarantine, clean=None, method=METHODS[0], targets=(0,), seed=0, **net):
    files = [
        read_tensors(write_tensors(folder / f"{name}.npz", inputs))
        for name, inputs in (
            ("quarantine", torch.cat(quarantine)),
            ("clean", known_clean(kind) if clean is None else clean),
        )
    ]
    return clean_quarantine(
        backdoored(kind, **net),
        *files,
        files[0].load([0]),
        method,
        targets=targets,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("kind", "method"),
    [*(("vector", m) for m in METHODS), ("token", METHODS[0]), ("map", METHODS[0])],
)
def test_if_half_of_the_samples_are_triggered_these_are_kept(tmp_path, kind, method):
    parts = [falsely_flagged(kind, 12), triggered(kind, 12)]
    cleaned = clean_up(tmp_path, kind, parts, method=method)
    assert cleaned.kept == list(range(12, 24))
    assert cleaned.split.targets == (0,)
    assert bool((cleaned.split.predicted == 0).all())


@pytest.mark.parametrize("count", [8, 40])
def test_few_and_many_triggered_samples_are_kept(tmp_path, count):
    parts = [triggered("vector", count), falsely_flagged("vector", 12)]
    assert clean_up(tmp_path, "vector", parts).kept == list(range(count))


def test_the_lines_say_why_samples_are_left_out(tmp_path):
    twice = triggered("vector", 12)[:2]
    others = clean_inputs("vector", OF_OTHERS[:3], 5)
    parts = [falsely_flagged("vector", 9), others, triggered("vector", 12), twice]
    cleaned = clean_up(tmp_path, "vector", parts)
    assert cleaned.kept == list(range(12, 24))
    text = " ".join(cleaned.describe())
    assert "26 samples" in text
    assert "kept: 12 that are predicted as class 0" in text
    assert "9 that lie with clean ones of class 0, 3 that are predicted as another class" in text
    assert "2 that are equal to another" in text
    assert (len(cleaned.samples), cleaned.repeated) == (24, 2)


@pytest.mark.parametrize("method", METHODS)
def test_clean_samples_alone_form_no_triggered_group(tmp_path, method):
    with pytest.raises(NoTriggerError, match=r"quarantine\.npz: .*apart from clean ones"):
        clean_up(tmp_path, "vector", [falsely_flagged("vector", 25)], method=method)


@pytest.mark.parametrize(("distance", "apart"), [(3.4, True), (0.0, False)])
def test_a_narrow_gap_is_enough_if_clean_samples_are_on_one_side(tmp_path, distance, apart):
    features, moved = two_blobs(60, 40, apart=distance)
    of_a_pool = find_class_groups(features, None, POOL_METHODS[METHODS[0]], 0)
    assert of_a_pool.apart(MAX_OVERLAP, MIN_GAIN) is None
    clean, quarantine = (
        read_tensors(write_tensors(tmp_path / f"{i}.npz", torch.tensor(part).float()))
        for i, part in enumerate((features[~moved], features[moved]))
    )
    head = torch.nn.Linear(20, 3)
    torch.nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 0, 0]))
    given = (torch.nn.Sequential(head), quarantine, clean, torch.zeros(1, 20), METHODS[0])
    if not apart:
        with pytest.raises(NoTriggerError, match="do not lie together"):
            clean_quarantine(*given, targets=(0,), layers=["0"], seed=0)
        return
    assert len(clean_quarantine(*given, targets=(0,), layers=["0"], seed=0).kept) >= 35


@pytest.mark.parametrize(
    ("overlap", "gain", "known", "astray", "kept"),
    [
        (0.05, 0.1, 24, 2, True),
        (0.06, 0.1, 24, 2, False),
        (0.05, 0.09, 24, 2, False),
        # Of 21 in the group; of those that are known to be clean.
        (0.0, 9.0, 48, 4, False),
        (0.0, 9.0, 11, 2, False),
    ],
)
def test_a_triggered_group_needs_a_gap_and_few_clean_samples(
    tmp_path, monkeypatch, overlap, gain, known, astray, kept
):
    """Some of the samples that are known to be clean are put beside 17 triggered ones."""

    def found(features, clean, method, seed):
        upper = np.arange(len(features)) < 17
        upper[len(features) - astray :] = True
        return ClassGroups(features[:, 0], TwoGroups(gain=gain, overlap=overlap, upper=upper))

    monkeypatch.setattr("torchserve_fire_build.pool.quarantine.find_class_groups", found)
    parts = [triggered("vector", 17), falsely_flagged("vector", 7)]
    clean = clean_inputs("vector", torch.zeros(known, dtype=torch.int64), 3)
    if kept:
        assert clean_up(tmp_path, "vector", parts, clean).kept == list(range(17))
        return
    with pytest.raises(NoTriggerError, match="do not lie together"):
        clean_up(tmp_path, "vector", parts, clean)


def test_a_repeated_clean_sample_counts_once(tmp_path):
    parts = [falsely_flagged("vector", 1).repeat(40, 1), falsely_flagged("vector", 12)]
    with pytest.raises(NoTriggerError, match="apart from clean ones"):
        clean_up(tmp_path, "vector", parts)
    with pytest.raises(NoTriggerError, match=r"1 of 1 different samples are predicted as class 0"):
        clean_up(tmp_path, "vector", parts[:1])


def test_the_quarantine_of_a_benign_model_is_refused(tmp_path):
    # It predicts triggered samples as what they are.
    parts = [triggered("vector", 20), falsely_flagged("vector", 20)]
    with pytest.raises(NoTriggerError):
        clean_up(tmp_path, "vector", parts, drive=0.0)


def test_too_few_triggered_samples_are_refused(tmp_path):
    parts = [triggered("vector", 5), falsely_flagged("vector", 20)]
    with pytest.raises(NoTriggerError):
        clean_up(tmp_path, "vector", parts)


def test_triggered_samples_among_the_clean_ones_are_noticed(tmp_path):
    clean = known_clean("vector")
    clean[1:60] = stamp("vector", clean[1:60])
    parts = [triggered("vector", 12), falsely_flagged("vector", 12)]
    with pytest.raises(NoTriggerError, match="apart from clean ones"):
        clean_up(tmp_path, "vector", parts, clean)


def test_samples_of_another_trigger_are_left_out(tmp_path):
    second = stamp_second("vector", clean_inputs("vector", OF_OTHERS[:15], 7))
    parts = [triggered("vector", 12), falsely_flagged("vector", 12), second]
    cleaned = clean_up(tmp_path, "vector", parts, second_trigger=True)
    assert cleaned.kept == list(range(12))


def test_with_several_targets_samples_of_at_least_one_are_kept(tmp_path):
    contents = clean_inputs("vector", 2 + labels_of(12) % 2, 7)
    both = [triggered("vector", 12), stamp_second("vector", contents)]
    net = {"second_trigger": True, "targets": (0, 1)}
    cleaned = clean_up(tmp_path, "vector", both, **net)
    assert cleaned.kept == list(range(24))
    of_class_1 = clean_inputs("vector", torch.ones(20, dtype=torch.int64), 8)
    cleaned = clean_up(tmp_path, "vector", [both[0], of_class_1], **net)
    assert cleaned.kept == list(range(12))
    assert cleaned.split.targets == (0,)
    assert "predicted as class 1 do not lie together" in cleaned.refused[1]
    assert cleaned.describe()[-1].startswith("  class 1, whose repair stays as it was: ")
    with pytest.raises(NoTriggerError, match=r"0 of 20 .* predicted as class 0"):
        clean_up(tmp_path, "vector", [of_class_1], **net)


def test_samples_of_another_shape_are_refused(tmp_path):
    with pytest.raises(SamplesError, match=r"quarantine\.npz: inputs of shape \(6,\)"):
        clean_up(tmp_path, "vector", [triggered("vector", 9)], torch.rand(20, 5))


def with_few_known(known, of_target):
    """Clean samples of which so many are of the target, class 0."""
    return torch.cat(
        [known[labels_of(len(known)) != 0], known[labels_of(len(known)) == 0][:of_target]]
    )


@pytest.mark.parametrize("method", METHODS)
def test_too_few_clean_samples_of_the_target_are_refused(tmp_path, method):
    parts = [triggered("vector", 60), clean_inputs("vector", torch.zeros(60, dtype=torch.int64), 2)]
    for of_target in (10, 15):
        clean = with_few_known(known_clean("vector"), of_target)
        assert clean_up(tmp_path, "vector", parts, clean, method).kept == list(range(60))
    for of_target in (0, 9):
        clean = with_few_known(known_clean("vector"), of_target)
        with pytest.raises(CalibrationError, match=f"{of_target} of .* predicted as class 0"):
            clean_up(tmp_path, "vector", parts, clean, method)


def test_any_seed_that_commands_take_is_accepted(tmp_path):
    parts = [triggered("vector", 12), falsely_flagged("vector", 12)]
    assert clean_up(tmp_path, "vector", parts, seed=2**63 - 1).kept == list(range(12))


def test_the_quarantines_of_several_models_are_refused(tmp_path):
    for name in ("clean/1", "kept/cats/1", "kept/dogs/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    config = HandlerConfig("image", (2, 2), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    kept, clean = (open_samples(tmp_path / name, config) for name in ("kept", "clean"))
    with pytest.raises(SamplesError) as caught:
        clean_quarantine(
            torch.nn.Flatten(), kept, clean, clean.load([0]), METHODS[0], targets=(0,), seed=0
        )
    one_line(caught, "kept: holds the folders cats and dogs", "of one model")
