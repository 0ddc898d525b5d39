"""The pods of deploy/kubernetes, as far as one machine has them: their arguments, a read-only root.

The two containers run the arguments of their manifests, on a signed archive, as another user.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.bare_container import COMMAND, USER, BareContainer, can_be_made
from tests.deploy.manifests import KUBERNETES, ROOT, containers
from tests.keys import PUBLIC
from tests.tiny import CLASSES, image

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_made(), reason="expected root, and namespaces"),
]

MODEL = "signed"
FETCH = """
import sys
from urllib.request import Request, urlopen
address, *sent = sys.argv[1:]
headers = {"Content-Type": "application/octet-stream"}
body = open(*sent, "rb").read() if sent else None
print(urlopen(Request(address, body, headers), timeout=60).read().decode())
"""


def fetch(*arguments: str) -> list[str]:
    """Return the command that prints what is at an address, maybe for the contents of a file."""
    return [sys.executable, "-c", FETCH, *arguments]


@dataclass(frozen=True)
class Pod:
    """A manifest's container.

    Attributes:
        file: of the manifest.
        name: of the container.
        archive: where it finds its archive.
        ready: its probe.
        predictions: the address that answers pictures.
        stopped: its status once it was stopped.
    """

    file: str
    name: str
    archive: str
    ready: Sequence[str]
    predictions: str
    stopped: int


HERE = "http://127.0.0.1:8080"
PODS = [
    Pod(
        "torchserve.yaml",
        "torchserve",
        "/store/model_store/net-1.0.mar",
        [*COMMAND, "ready", "--model-name", MODEL, "--timeout", "20"],
        f"{HERE}/predictions/{MODEL}",
        130,
    ),
    Pod(
        "kserve-sdk.yaml",
        "kserve-container",
        "/mnt/models/model.mar",
        fetch(f"{HERE}/v2/models/{MODEL}/ready"),
        f"{HERE}/v1/models/{MODEL}:predict",
        0,
    ),
]


@pytest.fixture(scope="module", params=PODS, ids=lambda pod: pod.name)
def pod(request: pytest.FixtureRequest) -> Pod:
    found: Pod = request.param
    return found


@pytest.fixture(scope="module")
def running(
    pod: Pod, tmp_path_factory: pytest.TempPathFactory, signed_archive: Path
) -> Iterator[BareContainer]:
    folder = tmp_path_factory.mktemp(pod.name)
    sent = folder / "image.png"
    sent.write_bytes(image(1))
    # As docs/kubernetes.md fills them.
    mounted = {
        str(Path(pod.archive).parent): {Path(pod.archive).name: signed_archive},
        "/config": {
            "config.properties": KUBERNETES / "config.properties",
            "metrics.yaml": ROOT / "metrics.yaml",
        },
        "/sent": {"image.png": sent},
    }
    mounts = {inside: folder / Path(inside).name for inside in mounted}
    for inside, files in mounted.items():
        mounts[inside].mkdir()
        for name, file in files.items():
            shutil.copyfile(file, mounts[inside] / name)
    (arguments,) = (
        each["args"] for each in containers(KUBERNETES / pod.file) if each["name"] == pod.name
    )
    arguments = [
        each.replace("$(TRUSTED_KEY)", PUBLIC).replace("net=", f"{MODEL}=") for each in arguments
    ]
    started = BareContainer(folder, mounts, arguments)
    try:
        started.wait_for(pod.ready)
        yield started
    finally:
        status = started.stop()
    assert status == pod.stopped, started.log.read_text()


def test_it_answers(pod: Pod, running: BareContainer) -> None:
    answered = running.run(fetch(pod.predictions, "/sent/image.png"))
    assert answered.returncode == 0, answered.stderr
    assert CLASSES[1] in answered.stdout


def test_nothing_but_the_mounts_can_be_written_to(running: BareContainer) -> None:
    # With all rights, so that only the root's being read-only is in the way.
    for place in ("/", "/usr", "/etc", sys.prefix, str(ROOT), "/dev"):
        refused = running.run_as_root(["touch", str(Path(place, "written"))])
        assert "Read-only file system" in refused.stderr


def test_it_has_no_rights(running: BareContainer) -> None:
    status = Path(f"/proc/{running.first_process}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == [str(USER)] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
