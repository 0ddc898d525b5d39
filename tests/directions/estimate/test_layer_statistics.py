import pytest
import torch

from tests.directions.backdoored import TENSOR, tensor_sets
from tests.directions.backdoored_nets import backdoored
from torchserve_fire_build.estimate import layer_statistics
from torchserve_fire_build.estimate.layer_statistics import LayerStatistics, collect_statistics
from torchserve_fire_build.estimate.moments import Moments
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence, gather_evidence
from torchserve_fire_build.samples.folds import FOLDS, assign_folds
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.samples import BATCH
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def moments_of(values):
    moments = Moments()
    moments.add(torch.as_tensor(values, dtype=torch.float32))
    return moments


def statistics_of(clean=(), clean_target=(), triggered=(), difference=()):
    return LayerStatistics(
        *(
            moments_of([[v] for v in values]) if len(values) else Moments()
            for values in (clean, clean_target, triggered, difference)
        )
    )


def gathered(folder, kind="vector", **options):
    sets = tensor_sets(folder, kind, **options)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    folds = assign_folds(evidence, torch.Generator().manual_seed(0))
    return evidence, folds


def collected(evidence, folds, clean_target, use, kind="vector", layers=("mix", "relu")):
    (statistics,) = collect_statistics(
        backdoored(kind),
        layers,
        evidence,
        folds,
        clean_targets=[clean_target],
        uses=[use],
    )
    return statistics


def assert_moments(moments, values):
    assert moments.count == len(values)
    if len(values):
        torch.testing.assert_close(moments.mean, values.mean(0))
    if len(values) > 1:
        torch.testing.assert_close(moments.variance, values.var(0), rtol=1e-4, atol=1e-6)


def everything(samples):
    return samples.load(range(len(samples)))


def through(inputs):
    """What "mix" and "relu" of the vector net make of inputs, by hand."""
    mixed = inputs - torch.tensor([0.0, 0, 0, 0, 1, 0])
    return {"mix": mixed, "relu": mixed.relu()}


@pytest.mark.parametrize("paired", [True, False])
def test_moments_of_each_layer_are_those_of_its_features(tmp_path, paired):
    # More samples than one batch takes, in each fold.
    evidence, folds = gathered(tmp_path, paired=paired, count=300)
    assert evidence.paired == paired
    clean_target = torch.arange(300) % 3 == 0
    use = torch.arange(300) % 7 != 0
    statistics = collected(evidence, folds, clean_target, use)
    assert statistics.paired == paired
    clean, triggered = (through(everything(s)) for s in (evidence.clean, evidence.triggered))
    for layer in ("mix", "relu"):
        whole = statistics.whole(layer)
        assert_moments(whole.triggered, triggered[layer][use])
        assert_moments(whole.clean_target, clean[layer][clean_target])
        assert_moments(whole.clean, clean[layer])
        difference = (triggered[layer] - clean[layer])[use] if paired else torch.zeros(0, 6)
        assert_moments(whole.difference, difference)


