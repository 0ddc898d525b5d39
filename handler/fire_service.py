"""The entry of an archive: TorchServe takes the one class that this file defines.

It lies beside the folder `torchserve_fire`, as which `handler` is packed.
"""

from torchserve_fire.fire_handler import FireHandler  # type: ignore[import-not-found]


class FireService(FireHandler):  # type: ignore[misc]
    """Serves the archive's model with its direction bundle."""
