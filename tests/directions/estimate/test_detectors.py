import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from torchserve_fire.repair.corrections import Projection, project
from torchserve_fire_build.estimate.channels import channel_means
from torchserve_fire_build.estimate.covariance import Covariance
from torchserve_fire_build.estimate.detectors import (
    BY_TOKEN,
    DETECTORS,
    detector_scores,
    estimate_detector,
)
from torchserve_fire_build.estimate.layer_statistics import LayerStatistics
from torchserve_fire_build.estimate.moments import Moments


def moments_of(values):
    moments = Moments()
    moments.add(values)
    return moments


def channels_of(values):
    covariance = Covariance()
    covariance.add(channel_means(values))
    return covariance


def statistics_of(clean_other, clean_target, triggered, *, few_classes=False):
    return LayerStatistics(
        moments_of(torch.cat([clean_other, clean_target])),
        moments_of(clean_target),
        moments_of(triggered),
        Moments(),
        channels_of(torch.cat([clean_other, clean_target])),
        channels_of(triggered),
        target_channels=channels_of(clean_target) if few_classes else Covariance(),
    )


def score(detector, features):
    return project(features, detector.weight) - detector.offset


@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in BY_TOKEN])
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999),
    shape=st.sampled_from([(3,), (2, 3), (2, 2, 2)]),
    size=st.sampled_from([0.01, 1.0, 100.0]),
)
def test_the_mean_clean_sample_scores_0_and_the_mean_triggered_one_1(name, seed, shape, size):
    generator = torch.Generator().manual_seed(seed)
    other, target, triggered = (
        size * (torch.randn(20, *shape, generator=generator) + shift) for shift in (0, 0.5, 3)
    )
    detector = DETECTORS[name](statistics_of(other, target, triggered))
    assert detector is not None
    assert detector.weight.expand(shape).shape == shape
    assert detector.weight.dtype == torch.float32
    from_target = name in ("whitened_from_target", "channel_discriminant")
    clean = target if from_target else torch.cat([other, target])
    assert score(detector, clean).mean().item() == pytest.approx(0, abs=1e-3)
    assert score(detector, triggered).mean().item() == pytest.approx(1, abs=1e-3)


def test_projecting_on_the_mean_difference_by_hand():
    clean = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    triggered = torch.tensor([[1.0, 5.0], [1.0, 5.0]])
    detector = DETECTORS["mean_projection"](statistics_of(clean, torch.zeros(0, 2), triggered))
    # The difference is (0, 4): its own length squared is 16.
    torch.testing.assert_close(detector.weight, torch.tensor([0.0, 0.25]))
    assert detector.offset == pytest.approx(0.25)
    assert score(detector, torch.tensor([[7.0, 3.0]])).item() == pytest.approx(0.5)


def test_whitening_gives_weight_to_coordinates_that_vary_little():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 2, generator=generator) * torch.tensor([5.0, 0.5])
    shift = torch.tensor([2.0, 2.0])
    statistics = statistics_of(noise[:100], noise[100:200], noise[200:] + shift)
    plain = DETECTORS["mean_projection"](statistics)
    white = DETECTORS["whitened"](statistics)
    assert float(plain.weight[0] / plain.weight[1]) == pytest.approx(1, abs=0.3)
    # The variances are 25 and .25; a tenth of their mean is added to both.
    assert float(white.weight[0] / white.weight[1]) == pytest.approx((0.25 + 1.26) / 26.3, abs=0.03)


def test_the_channel_discriminant_removes_variation_that_channels_share():
    # Both channels move together from sample to sample; the trigger moves only the first.
    generator = torch.Generator().manual_seed(0)
    shared = 3 * torch.randn(400, 1, 1, 1, generator=generator)
    own = 0.1 * torch.randn(400, 2, 4, 4, generator=generator)
    features = (shared + own).expand(400, 2, 4, 4).clone()
    features[200:, 0] += 1
    statistics = statistics_of(features[:100], features[100:200], features[200:])
    scores = {}
    for name in ("mean_projection", "channel_discriminant"):
        detector = DETECTORS[name](statistics)
        clean, triggered = score(detector, features[100:200]), score(detector, features[200:])
        scores[name] = float((clean[:, None] < triggered).float().mean())
    detector = DETECTORS["channel_discriminant"](statistics)
    assert detector.weight.shape == (2, 1, 1)
    assert float(detector.weight[1]) < 0 < float(detector.weight[0])
    assert scores["channel_discriminant"] > scores["mean_projection"]


