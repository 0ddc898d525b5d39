import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks import baselines
from benchmarks.baselines import baseline_of
from benchmarks.victims.recipe import BriefRecipe
from tests.benchmarks.patch_victim import held, victim

VICTIM = replace(victim(30.0), recipe=BriefRecipe("resnet", None, 1))
DATA = SimpleNamespace(digest="0123")
KEPT = {"clean_accuracy": 0.5}


def write(folder, digest, baseline=KEPT):
    file = folder / f"{VICTIM.recipe.name}.json"
    file.write_text(json.dumps({"digest": digest, "baseline": baseline}))


def obtain(folder):
    return baseline_of(VICTIM.recipe, VICTIM, held(), DATA, folder, folder)


def test_what_was_measured_on_these_images_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "obtain_victim", lambda *_: pytest.fail("nothing is trained"))
    write(tmp_path, VICTIM.recipe.digest(DATA.digest))
    assert obtain(tmp_path) == KEPT


@pytest.mark.parametrize("kept", [None, ("other images", KEPT), ("", None)])
def test_else_the_benign_twin_is_measured(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(baselines, "obtain_victim", lambda *_: victim(0.0))
    if kept is not None:
        digest, baseline = kept
        write(tmp_path, digest or VICTIM.recipe.digest(DATA.digest), baseline)
    found = obtain(tmp_path)
    assert (found["benign"], found["benign_clean"]) == (1, 1)
    assert (found["attack_success_rate"], found["natural_rate"]) == (1, 0)
