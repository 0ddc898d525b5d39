"""What builds on the hand-made backdoored classifiers hand on to be looked at closer."""

from pathlib import Path

from directions.build import BuildOptions, build_bundle
from directions.calibration import Calibration
from directions.evidence import gather_evidence
from directions.samples import open_samples
from handler.bundle import Bundle
from tests.directions.backdoored import TENSOR, loaded, tensor_sets


def calibrated(
    folder: Path, kind: str, *, labelled: bool = True, paired: bool = True, **options
) -> tuple[Calibration, Bundle]:
    """Build for the net of a kind; return what the choice was made from, and the bundle."""
    sets = tensor_sets(folder, kind, labelled=labelled, paired=paired)
    calibrations: list[Calibration] = []
    bundle = build_bundle(
        loaded(kind),
        TENSOR,
        gather_evidence(open_samples(sets.clean, TENSOR), open_samples(sets.triggered, TENSOR)),
        options=BuildOptions(**options),
        examine=calibrations.append,
    )
    (calibration,) = calibrations
    return calibration, bundle
