"""The entry of an archive: TorchServe takes the one class that this file defines.

An archive holds a copy of it at its top, beside the package `torchserve_fire`.
"""

from torchserve_fire.serve.fire_handler import FireHandler


class FireService(FireHandler):
    """Serves the archive's model with its direction bundle."""
