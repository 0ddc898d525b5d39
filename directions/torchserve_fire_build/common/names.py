"""Names of methods, and the defaults that help shows, known without torch.

The methods themselves are elsewhere; a test compares these names with theirs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

LEVELS = 255
"""Steps between black and white, in which bounds are given."""

MAX_SEED = 2**63 - 1

NAMES_FILE = "index_to_name.json"
"""TorchServe reads the names of the classes from it."""

FORMS = ("gated", "shift", "clamp")
"""What a bundle may do: `build --form`; the first is the default."""

AUGMENT = ("standard", "none", "strong")
"""How far a build alters the trigger: `build --augment`; the first is the default."""

DEMOS: Mapping[str, str] = {
    "digits": "images of handwritten digits, with a patch",
    "malware": "a table of made-up programs' header fields, six of which are set",
    "text": "made-up messages, with a word that means nothing, and a handler of its own",
}
"""What a demo may be about: `demo --kind`; the first is the default."""

MODES = ("repair", "observe", "reject", "off")
"""What a handler may do with flagged inputs: `swap --mode`."""


class Choices(Collection[str]):
    """Names to choose from: those of this project, and those that installed packages add.

    Args:
        own: those of this project.
        groups: of entry points, each of which adds a name.
    """

    def __init__(self, own: Collection[str], *groups: str) -> None:
        self._own = tuple(own)
        self._groups = groups

    def __contains__(self, name: object) -> bool:
        """Say whether a name may be chosen; for a name of this project nothing is read."""
        return name in self._own or name in self._all()

    def __iter__(self) -> Iterator[str]:
        """Yield this project's names first."""
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> tuple[str, ...]:
        # Reading the entry points of all packages takes as long as the rest of a refusal.
        from importlib.metadata import entry_points

        added = [point.name for group in self._groups for point in entry_points(group=group)]
        return tuple(dict.fromkeys([*self._own, *sorted(added)]))


@dataclass(frozen=True)
class Search:
    """What help says of a search for triggers.

    Attributes:
        screening: steps in which the classes are compared.
        steps: in all, for a class that stands out.
        bound: of what it may change, in `LEVELS`; None where it has no such bound.
        patch_share: share of the image that its patch may cover, likewise.
        whole: steps after which its screening is complete.
    """

    screening: int
    steps: int
    bound: float | None = None
    patch_share: float | None = None
    whole: float = math.inf


DEEP_INSPECT = "deepinspect"
"""The one search that does without images."""

SEARCHES: Mapping[str, Search] = {
    "generated": Search(60, 120, bound=7),
    "additive": Search(30, 60, bound=7),
    "additive-linf": Search(30, 60, bound=5),
    "smooth": Search(30, 60, bound=14),
    "neural-cleanse": Search(120, 200),
    "tabor": Search(120, 200),
    "abs": Search(60, 120, patch_share=0.02),
    DEEP_INSPECT: Search(300, 400),
    "feature-space": Search(60, 120, bound=7),
    "sinusoidal": Search(64, 80, bound=40, whole=64),
    "warp": Search(30, 60),
    "rotation": Search(35, 35),
}
"""The searches for triggers: `--reconstruct` of build and sanitize, `--method` of inspect."""

SEARCHES_ADDED = "torchserve_fire.searches"
INSPECTIONS_ADDED = "torchserve_fire.inspections"
SPLITS_ADDED = "torchserve_fire.pool_methods"
SANITIZERS_ADDED = "torchserve_fire.sanitize_methods"
"""Groups of the entry points by which installed packages add further ones of each."""

ALL_SEARCHES = ("generated", "additive", "smooth", "neural-cleanse")
"""What `--reconstruct all` runs."""

OTHERWISE = ("sinusoidal", "warp", "rotation")
"""What it runs besides, where these find nothing."""

ANOMALY_INDEX = 4.0
"""A class with a higher one stands out."""

FURTHER_ANOMALY_INDEX = 5.0
"""Likewise of a further class, in a model that is repaired for one already."""

SPLITS = ("activation-clustering", "spectral-signatures", "mahalanobis")
"""How the triggered samples of a pool are found: `build --split-by`; the first is the default."""

REDUCING = "activation-clustering"
"""The one of them that takes `--components`."""

COMPONENTS = 10

SCAN = "scan"
NEURON_INSPECT = "neuron-inspect"
META_CLASSIFIER = "meta-classifier"

INSPECTIONS = (SCAN, *SEARCHES, NEURON_INSPECT, META_CLASSIFIER)
"""The methods of `inspect`; the first is the default."""

SHADOWS = 64
MIN_SHADOWS = 16
QUERIES = 10
SALIENCY_WEIGHTS = (1.0, 1.0, 1.0)

TRAINING = ("epochs", "rate", "budget")
SANITIZERS: Mapping[str, tuple[str, ...]] = {
    "fine-tune": TRAINING,
    "retrain": TRAINING,
    "patch": ("reconstruct", "target", "stamped", *TRAINING),
    "prune": ("accuracy_loss",),
    "fine-prune": ("accuracy_loss", *TRAINING),
    "orthogonalize": ("bundle", "accuracy_loss"),
}
"""The methods of `sanitize`, and what each takes beside the clean samples."""

EPOCHS = 20
RETRAINING_EPOCHS = 100
RATE = 0.01
ACCURACY_LOSS = 0.1
STAMPED = 0.2

OURS = "torchserve-fire"
"""The repair of this project, among the defences that `compare` knows."""

RIVALS = (
    "no_repair",
    "fire_every_input",
    "fire_flagged_inputs",
    "channel_mean_shift",
    "projection_removal",
    "leace",
    "activation_clipping",
    "shrinkpad",
    "jpeg",
    "blur",
    "fine_tuning",
    "fine_pruning",
    "retraining",
    "patching",
    "patching_without_images",
    "pruning",
    "orthogonalizing",
    "channel_lipschitz_pruning",
    "neural_polarizer",
    "unit",
    "lite_bd",
    "isolation_forest",
    "spectral_signatures",
)
"""The other ones."""
