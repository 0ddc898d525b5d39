"""The rivals by name, in the order in which results list them."""

from __future__ import annotations

from collections.abc import Mapping

from .activation_clipping import activation_clipping
from .blur import blur
from .channel_lipschitz_pruning import channel_lipschitz_pruning
from .channel_mean_shift import channel_mean_shift
from .fine_pruning import fine_pruning
from .fine_tuning import fine_tuning
from .fire_mean_shift import fire_every_input, fire_flagged_inputs
from .isolation_forest import isolation_forest
from .jpeg import jpeg
from .leace import leace
from .lite_bd import lite_bd
from .neural_polarizer import neural_polarizer
from .no_repair import no_repair
from .orthogonalizing import orthogonalizing
from .patching import patching, patching_without_images
from .projection_removal import projection_removal
from .pruning import pruning
from .retraining import retraining
from .rival import Rival
from .shrinkpad import shrinkpad
from .spectral_signatures import spectral_signatures
from .unit import unit

RIVALS: Mapping[str, Rival] = {
    "no_repair": no_repair,
    "fire_every_input": fire_every_input,
    "fire_flagged_inputs": fire_flagged_inputs,
    "channel_mean_shift": channel_mean_shift,
    "projection_removal": projection_removal,
    "leace": leace,
    "activation_clipping": activation_clipping,
    "shrinkpad": shrinkpad,
    "jpeg": jpeg,
    "blur": blur,
    "fine_tuning": fine_tuning,
    "fine_pruning": fine_pruning,
    "retraining": retraining,
    "patching": patching,
    "patching_without_images": patching_without_images,
    "pruning": pruning,
    "orthogonalizing": orthogonalizing,
    "channel_lipschitz_pruning": channel_lipschitz_pruning,
    "neural_polarizer": neural_polarizer,
    "unit": unit,
    "lite_bd": lite_bd,
    "isolation_forest": isolation_forest,
    "spectral_signatures": spectral_signatures,
}
