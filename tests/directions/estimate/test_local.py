import torch

from torchserve_fire.format.correction_forms import Local
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire_build.estimate.layer_statistics import LayerStatistics
from torchserve_fire_build.estimate.local import local_replacement
from torchserve_fire_build.estimate.moments import Moments


def statistics_of(clean, triggered):
    statistics = LayerStatistics()
    statistics.clean.add(clean)
    statistics.triggered.add(triggered)
    statistics.clean_places.add(clean.flatten(2).transpose(1, 2).flatten(0, 1))
    return statistics


def samples(count=40, seed=0):
    """Maps of noise, and others with 9 in the second channel at one pixel, another in each."""
    generator = torch.Generator().manual_seed(seed)
    clean, triggered = (torch.randn(count, 2, 5, 5, generator=generator) for _ in range(2))
    untouched = triggered.clone()
    places = torch.randint(0, 25, (count,), generator=generator)
    triggered[:, 1].flatten(1)[torch.arange(count), places] = 9.0
    return clean, triggered, untouched, places


def test_a_trigger_without_a_fixed_place_is_replaced_where_it_is():
    clean, triggered, *_ = samples()
    correction = local_replacement(statistics_of(clean, triggered), deviations=4.0)
    assert correction is not None
    assert isinstance(correction, Local)
    correct = build_correction(correction)
    _, unseen, untouched, places = samples(seed=1)
    moved = correct(unseen)
    rows = torch.arange(len(unseen))
    at_trigger = moved.flatten(2)[rows, :, places]
    # What is around is noise of deviation 1, and the mean of at least 8 places of it.
    assert float(at_trigger.abs().max()) < 1.5
    assert float(unseen.flatten(2)[rows, 1, places].min()) == 9
    changed = (moved != untouched).any(1).flatten(1)
    changed[rows, places] = False
    assert float(changed.float().mean()) < 0.01


def test_pairs_give_the_direction_without_the_noise_of_their_contents():
    clean, triggered, untouched, _ = samples()
    statistics = statistics_of(clean, triggered)
    statistics.difference.add(triggered - untouched)
    correction = local_replacement(statistics, deviations=4.0)
    assert correction is not None
    weight = correction.direction.flatten()
    assert float(weight[0].abs() / weight[1].abs()) < 0.3


def test_vectors_have_no_places():
    statistics = LayerStatistics()
    statistics.clean.add(torch.randn(8, 3))
    statistics.triggered.add(torch.randn(8, 3))
    assert local_replacement(statistics, deviations=3.0) is None


def test_if_nothing_varies_there_is_no_local_replacement():
    constant = torch.ones(4, 2, 3, 3)
    assert local_replacement(statistics_of(constant, 2 * constant), deviations=3.0) is None


def test_if_nothing_differs_there_is_no_local_replacement():
    clean = torch.randn(4, 2, 3, 3)
    statistics = statistics_of(clean, clean)
    assert isinstance(statistics.clean, Moments)
    assert local_replacement(statistics, deviations=3.0) is None


def test_a_word_is_found_among_what_few_texts_are_about():
    generator = torch.Generator().manual_seed(0)
    word = torch.zeros(16)
    word[0] = 12
    statistics, own = LayerStatistics(padding=(0, 0)), torch.ones(12, 50).bool()
    for triggered in (0, 12):
        texts = torch.randn(12, 50, 16, generator=generator)
        # Each text is about something, which is in all its words.
        texts += torch.randn(12, 1, 16, generator=generator) * 0.5
        if triggered:
            texts[:, 7] = word
        none = torch.zeros(12 - triggered).bool()
        statistics.add(texts, triggered, none, partners=None, own=own)
    correction = local_replacement(statistics, deviations=3.0)
    assert correction is not None
    direction = correction.direction[0]
    # The mean difference alone points elsewhere.
    difference = statistics.mean_difference[0]
    assert float(torch.cosine_similarity(difference, word, 0)) < 0.6
    assert float(torch.cosine_similarity(direction, word, 0)) > 0.95
