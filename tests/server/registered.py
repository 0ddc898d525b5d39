"""Models that tests register on the running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tiny import TinyFiles
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

BOUNDS = {
    "batch_size": 4,
    "max_batch_delay": 10,
    "response_timeout": 60,
    "startup_timeout": 60,
}
"""As short as two slow cores allow; a test whose own differ says which."""


@contextmanager
def registered_tiny(
    server: TorchServe, tiny: TinyFiles, name: str, folder: Path, *, delay: int = 10
) -> Iterator[None]:
    """Serve a model with one version of one worker; the block leaves one, of whatever number."""
    archive = package_archive(
        ArchiveInputs(
            name,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            tiny.config(folder),
            tiny.bundle,
            extra_files=str(tiny.names),
        ),
        server.model_store,
    )
    with registered(server, archive.name, name, **{**BOUNDS, "max_batch_delay": delay}):
        yield


@contextmanager
def registered(server: TorchServe, archive: str, name: str, **bounds: int) -> Iterator[None]:
    """Serve an archive of the server's store with one worker; the block leaves one version.

    Args:
        server: the server.
        archive: its file's name.
        name: of the model, with which those of its archives begin.
        bounds: as of `BOUNDS`.
    """
    server.management.register(archive, name, workers=1, **bounds)
    try:
        yield
    finally:
        default = server.management.describe(name).version
        for version in [v.version for v in server.management.describe_all(name)]:
            if version != default:
                server.management.unregister(name, version)
        server.management.unregister(name, default)
        for path in server.model_store.glob(f"{name}-*"):
            path.unlink()
