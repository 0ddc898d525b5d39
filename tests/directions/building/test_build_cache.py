import logging
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.directions.backdoored import TENSOR, loaded, tensor_sets, two_trigger_sets
from torchserve_fire.format.bundle_file import bundle_to_bytes
from torchserve_fire_build.building.build_cache import cache_of
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import build_bundle, build_from_evidence
from torchserve_fire_build.common import code_digest
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples

CHECKOUT = Path(__file__).parents[3]

KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from tests.directions.building.test_build_cache import evidence_in, options_of
from tests.directions.backdoored import loaded
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.common import step_cache

folder, cache, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
write, written = step_cache.write_file, []

def write_and_die(data, path):
    if len(written) == steps:
        path.with_name(f".{path.name}.half.tmp").write_bytes(data[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    write(data, path)
    written.append(path)

step_cache.write_file = write_and_die
build_from_evidence(loaded("map"), evidence_in(folder), options_of(cache))
"""
"""A build that is killed while it writes what a step resulted in."""


def evidence_in(folder, *, kind="map", sets=tensor_sets, **options):
    made = sets(folder, kind, **options)
    return gather_evidence(*(open_samples(file, TENSOR) for file in (made.clean, made.triggered)))


def options_of(cache):
    return BuildOptions(cache=cache)


@contextmanager
def counting_samples():
    """Count the samples that go through any model."""
    seen = []

    def hook(module, args, output):
        if type(module).__name__.endswith("Net") and isinstance(output, torch.Tensor):
            seen.append(len(args[0]))

    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def built(evidence, cache=None, kind="map"):
    """The bytes of a bundle, and how many samples the model was run on for it."""
    with counting_samples() as seen:
        result = build_from_evidence(loaded(kind), evidence, options_of(cache))
    return bundle_to_bytes(result.bundle, "b"), sum(seen)


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.slow
def test_a_build_that_was_killed_goes_on_where_it_stopped(tmp_path, steps, caplog):
    cache = tmp_path / "cache"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER, tmp_path / "samples", cache, str(steps)],
        cwd=CHECKOUT,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept = {file: file.read_bytes() for file in cache.iterdir() if file.suffix != ".tmp"}
    assert len(kept) == steps
    evidence = evidence_in(tmp_path / "samples")
    with caplog.at_level(logging.INFO):
        resumed, ran = built(evidence, cache)
    assert f"cache: {cache}: going on from the steps that it holds" in caplog.messages
    assert kept.items() <= {file: file.read_bytes() for file in cache.iterdir()}.items()
    whole, ran_in_all = built(evidence)
    assert resumed == whole
    again, least = built(evidence, cache)
    assert again == whole
    assert least < ran
    if steps > 1:
        assert ran < ran_in_all


@pytest.mark.parametrize(
    ("kind", "sets", "options"),
    [
        ("map", tensor_sets, {"paired": False, "labelled": False}),
        ("vector", two_trigger_sets, {}),
        ("token", tensor_sets, {"paired": False}),
    ],
)
def test_a_bundle_is_the_same_with_any_part_of_the_cache(tmp_path, kind, sets, options):
    cache = tmp_path / "cache"
    evidence = evidence_in(tmp_path / "samples", kind=kind, sets=sets, **options)
    whole, _ = built(evidence, kind=kind)
    assert built(evidence, cache, kind)[0] == whole
    steps = sorted(cache.iterdir())
    for part in (1, 2):
        for file in steps[::part][: len(steps) // 2]:
            file.unlink()
        assert built(evidence, cache, kind)[0] == whole
        assert sorted(cache.iterdir()) == steps


class Other(nn.Module):
    """The same layers, and other answers."""

    def __init__(self, net, factor=1.0):
        super().__init__()
        self.net = net
        self.factor = factor

    def forward(self, inputs):
        return self.factor * self.net(inputs)


def test_whatever_decides_a_build_has_a_cache_of_its_own(tmp_path, monkeypatch):
    model, evidence = loaded("map"), evidence_in(tmp_path / "samples")
    options = options_of(tmp_path / "cache")
    names = tmp_path / "index_to_name.json"

    def work(model=model, evidence=evidence, options=options, names=None):
        return cache_of(model, evidence, options, names).work

    usual = work()
    assert work() == usual
    assert work(options=replace(options, cache=tmp_path)) == usual
    wrapped = replace(model, model=Other(model.model))
    names.write_text("{}")
    others = [
        work(loaded("map", drive=40.0)),
        work(wrapped),
        work(replace(model, model=Other(model.model, factor=2.0))),
        work(evidence=evidence_in(tmp_path / "other", seed=1)),
        work(evidence=evidence_in(tmp_path / "without", labelled=False)),
        work(evidence=replace(evidence, partners=[])),
        work(evidence=replace(evidence, origins=[0] * 40)),
        work(names=names),
        *(
            work(options=replace(options, **change))
            for change in (
                {"layers": ["relu"]},
                {"target": 0},
                {"form": "shift"},
                {"seed": 1},
                {"several": (0, 1)},
                {"all_to_all": True},
                {"repairs": {"transport"}},
                {"augment": "none"},
            )
        ),
    ]
    monkeypatch.setattr(code_digest, "packages_digest", lambda: "another version")
    others.append(work())
    monkeypatch.undo()
    monkeypatch.setattr(code_digest, "version", lambda name: "another version")
    others.append(work())
    assert len({usual, *others}) == 1 + len(others)


def test_builds_of_other_samples_share_a_folder(tmp_path):
    cache = tmp_path / "cache"
    one, two = (evidence_in(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    first, _ = built(one, cache)
    second, _ = built(two, cache)
    assert (built(one)[0], built(two)[0]) == (first, second)
    assert first != second


def test_from_python(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    samples = [open_samples(file, TENSOR) for file in (sets.clean, sets.triggered)]
    build_bundle(loaded("vector"), *samples, cache=tmp_path / "cache")
    assert any((tmp_path / "cache").iterdir())
