"""What Ray Serve does besides: user_config, several replicas, one that is killed, who may ask.

A process of its own: Ray reads its settings once.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml

from benchmarks.load.steady import steady_traffic, wait_for
from tests.keys import KEY, OTHER_KEY
from tests.server.traffic import PAUSE_SECONDS, Outcome, body_of, is_bad, is_right
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.watch.metrics import DRIFT, LABELS
from torchserve_fire_build.signing.sign_bundle import sign_bundle

from .conftest import Started
from .engine import wait_until
from .inference_grpc import Place, infer
from .other_address import other_address
from .ray_cluster import RayCluster
from .ray_engine import PROMETHEUS, RayEngine, application

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("engine_name", ["ray"], indirect=True)]

NAME, SWAPS, CLIENTS, FEW = "signed", 12, 3, 20


class Signed:
    """Two replicas of an archive that takes signed bundles only, by their `user_config`."""

    def __init__(self, cluster: RayCluster, archive: Path) -> None:
        self.cluster = cluster
        self.archive = archive
        self.url = f"{cluster.base}/{NAME}/predictions/{NAME}"

    def configure(self, bundle: Path | None, status: str = "RUNNING") -> None:
        user_config = {} if bundle is None else {"user_config": {"bundle": str(bundle)}}
        self.cluster.deploy(
            application(
                NAME,
                self.archive,
                f"/{NAME}",
                num_replicas=2,
                health_check_period_s=1,
                **user_config,
            ),
            status,
        )

    def describe(self) -> list[dict[str, Any]]:
        return self.cluster.describe(NAME)

    def served(self) -> set[str]:
        """The digests of the bundles that the replicas go by."""
        return {str(each["bundle"]) for each in self.describe()}

    def pids(self) -> set[int]:
        return {int(each["worker_pid"]) for each in self.describe()}

    def client(self) -> Callable[[int], Outcome]:
        session = requests.Session()

        def ask(index: int) -> Outcome:
            try:
                told = session.post(self.url, data=body_of(index), timeout=120)
            except requests.RequestException as error:
                return Outcome(index, 0, str(error))
            is_json = told.headers.get("content-type") == "application/json"
            body = told.json() if is_json else told.text
            return Outcome(index, told.status_code, body, told.headers.get("x-fire-bundle", ""))

        return ask


@pytest.fixture(scope="module")
def cluster(started: Started) -> RayCluster:
    assert isinstance(started.engine, RayEngine)
    return started.engine.cluster


@pytest.fixture(scope="module")
def signed(cluster: RayCluster, signed_archive: Path) -> Iterator[Signed]:
    model = Signed(cluster, signed_archive)
    model.configure(None)
    yield model
    cluster.delete(NAME)


@pytest.fixture(scope="module")
def bundles(tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by what they are, signed but for one."""
    folder = tmp_path_factory.mktemp("bundles")

    def copied(name: str, source: Path, key: Any = KEY) -> Path:
        path = Path(shutil.copy(source, folder / f"{name}.safetensors"))
        sign_bundle(path, key)
        return path

    made = {
        "one": copied("one", tiny.bundle),
        "other": copied("other", tiny.other_bundle),
        "foreign": copied("foreign", tiny.foreign_bundle),
        "of another key": copied("other_key", tiny.other_bundle, OTHER_KEY),
        "unsigned": Path(shutil.copy(tiny.other_bundle, folder / "unsigned.safetensors")),
        "damaged": copied("damaged", tiny.other_bundle),
    }
    made["damaged"].write_bytes(made["other"].read_bytes()[:-1])
    return made


REFUSED = {
    "foreign": "built for the weights",
    "unsigned": "cannot read the bundle's signature",
    # Its signature is of the bytes that it had.
    "damaged": "damaged.safetensors.sig: signs another bundle",
    "of another key": "key",
}


def digest(file: Path) -> str:
    return load_bundle(file).digest


