"""What builds on the hand-made backdoored classifiers hand on to be looked at closer."""

from pathlib import Path

from tests.directions.backdoored import TENSOR, loaded, tensor_sets
from torchserve_fire.format.bundle import Bundle
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.choose.build_record import BuildRecord
from torchserve_fire_build.samples.open_samples import open_samples


def calibrated(
    folder: Path, kind: str, *, labelled: bool = True, paired: bool = True, **options
) -> tuple[BuildRecord, Bundle]:
    """Build for the net of a kind; return what the choice was made from, and the bundle."""
    sets = tensor_sets(folder, kind, labelled=labelled, paired=paired)
    built = build_bundle(
        loaded(kind),
        open_samples(sets.clean, TENSOR),
        open_samples(sets.triggered, TENSOR),
        **options,
    )
    (record,) = built.records
    return record, built.bundle
