"""TorchServe's traps, and which test shows that ours does not fall in.

A RuntimeError from a worker's `initialize` leaves a version without workers, which cannot be
registered again: here, for a user's handler; `test_swap.test_a_tampered_bundle_is_refused...` for
ours; every refusal of `tests/handler/serve/test_fire_handler.py` is no RuntimeError.

`/ping` is Healthy while the workers crash as they load: `test_ready`.

A client's header `describe` turns a whole batch into one answer:
`tests/engines/test_serving.py` (`test_a_describe_header_...`), `tests/engines/test_traffic.py`.

One bad image fails its batch: `tests/engines/test_serving.py` (`test_a_bad_image_is_refused_...`).

Over gRPC a request's status is lost: `test_grpc.test_the_body_tells_a_bad_image_in_a_batch`.

An answer over the Open Inference Protocol that has not its shape kills the worker:
`tests/engines/test_open_inference.py`.

A new version does not become the default, one that exists is refused, and unregistering loses what
waits in the queue: `test_swap`.

A file name that exists already is refused: `test_swap.test_a_taken_version_is_passed_over...`; and
`test_serving.test_only_the_model_store_can_be_registered_from`.

Without PyYAML every worker dies at import: `tests/directions/common/test_environment.py` (`serve`
does not start then).

An empty model-config.yaml: here, and `tests/handler/model/test_config.py` (`package` refuses it).

Hooks on a ScriptModule never run: `tests/handler/serve/test_fire_handler.py`
(`test_torchscript_is_refused...`) and `tests/handler/serve/test_repair_mixin.py`.

Weights are unpickled: `tests/handler/serve/test_fire_handler.py`
(`test_weights_are_never_unpickled`).

Archives of the same content differ, and packing two at once collides:
`tests/directions/deployment/archive/test_package.py`.

A `java` process stays behind: `test_serve_command`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.registered import BOUNDS
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "trap"
OOPS = "raise RuntimeError('no such device')\n"


def changed_archive(source: Path, target: Path, entry: str, change: Callable[[str], str]) -> None:
    """Copy an archive with one of its files changed, past what `package` would have refused."""
    with zipfile.ZipFile(source) as packed, zipfile.ZipFile(target, "w") as changed:
        for name in packed.namelist():
            data = packed.read(name)
            changed.writestr(name, change(data.decode()).encode() if name == entry else data)


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("handler.py", lambda text: text.replace("self.context = context\n", OOPS)),
        ("handler.py", lambda text: OOPS + text),
        (
            "handler.py",
            lambda text: text.replace(
                "    def initialize",
                "    def __init__(self):\n        " + OOPS + "\n    def initialize",
            ),
        ),
        ("model-config.yaml", lambda text: ""),
    ],
    ids=["initialize", "import", "init", "empty configuration"],
)
@pytest.mark.slow
def test_a_failed_registration_leaves_no_version(
    server: TorchServe, entry: str, change: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    archive = server.model_store / f"{NAME}.mar"
    changed_archive(server.model_store / "theirs-1.0.mar", archive, entry, change)
    name = f"{NAME}-{request.node.callspec.id.replace(' ', '-')}"
    try:
        with pytest.raises(ServerError) as caught:
            server.management.register(archive.name, name, workers=1, **{**BOUNDS, "batch_size": 1})
        assert caught.value.status == 500
        # One left behind could not be registered again.
        assert name not in server.management.models()
    finally:
        archive.unlink()
