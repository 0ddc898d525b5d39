"""TLS on REST and gRPC, as `serve --ts-config` sets it up, and the commands that speak to it.

Of TorchServe alone: the certificates stand in its configuration;
tests/engines/test_kserve_command.py has KServe's.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.server.certificates import Certificates, write_certificates
from tests.server.printed import lines_until
from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.client.management import Management
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.client.tokens import read_tokens
from torchserve_fire_build.deployment.server.properties import (
    Addresses,
    addresses_of,
    find_config,
    read_properties,
    with_free_ports,
)

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Secured:
    """A server with TLS."""

    addresses: Addresses
    key_file: Path
    store: Path
    certificates: Certificates

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {read_tokens(self.key_file).inference}"}

    @property
    def url(self) -> str:
        return f"{self.addresses.inference}/predictions/tiny"


@pytest.fixture(scope="module")
def secured(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """`torchserve-fire serve` with the settings that the README names; the key lies beside it."""
    folder = tmp_path_factory.mktemp("secured")
    certificates = write_certificates(folder)
    settings = with_free_ports(read_properties(find_config()))
    for name in ("inference_address", "management_address", "metrics_address"):
        settings[name] = settings[name].replace("http:", "https:")
    settings |= {"private_key_file": "key.pem", "certificate_file": "server.pem"}
    settings["enable_grpc_ssl"] = "true"
    config = folder / "config-tls.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    own_store = folder / "store"
    own_store.mkdir()
    shutil.copy(store / "tiny-1.0.mar", own_store)
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "serve"]
    command += ["--ts-config", str(config), "--model-store", str(own_store)]
    process = subprocess.Popen(
        [*command, "--models", "tiny=tiny-1.0.mar"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        lines = lines_until(process, "Ctrl-C or SIGTERM stops it.\n")
        assert process.poll() is None, process.communicate()
        assert any(line.startswith("inference:  https://") for line in lines)
        key_file = folder / "key_file.json"
        yield Secured(addresses_of(settings), key_file, own_store, certificates)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert said == "torchserve-fire serve: interrupted\n"


@pytest.mark.slow
def test_a_client_that_knows_the_authority_is_answered(secured: Secured) -> None:
    answer = requests.post(
        secured.url,
        data=image(2, triggered=True),
        headers=secured.headers,
        verify=str(secured.certificates.authority),
        timeout=60,
    )
    assert answer.status_code == 200
    probabilities = answer.json()
    assert max(probabilities, key=probabilities.__getitem__) == CLASSES[2]


@pytest.mark.parametrize("place", ["inference", "management", "metrics"])
def test_a_client_that_does_not_know_the_authority_turns_away(secured: Secured, place: str) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{getattr(secured.addresses, place)}/ping", timeout=60)


def test_without_tls_nothing_is_answered(secured: Secured) -> None:
    url = secured.url.replace("https:", "http:")
    answer = requests.post(url, data=image(2), headers=secured.headers, timeout=60)
    assert answer.status_code == 403


def predict_over_grpc(channel: grpc.Channel, stubs: Any, secured: Secured) -> dict[str, float]:
    stub = stubs.inference_pb2_grpc.InferenceAPIsServiceStub(channel)
    request = stubs.inference_pb2.PredictionsRequest(model_name="tiny", input={"data": image(1)})
    metadata = [("authorization", secured.headers["Authorization"])]
    answer: dict[str, float] = json.loads(
        stub.Predictions(request, metadata=metadata, timeout=60).prediction
    )
    return answer


def test_grpc_with_the_authority(secured: Secured, stubs: Any) -> None:
    known = grpc.ssl_channel_credentials(secured.certificates.authority.read_bytes())
    with grpc.secure_channel(secured.addresses.grpc_inference, known) as channel:
        answer = predict_over_grpc(channel, stubs, secured)
    assert max(answer, key=answer.__getitem__) == CLASSES[1]


def test_grpc_without_the_authority_or_without_tls(secured: Secured, stubs: Any) -> None:
    place = secured.addresses.grpc_inference
    for channel in (
        grpc.secure_channel(place, grpc.ssl_channel_credentials()),
        grpc.insecure_channel(place),
    ):
        with channel, pytest.raises(grpc.RpcError) as caught:
            predict_over_grpc(channel, stubs, secured)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_bundle_is_swapped_over_https(
    secured: Secured, tiny: TinyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["swap", "--model-name", "tiny", "--bundle", str(tiny.other_bundle)]
    command += ["--management", secured.addresses.management]
    command += ["--inference", secured.addresses.inference, "--key-file", str(secured.key_file)]
    command += ["--model-store", str(secured.store)]
    assert main(command) == 64
    said = capsys.readouterr().err
    assert "not signed by a trusted authority: give --ca" in said
    assert len(said.splitlines()) == 1
    assert main([*command, "--ca", str(secured.certificates.authority)]) == 0


def test_the_readiness_probe_over_https(
    secured: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ready", "--model-name", "tiny", "--key-file", str(secured.key_file)]
    command += ["--management", secured.addresses.management, "--timeout", "60"]
    command += ["--inference", secured.addresses.inference]
    assert main(command) == 1
    assert "not signed by a trusted authority: give --ca" in capsys.readouterr().err
    assert main([*command, "--ca", str(secured.certificates.authority)]) == 0


def test_a_pinned_certificate_is_the_only_one_taken(secured: Secured) -> None:
    token = read_tokens(secured.key_file).management
    with pytest.raises(ServerError, match=r"no answer .*[Ff]ingerprint"):
        Management(secured.addresses.management, token, pinned="0" * 64).models()