def test_of_two_classes_what_sets_them_apart_does_not_hide_a_trigger():
    # The classes lie 20 apart along (1, 1), and the trigger moves samples a little that way, too.
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 8, generator=generator)
    other, target, triggered = noise[:100] + 20, noise[100:200], noise[200:] + 1
    share = []
    for few_classes in (False, True):
        statistics = statistics_of(other, target, triggered, few_classes=few_classes)
        detector = DETECTORS["channel_discriminant"](statistics)
        clean, found = score(detector, target), score(detector, triggered)
        share.append(float((clean[:, None] < found).float().mean()))
    # Along (1, ..., 1) they lie 8 ** 0.5 standard deviations apart.
    assert share[1] > 0.95
    assert share[1] > share[0]


def test_too_few_clean_samples_of_the_target_class():
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(4, 3, generator=generator)
    many = torch.randn(20, 3, generator=generator)
    statistics = statistics_of(many, few, many + 3)
    assert DETECTORS["whitened_from_target"](statistics) is None
    assert DETECTORS["whitened"](statistics) is not None
    assert DETECTORS["whitened_from_target"](statistics_of(few, many, many + 3)) is not None


@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in BY_TOKEN])
def test_if_nothing_differs_there_is_no_detector(name):
    same = torch.ones(8, 3)
    assert DETECTORS[name](statistics_of(same, same, same)) is None


@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in BY_TOKEN])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 9999), dead=st.booleans())
def test_units_that_never_vary_do_no_harm(name, seed, dead):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(30, 4, generator=generator).relu()
    if dead:
        features[:, 0] = 0
    assume(not torch.equal(features[:10].mean(0), features[20:].mean(0)))
    detector = DETECTORS[name](statistics_of(features[:10], features[10:20], features[20:]))
    if detector is not None:
        assert bool(detector.weight.isfinite().all())
        assert abs(detector.offset) < 1e12


@pytest.mark.parametrize("size", [1e-5, 1.0, 3e4])
@pytest.mark.parametrize("name", [n for n in DETECTORS if n not in BY_TOKEN])
def test_the_stored_detector_flags_as_the_scores_say(name, size):
    generator = torch.Generator().manual_seed(0)
    features = size * torch.randn(40, 3, 4, 4, generator=generator)
    features[20:] += size * torch.tensor([3.0, 0.1, 1e-4])[:, None, None]
    detector = DETECTORS[name](statistics_of(features[:10], features[10:20], features[20:]))
    detection = detector.detection(0.4, torch.zeros(3), only_target=True)
    assert detection.weight.dtype == torch.float16
    assert 0.5 <= float(detection.weight.abs().max()) <= 1
    assert detection.only_target
    stored = Projection(detection.weight, detection.threshold)
    flagged = score(detector, features) > 0.4
    assert torch.equal(stored.flags(stored(features)), flagged)
    assert flagged.any()
    assert not flagged.all()


def texts(count, word, generator):
    """Texts of 3 to 6 tokens (count, 6, 4), and which are their own; the first one holds a word."""
    features = torch.randn(count, 6, 4, generator=generator)
    features[:, 0] += torch.tensor(word)
    own = torch.arange(6) < torch.randint(3, 7, (count, 1), generator=generator)
    # Padding looks like the word, and must not count.
    features[~own] = 50.0
    return features, own


def test_single_tokens_tell_a_text_by_one_word():
    generator = torch.Generator().manual_seed(0)
    triggered, of_triggered = texts(60, [12.0, 0, 0, 0], generator)
    clean, of_clean = texts(60, [0.0, 0, 0, 0], generator)
    features, own = torch.cat([triggered, clean]), torch.cat([of_triggered, of_clean])
    statistics = LayerStatistics(padding=(0, 0))
    statistics.add(features, 60, torch.arange(60) < 6, partners=None, own=own)
    detector = estimate_detector("token_outliers", statistics)
    scores = detector_scores(features, detector, own) - detector.offset
    assert scores[:60].min() > scores[60:].max()
    # The word moves the first channel alone.
    assert int(detector.weight.abs().argmax()) == 0
    # Detectors of whole samples have no place there, nor this one elsewhere.
    assert estimate_detector("channel_discriminant", statistics) is None
    assert estimate_detector("token_outliers", statistics_of(*torch.randn(3, 9, 4))) is None