def test_swaps_under_load_lose_and_mix_nothing(signed: Signed, bundles: dict[str, Path]) -> None:
    pids, refused = signed.pids(), list(REFUSED)
    assert len(pids) == 2
    with steady_traffic([signed.client() for _ in range(CLIENTS)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, FEW)
        for number in range(SWAPS):
            file = bundles["other" if number % 2 == 0 else "one"]
            signed.configure(file)
            assert signed.served() == {digest(file)}
            wait_for(outcomes, FEW)
            assert {o.bundle for o in outcomes[-10:] if not is_bad(o.index)} == {digest(file)}
            if number % 3 == 2:
                wrong = refused[number // 3]
                signed.configure(bundles[wrong])
                wait_for(outcomes, FEW)
                for told in signed.describe():
                    assert told["bundle"] == digest(file)
                    assert REFUSED[wrong] in told["user_config"]["refused"]
                    assert told["user_config"]["asked"] == {"bundle": str(bundles[wrong])}
                    assert told["user_config"]["refused"] in signed.cluster.logs()
    assert [o for o in outcomes if not is_right(o)] == []
    assert signed.pids() == pids
    signed.configure(None)
    assert signed.served() == {digest(bundles["one"])}
    assert all(told["user_config"]["refused"] is None for told in signed.describe())


def test_a_killed_replica_comes_back_repaired_by_the_bundle_that_was_asked_for(
    signed: Signed, bundles: dict[str, Path]
) -> None:
    signed.configure(bundles["other"])
    before = signed.pids()
    with steady_traffic([signed.client() for _ in range(CLIENTS)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, FEW)
        os.kill(min(before), signal.SIGKILL)
        signed.cluster.wait_for(lambda: len(signed.pids() - before) == 1)
        wait_for(outcomes, FEW)
    answered = [o for o in outcomes if o.status not in (0, 500, 503)]
    assert [o for o in answered if not is_right(o)] == []
    assert {o.bundle for o in answered if not is_bad(o.index)} == {digest(bundles["other"])}
    # What was with the replica that was killed, and no more.
    assert len(outcomes) - len(answered) <= CLIENTS
    assert signed.served() == {digest(bundles["other"])}


def test_a_replica_does_not_start_with_what_is_refused_while_others_go_on(
    signed: Signed, bundles: dict[str, Path]
) -> None:
    signed.configure(bundles["other"])
    signed.configure(bundles["foreign"])
    before = signed.pids()
    os.kill(min(before), signal.SIGKILL)

    def message() -> str:
        return str(signed.cluster.application(NAME).deployments["FireModel"].message)

    signed.cluster.wait_for(lambda: REFUSED["foreign"] in message())
    ask = signed.client()
    for index in range(FEW):
        assert is_right(ask(index))
    assert signed.served() == {digest(bundles["other"])}
    assert signed.pids() == {max(before)}
    signed.configure(bundles["one"])
    signed.cluster.wait_for(lambda: len(signed.pids()) == 2)
    assert signed.served() == {digest(bundles["one"])}


def test_an_application_that_cannot_be_repaired_is_not_deployed(
    cluster: RayCluster, signed: Signed, bundles: dict[str, Path]
) -> None:
    cluster.deploy(
        application(
            "refused",
            signed.archive,
            "/refused",
            user_config={"bundle": str(bundles["foreign"])},
            max_constructor_retry_count=1,
        ),
        "DEPLOY_FAILED",
    )
    message = cluster.application("refused").deployments["FireModel"].message
    assert REFUSED["foreign"] in message
    answer = requests.post(f"{cluster.base}/refused/predictions/{NAME}", image(1), timeout=60)
    assert answer.status_code >= 400
    cluster.delete("refused")


def test_prometheus_gives_all_metrics_their_names(
    signed: Signed, bundles: dict[str, Path], started: Started
) -> None:
    signed.configure(bundles["foreign"])
    for body in (image(2, triggered=True), b"no image"):
        requests.post(signed.url, body, timeout=60)
    (config,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
    rules = config["metric_relabel_configs"]
    assert all(
        set(rule["source_labels"] + [rule["target_label"]]) == {"__name__"} for rule in rules
    )
    assert {rule["replacement"] for rule in rules} == set(LABELS)
    engine = RayEngine(started.engine.folder)
    engine.cluster, engine.model = signed.cluster, NAME
    # Of few requests no drift is known.
    wait_until(lambda: {name for name, *_ in engine.samples()} >= set(LABELS) - {DRIFT})
    wait_until(lambda: engine.count("FireBundleSwapsRefused") >= 2)
    assert engine.count("FireRequestsUnrepaired") == 0


def test_grpc_is_answered_to_this_machine_alone_unless_args_say_otherwise(
    cluster: RayCluster, signed: Signed
) -> None:
    host = other_address()
    metadata = (("application", NAME),)
    port = cluster.grpc.rpartition(":")[2]
    contents = {"bytes_contents": [image(1)]}
    asked = {"name": "image", "shape": [1], "datatype": "BYTES", "contents": contents}
    here, outside = (
        Place(f"{address}:{port}", metadata=metadata) for address in ("127.0.0.1", host)
    )
    assert infer(here, NAME, [asked]).status == grpc.StatusCode.OK
    refused = infer(outside, NAME, [asked])
    assert refused.status == grpc.StatusCode.PERMISSION_DENIED
    assert "grpc_clients: any" in refused.said
    open_to_all = application("open", signed.archive, "/open")
    open_to_all["args"]["grpc_clients"] = "any"
    cluster.deploy(open_to_all)
    place = Place(outside.address, metadata=(("application", "open"),))
    assert infer(place, NAME, [asked]).status == grpc.StatusCode.OK
    cluster.delete("open")


def test_bytes_that_are_no_message_are_refused(cluster: RayCluster, signed: Signed) -> None:
    with grpc.insecure_channel(cluster.grpc) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as raised:
            ask(b"\xff\xff", timeout=60, metadata=(("application", NAME),))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "expected a message inference.ModelInferRequest" in raised.value.details()
