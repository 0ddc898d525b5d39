"""Repairing an archive: a bundle is built, packed around its handler, and proved in workers."""

from __future__ import annotations

import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor

from torchserve_fire.core.unpack import Unpacked
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import save_bundle

from ..building.from_samples import build_bundle
from ..building.result import BuildResult
from ..deployment.archive.archive_name import check_name
from ..deployment.archive.next_archive import next_version
from ..deployment.archive.repaired_archive import Addition, Example, pack, stage_repaired
from ..samples.both import Both
from ..samples.class_label import label_of
from ..samples.evidence import Evidence, gather_evidence
from ..samples.labels import find_labels
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..source.archive import entry_of_source
from ..source.model_source import ModelSource
from .held_out import Halves, hold_out_for_proof
from .proof import HeldOut, Proof, prove_in_workers

logger = logging.getLogger(__name__)

NAMED_VERSION = re.compile(r"-(v?\d[^-]*)\.mar$")
"""The version in the name of an archive's file."""


@dataclass(frozen=True)
class RepairOptions:
    """What the user decides.

    Attributes:
        target: the class that the trigger leads to; None to find it.
        augment: one of `common.names.AUGMENT`.
        seed: of the random numbers.
        unpaired: whether to take triggered samples as unpaired, whatever they are called.
        signing_key: to sign the archive with; None not to.
        cache: folder to keep finished steps of the build in; None to keep none.
        accept_accuracy: as of `build_bundle`.
    """

    target: int | None = None
    augment: str = "standard"
    seed: int = 0
    unpaired: bool = False
    signing_key: Ed25519PrivateKey | None = None
    cache: Path | None = None
    accept_accuracy: bool = False


@dataclass(frozen=True)
class Repaired:
    """A repaired archive that was written.

    Attributes:
        built: what the build returned.
        bundle: the bundle in it, as saved.
        proof: what the old and the new archive answered to samples that the build did not see.
    """

    built: BuildResult
    bundle: Bundle
    proof: Proof


def version_for(archive: Unpacked, output: Path, given: str | None) -> str:
    """Return the version of a repaired archive.

    It is the given one; else that in the name of the file, as of `net-2.0.mar`; else the next one.

    Raises:
        FireError: TorchServe could not serve it, or the old archive has it.
    """
    named = NAMED_VERSION.search(output.name)
    version = given or (named[1] if named else next_version(archive.version))
    check_name("version", version)
    if version == archive.version:
        raise FireError(
            f"{output}: version {version} is that of {archive.source}, and a server takes no two "
            "archives of one version: name another one (--version)"
        )
    return version


def repair_archive(
    source: ModelSource,
    clean: Samples,
    triggered: Samples,
    output: Path,
    version: str,
    options: RepairOptions,
) -> Repaired:
    """Build a bundle for an archive, put it into a new archive, and prove that one.

    Args:
        source: the archive, opened.
        clean: clean samples.
        triggered: triggered samples.
        output: file of the new archive; it is written last, in one step.
        version: of the new archive.
        options: what the user decides.

    Raises:
        FireError: no bundle can be built, or the new archive does not serve as it should. Nothing
            is written then.
    """
    archive = source.unpacked()
    evidence = gather_evidence(clean, triggered, unpaired=options.unpaired)
    halves = hold_out_for_proof(evidence, options.seed)
    logger.info(
        "held out for the proof: %d clean and %d triggered samples", *map(len, halves.proof)
    )
    built = build_bundle(
        source.loaded,
        *halves.build,
        target=options.target,
        augment=options.augment,
        seed=options.seed,
        names_file=source.names_file,
        unpaired=options.unpaired,
        cache=options.cache,
        accept_accuracy=options.accept_accuracy,
    )
    with tempfile.TemporaryDirectory(prefix="fire-repair-") as temporary:
        bundle = Path(temporary) / "bundle.safetensors"
        saved = save_bundle(built.bundle, bundle)
        classes = logits_of(source.loaded.model, evidence.clean.load([0])).shape[1]
        staged = Path(temporary) / "archive"
        addition = addition_for(source, bundle, version, clean)
        stage_repaired(archive, addition, staged, options.signing_key)
        logger.info("proving the repaired archive beside the old one, each in a worker process")
        proof = prove_in_workers(
            (archive.folder, staged),
            archive.name,
            saved.digest,
            HeldOut(
                gather_evidence(*halves.proof, unpaired=not evidence.paired),
                source.parameter,
                classes,
                saved.targets,
                *_labels(source, evidence, halves, classes),
                label_of(tuple(evidence.both), classes, source.names_file),
            ),
            source.device,
        )
        pack(staged, output)
    return Repaired(built, saved, proof)


def addition_for(
    source: ModelSource, bundle: Path, version: str, clean: Samples | None
) -> Addition:
    """Return what a repaired archive gets.

    Args:
        source: the archive, opened.
        bundle: file of its bundle.
        version: of the new archive.
        clean: clean samples, the first of which becomes the example; None for none.
    """
    entry = entry_of_source(source)
    example = None
    if entry is not None and clean is not None:
        body = clean.body(0)
        example = Example(body.content, body.suffix)
    return Addition(bundle, version, entry, example)


def _labels(
    source: ModelSource, evidence: Evidence, halves: Halves, classes: int
) -> tuple[Both[Tensor | None], str]:
    """Return the labels of the held-out samples, and why they are unknown.

    They are read of all samples, since those that are held out may lack a class.
    """
    labels, unknown = find_labels(
        tuple(evidence.both), classes, source.names_file, source.loaded.model
    )
    held = (
        None if part is None else part[torch.tensor(indices, dtype=torch.int64)]
        for part, indices in zip(labels, halves.held, strict=True)
    )
    return Both(*held), unknown