def assert_covariance(covariance, values):
    assert covariance.count == len(values)
    if len(values):
        torch.testing.assert_close(covariance.mean, values.mean(0))
        expected = torch.cov(values.T, correction=0) * len(values)
        torch.testing.assert_close(covariance.scatter, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_the_places_of_tokens(tmp_path, paired):
    evidence, folds = gathered(tmp_path, "token", paired=paired, count=100)
    use = torch.arange(100) % 7 != 0
    statistics = collected(evidence, folds, torch.arange(100) % 3 == 0, use, "token")
    whole = statistics.whole("relu")
    clean, triggered = (
        through(everything(s))["relu"] for s in (evidence.clean, evidence.triggered)
    )
    assert clean.shape == (100, 3, 6)
    assert_covariance(whole.clean_places, clean.flatten(0, 1))
    assert_covariance(whole.triggered_places, triggered[use].flatten(0, 1))
    if not paired:
        assert whole.pair_places.count == 0
        return
    both = torch.cat([triggered, clean], 2)[use].flatten(0, 1)
    assert whole.pair_places.count == len(both)
    shared = torch.cov(both.T, correction=0)[:6, 6:] * len(both)
    torch.testing.assert_close(whole.pair_places.scatter, shared, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_held_out_samples_are_not_in_the_statistics(tmp_path, paired):
    evidence, folds = gathered(tmp_path, paired=paired, count=100)
    use = torch.ones(100, dtype=torch.bool)
    statistics = collected(evidence, folds, torch.zeros(100, dtype=torch.bool), use)
    clean = through(everything(evidence.clean))["relu"]
    triggered = through(everything(evidence.triggered))["relu"]
    for fold in range(FOLDS):
        part = statistics.without(fold, "relu")
        assert_moments(part.clean, clean[folds.clean != fold])
        assert_moments(part.triggered, triggered[folds.triggered != fold])


def test_large_statistics_come_back_from_a_file_as_they_were(tmp_path, monkeypatch):
    evidence, folds = gathered(tmp_path, "map", count=20)
    target, use = torch.arange(20) < 5, torch.arange(20) < 15
    expected = collected(evidence, folds, target, use, "map", ["stem", "relu"])
    monkeypatch.setattr(layer_statistics, "IN_MEMORY", 0)
    found = collected(evidence, folds, target, use, "map", ["stem", "relu"])
    assert found.paired
    assert list(found.folds[0]) == ["stem", "relu"]
    for layer in ("stem", "relu"):
        one, other = (each.whole(layer).stored() for each in (found, expected))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(KeyError):
        found.folds[0]["other"]


def test_clean_files_without_a_partner_count_as_clean(tmp_path):
    evidence, _ = gathered(tmp_path, count=20)
    fewer = tensor_sets(tmp_path / "fewer", "vector", count=12)
    evidence = type(evidence)(evidence.clean, open_samples(fewer.triggered, TENSOR), range(12))
    folds = assign_folds(evidence, torch.Generator().manual_seed(0))
    use = torch.ones(12, dtype=torch.bool)
    use[3] = False
    whole = collected(evidence, folds, torch.zeros(20, dtype=torch.bool), use).whole("relu")
    assert whole.clean.count == 20
    assert whole.triggered.count == whole.difference.count == 11


@pytest.mark.parametrize("kind", ["vector", "token"])
def test_of_several_copies_of_a_sample_the_clean_partner_counts_once(tmp_path, kind):
    evidence, _ = gathered(tmp_path, kind, count=20)
    # Sample 0 stands there five times, 1 once, 2 twice; each copy is brighter than the one before.
    partners = [0, 0, 1, 0, 2, 0, 2, 0]
    triggered = evidence.triggered.load(partners)
    triggered = triggered + torch.arange(8.0).view(8, *[1] * (triggered.dim() - 1))
    copies = Evidence(evidence.clean, TensorSamples(triggered), partners)
    folds = Both(torch.arange(20) % FOLDS, (torch.arange(20) % FOLDS)[partners])
    use = torch.arange(8) != 3
    statistics = collected(copies, folds, torch.arange(20) % 3 == 0, use, kind)
    whole = statistics.whole("relu")
    clean, altered = through(everything(evidence.clean))["relu"], through(triggered)["relu"]
    assert_moments(whole.clean, clean)
    assert_moments(whole.clean_target, clean[torch.arange(20) % 3 == 0])
    assert_moments(whole.triggered, altered[use])
    assert_moments(whole.difference, (altered - clean[partners])[use])
    # The copies of a sample are held out with it.
    assert statistics.folds[0]["relu"].triggered.count == 4
    assert statistics.folds[0]["relu"].clean.count == 5
    if kind == "token":
        both = torch.cat([altered, clean[partners]], 2)[use].flatten(0, 1)
        shared = torch.cov(both.T, correction=0)[:6, 6:] * len(both)
        torch.testing.assert_close(whole.pair_places.scatter, shared, rtol=1e-3, atol=1e-3)


def test_more_copies_of_a_sample_than_a_batch_takes(tmp_path):
    evidence, _ = gathered(tmp_path, count=8)
    partners = [5] * (BATCH + 3) + [1]
    copies = Evidence(evidence.clean, TensorSamples(evidence.triggered.load(partners)), partners)
    folds = Both(torch.arange(8) % FOLDS, (torch.arange(8) % FOLDS)[partners])
    use = torch.ones(len(partners), dtype=torch.bool)
    whole = collected(copies, folds, torch.zeros(8, dtype=torch.bool), use).whole("relu")
    assert whole.clean.count == 8
    assert whole.triggered.count == whole.difference.count == BATCH + 4


@pytest.mark.parametrize("paired", [True, False])
def test_a_pass_that_memory_does_not_suffice_for_counts_nothing(tmp_path, paired):
    evidence, folds = gathered(tmp_path, paired=paired, count=120)
    clean_target, use = torch.arange(120) % 3 == 0, torch.ones(120, dtype=torch.bool)
    expected = collected(evidence, folds, clean_target, use)
    model, failed = backdoored("vector"), []

    def run_out(module, args):
        # The layers before it have been counted by then.
        if len(args[0]) > 20:
            failed.append(len(args[0]))
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")

    model.head.register_forward_pre_hook(run_out)
    (found,) = collect_statistics(
        model, ["mix", "relu"], evidence, folds, clean_targets=[clean_target], uses=[use]
    )
    assert failed
    for layer in ("mix", "relu"):
        assert_same(found.whole(layer), expected.whole(layer))


def test_the_model_is_not_changed(tmp_path):
    evidence, folds = gathered(tmp_path, count=16)
    yes = torch.ones(16, dtype=torch.bool)
    model = backdoored("vector")
    collect_statistics(model, ["relu"], evidence, folds, clean_targets=[yes], uses=[yes])
    assert not any(m._forward_hooks for m in model.modules())


def numbers_held(statistics):
    return sum(
        tensor.numel()
        for part in statistics.folds
        for layer in part.values()
        for tensor in layer.stored().values()
    )


def test_memory_does_not_grow_with_the_samples(tmp_path):
    held = []
    for count in (40, 400):
        evidence, folds = gathered(tmp_path / str(count), count=count)
        target = torch.arange(count) % 2 == 0
        statistics = collected(evidence, folds, target, torch.ones(count, dtype=torch.bool))
        held.append(numbers_held(statistics))
    assert held[0] == held[1]


def test_a_module_works_on_the_partners_of_what_is_used(tmp_path):
    evidence, _ = gathered(tmp_path, count=8)
    folds = Both(torch.arange(8) % FOLDS, torch.arange(8) % FOLDS)
    use = torch.zeros(8, dtype=torch.bool)
    use[5] = True
    statistics = collected(evidence, folds, torch.zeros(8, dtype=torch.bool), use)
    assert statistics.folds[1]["relu"].difference.count == 1
    assert statistics.whole("relu").difference.count == 1
    torch.testing.assert_close(
        statistics.whole("relu").difference.mean,
        through(evidence.triggered.load([5]))["relu"][0]
        - through(evidence.clean.load([5]))["relu"][0],
    )


@pytest.mark.parametrize("kind", ["vector", "token", "map"])
@pytest.mark.parametrize("paired", [True, False])
def test_statistics_of_several_triggers_are_those_of_each_alone(tmp_path, paired, kind):
    evidence, folds = gathered(tmp_path, kind, paired=paired, count=100)
    first = torch.arange(100) % 3 == 0
    targets, uses = [first, torch.arange(100) % 5 == 0], [first, ~first & (torch.arange(100) > 9)]
    layers = ["relu"] if kind == "map" else ["mix", "relu"]
    together = collect_statistics(
        backdoored(kind), layers, evidence, folds, clean_targets=targets, uses=uses
    )
    assert len(together) == 2
    for of_both, target, use in zip(together, targets, uses, strict=True):
        (alone,) = collect_statistics(
            backdoored(kind), layers, evidence, folds, clean_targets=[target], uses=[use]
        )
        for fold in range(FOLDS):
            for layer in layers:
                assert_same(of_both.folds[fold][layer], alone.folds[fold][layer])


def assert_same(one, other):
    expected = other.stored()
    for name, value in one.stored().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-3)


# What is derived of the moments, by hand.


def test_the_mean_difference_of_pairs_is_that_within_pairs():
    statistics = statistics_of([0, 2, 4], [4], [9, 9], difference=[3, 5])
    assert statistics.mean_difference.tolist() == [4]
    # Variance 2 of 2 pairs.
    assert statistics.standard_error.tolist() == [1]


def test_the_mean_difference_without_pairs_is_that_of_the_means():
    statistics = statistics_of([0, 2, 4], [4], [9, 11])
    assert statistics.clean.mean.tolist() == [2]
    assert statistics.mean_difference.tolist() == [8]
    # Clean: variance 4 of 3; triggered: variance 2 of 2.
    torch.testing.assert_close(statistics.standard_error, torch.tensor([(4 / 3 + 1) ** 0.5]))
    torch.testing.assert_close(statistics.pooled_variance, torch.tensor([(4 * 3 + 2 * 2) / 5]))


def test_merged_statistics_are_those_of_all_samples():
    parts = [statistics_of([0, 2, 4], [4], [9], [1]), statistics_of([3], [], [5, 7], [2, 6])]
    whole = LayerStatistics.merged(parts)
    assert whole.clean.count == 4
    assert whole.clean_target.mean.tolist() == [4]
    assert whole.triggered.mean.tolist() == [7]
    assert whole.difference.mean.tolist() == [3]
    assert parts[0].triggered.count == 1


def test_of_any_length_a_sample_is_the_mean_of_its_own_tokens():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 6, 3, generator=generator)
    lengths = [6, 2, 1, 4, 3]
    own = torch.arange(6) < torch.tensor(lengths)[:, None]
    # Padding may hold anything.
    features[~own] = torch.nan
    statistics = LayerStatistics(padding=(0, 0))
    target, partners = torch.tensor([True, False, True]), torch.tensor([2, 0])
    statistics.add(features, 2, target, partners=partners, own=own)
    means = torch.stack(
        [f[:n].mean(0, keepdim=True) for f, n in zip(features, lengths, strict=True)]
    )
    assert statistics.shape == (1, 3)
    assert_moments(statistics.triggered, means[:2])
    assert_moments(statistics.clean, means[2:])
    assert_moments(statistics.clean_target, means[2:][target])
    assert_moments(statistics.difference, means[:2] - means[2:][partners])
    tokens = torch.cat([f[:n] for f, n in zip(features[2:], lengths[2:], strict=True)])
    assert statistics.clean_places.count == len(tokens)
    torch.testing.assert_close(statistics.clean_places.mean, tokens.mean(0))
    assert statistics.triggered_places.count == 8
    # Behind a word that was added, no token has its partner's place.
    assert statistics.pair_places.count == 0
    again = LayerStatistics.restored(LayerStatistics.merged([statistics]).stored())
    assert again.padding == (0, 0)
    torch.testing.assert_close(again.clean_places.scatter, statistics.clean_places.scatter)
    assert not LayerStatistics.restored(LayerStatistics().stored()).any_length
