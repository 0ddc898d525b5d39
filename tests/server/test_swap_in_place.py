"""Bundles that a real TorchServe's workers take from a folder, between two requests.

Of TorchServe alone: here the command `swap --in-place` waits until all workers agree, as the
management API tells. That nothing is lost on any engine is asked in tests/engines/test_traffic.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from benchmarks.load.steady import steady_traffic, wait_for
from tests.keys import KEY
from tests.server.registered import BOUNDS
from tests.server.traffic import PAUSE_SECONDS, is_bad, is_right, rest_client
from tests.tiny import TinyFiles
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.bundle_signature import signature_path
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.swap import swap_bundle
from torchserve_fire_build.deployment.client.swap_in_place import swap_in_place
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "followed"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def model(
    server: TorchServe,
    tiny: TinyFiles,
    bundles: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    config = tiny.config(tmp_path_factory.mktemp("config"))
    values = yaml.safe_load(config.read_text())
    # What the archive's own configuration says stands above what is registered.
    values.update(minWorkers=2, maxWorkers=2, batchSize=4, maxBatchDelay=50)
    values["handler"]["bundle_folder"] = str(bundles)
    config.write_text(yaml.safe_dump(values))
    archive = package_archive(
        ArchiveInputs(
            NAME,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            config,
            tiny.bundle,
            extra_files=str(tiny.names),
        ),
        server.model_store,
    )
    server.management.register(archive.name, NAME, workers=2, **BOUNDS)
    yield NAME
    server.management.unregister(NAME, server.management.describe(NAME).version)
    for path in server.model_store.glob(f"{NAME}-*"):
        path.unlink()


def command(server: TorchServe, name: str, *more: str) -> list[str]:
    words = [name, "--management", server.addresses.management]
    return [*words, "--key-file", str(server.key_file), *more]


def status(server: TorchServe, capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert main(command(server, "status", "--json")) == 0
    (one,) = [each for each in json.loads(capsys.readouterr().out) if each["model"] == NAME]
    return dict(one)


def test_swaps_under_load_lose_and_mix_nothing_in_the_same_workers(
    server: TorchServe, model: str, tiny: TinyFiles
) -> None:
    workers = set(server.management.describe(model).workers)
    assert len(workers) == 2
    digest = {file: load_bundle(file).digest for file in (tiny.bundle, tiny.other_bundle)}
    with steady_traffic([rest_client(server, NAME) for _ in range(3)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, 20)
        for file in (tiny.other_bundle, tiny.bundle, tiny.other_bundle):
            swap_in_place(server.management, model, file, report=lambda _: None)
            wait_for(outcomes, 20)
            # Those that were on their way while the last worker took it are answered by now.
            used = [o.bundle for o in outcomes[-10:] if not is_bad(o.index)]
            assert set(used) == {digest[file]}
            with pytest.raises(
                FireError, match=r"weights_sha256.*taken away again, all workers go"
            ):
                swap_in_place(server.management, model, tiny.foreign_bundle, report=lambda _: None)
            wait_for(outcomes, 20)
            used = [o.bundle for o in outcomes[-10:] if not is_bad(o.index)]
            assert set(used) == {digest[file]}
    assert [o for o in outcomes if not is_right(o)] == []
    assert {o.bundle for o in outcomes if not is_bad(o.index)} == set(digest.values())
    assert set(server.management.describe(model).workers) == workers


def test_what_lies_there_by_hand_is_told_by_each_worker(
    server: TorchServe,
    model: str,
    tiny: TinyFiles,
    bundles: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        main(
            command(
                server,
                "swap",
                "--model-name",
                NAME,
                "--bundle",
                str(tiny.bundle),
                "--in-place",
                str(bundles),
                "--inference",
                server.addresses.inference,
            )
        )
        == 0
    )
    assert "all workers of followed 1.0 (2) go by" in capsys.readouterr().out
    wrong = bundles / "wrong.safetensors"
    wrong.write_bytes(tiny.other_bundle.read_bytes()[:-1])
    one = status(server, capsys)
    assert set(one["bundles"].values()) == {load_bundle(tiny.bundle).digest}
    assert len(one["refused"]) == 2
    assert main(command(server, "status")) == 0
    assert capsys.readouterr().out.count("did not take the newest bundle of its folder") == 2
    # A worker that begins goes by what the others go by.
    server.management.scale(model, "1.0", 1, 1, timeout=60)
    server.management.scale(model, "1.0", 2, 2, timeout=60)
    one = status(server, capsys)
    assert set(one["bundles"].values()) == {load_bundle(tiny.bundle).digest}
    wrong.unlink()
    assert status(server, capsys)["refused"] == {}


@pytest.mark.slow
def test_while_a_worker_answers_nothing_it_is_told_and_nothing_changes(
    server: TorchServe, model: str, tiny: TinyFiles, bundles: Path
) -> None:
    pid, _ = server.management.describe(model).workers
    before = sorted(path.name for path in bundles.iterdir())
    psutil.Process(pid).suspend()
    try:
        with pytest.raises(
            FireError, match=rf"worker {pid} did not answer within 4 s.*nothing was put into"
        ):
            swap_in_place(
                server.management, model, tiny.other_bundle, report=lambda _: None, seconds=4.0
            )
    finally:
        psutil.Process(pid).resume()
    assert sorted(path.name for path in bundles.iterdir()) == before
    swap_in_place(server.management, model, tiny.other_bundle, report=lambda _: None)


def test_a_signature_is_put_there_too(
    server: TorchServe, model: str, tiny: TinyFiles, bundles: Path
) -> None:
    swap_in_place(
        server.management, model, tiny.other_bundle, report=lambda _: None, signing_key=KEY
    )
    digest = load_bundle(tiny.other_bundle).digest
    assert signature_path(bundles / f"bundle-{digest[:16]}.safetensors").is_file()
    assert [path.name for path in bundles.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_another_version_goes_by_the_folder_whatever_its_archive_holds(
    server: TorchServe, model: str, tiny: TinyFiles
) -> None:
    target = Target(
        server.management,
        server.addresses.inference,
        server.tokens.inference,
        server.model_store,
    )
    with pytest.raises(FireError, match=r"newest bundle in .*give --in-place"):
        swap_bundle(target, model, tiny.other_bundle)
    swap_in_place(server.management, model, tiny.other_bundle, report=lambda _: None)
    # Its answers are compared with those of a worker here, which looks there, too.
    assert swap_bundle(target, model, None, mode="observe", report=lambda _: None) == "1.1"
    answer = rest_client(server, NAME)(1)
    assert (answer.status, answer.bundle) == (200, load_bundle(tiny.other_bundle).digest)


def test_a_model_without_a_folder_is_told(server: TorchServe, tiny: TinyFiles) -> None:
    with pytest.raises(FireError, match="no worker says that it looks at a folder"):
        swap_in_place(server.management, "tiny", tiny.bundle)
