import pytest

from benchmarks import fire, first_bundle
from benchmarks.first_bundle import obtain_first
from benchmarks.samples import without_labels
from tests.benchmarks.patch_victim import as_pixels, held, victim
from tests.directions.reconstruct.patch_net import images


def not_again(*args, **kwargs):
    raise AssertionError("built again")


@pytest.mark.slow
def test_the_attackers_trigger_is_what_is_measured(tmp_path, monkeypatch):
    backdoored, clean = victim(10.0), without_labels(as_pixels(images(120)), "clean")
    first = obtain_first(backdoored, clean, tmp_path)
    assert first.row["named"] == [0]
    assert first.bundle.targets == (0,)
    figures = fire.measure(backdoored.model, first.bundle, held())["figures"]
    assert figures["recovered_accuracy"] > 0.95
    assert figures["clean_accuracy"] == 1
    monkeypatch.setattr(first_bundle, "build_from_clean", not_again)
    kept = obtain_first(backdoored, clean, tmp_path)
    assert kept.row == first.row
    assert fire.measure(backdoored.model, kept.bundle, held())["figures"] == figures


@pytest.mark.slow
def test_a_benign_model(tmp_path, monkeypatch):
    clean = without_labels(as_pixels(images(120)), "clean")
    first = obtain_first(victim(0.0), clean, tmp_path)
    assert first.bundle is None
    assert first.row["named"] == []
    assert "refused" not in first.row
    assert "no sign of a trigger" in first.row["logged"][-1]
    monkeypatch.setattr(first_bundle, "build_from_clean", not_again)
    kept = obtain_first(victim(0.0), clean, tmp_path)
    assert (kept.row, kept.bundle) == (first.row, None)
    with pytest.raises(AssertionError, match="built again"):
        obtain_first(victim(0.0), without_labels(as_pixels(images(121)), "clean"), tmp_path)
