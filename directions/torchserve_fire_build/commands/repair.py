"""`torchserve-fire repair`: from the archive in production to the repaired one."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..common.names import AUGMENT
from .arguments.cache import add_cache_argument, check_cache
from .arguments.device import add_device_argument
from .arguments.model import (
    add_accept_accuracy_argument,
    add_clean_argument,
    add_triggered_argument,
    add_unpaired_argument,
)
from .arguments.report import add_report_argument, check_report
from .arguments.signing import add_sign_argument, signing_key
from .arguments.values import existing_samples, seed, target
from .refusal import Refusal


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "repair",
        help="repair an archive: build, package and proof in one",
        description="Build a direction bundle for an archive, whoever packed it, through the "
        "archive's own handler; write a new archive with the bundle and the repair around that "
        "handler, in which everything else is as it was; and send samples that the build did not "
        "see through both archives, each in a worker process. The table is what these answered. "
        "An archive that is repaired already gets a new bundle.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "archive",
        type=existing_samples,
        metavar="ARCHIVE",
        help="the archive in production, or the folder of an unpacked one",
    )
    add_clean_argument(parser)
    add_triggered_argument(parser)
    add_unpaired_argument(parser)
    add_accept_accuracy_argument(parser)
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="NAME-VERSION.mar",
        help="the repaired archive; its name says the version",
    )
    parser.add_argument(
        "--version",
        help="version of the repaired archive (default: the one in the name of --output, else the "
        "next after the archive's)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing archive")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    parser.add_argument(
        "--target",
        type=target,
        default="auto",
        metavar="CLASS",
        help="index or name of the class that the trigger leads to (default: auto)",
    )
    parser.add_argument(
        "--augment",
        choices=AUGMENT,
        default=AUGMENT[0],
        help="which altered triggers to repair, too, as of build (default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the random numbers (default: 0)")
    add_device_argument(parser)
    add_cache_argument(parser)
    add_sign_argument(parser)
    add_report_argument(parser)
    parser.set_defaults(run=run, check=check, extras=("torchserve",))


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be written, and read the key to sign with, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: the archive cannot be written, or there is no such key.
    """
    from torchserve_fire.errors import OutputError
    from torchserve_fire.format.write_file import check_writable

    if args.output.suffix != ".mar":
        raise Refusal(f"--output {args.output}: expected a name ending in .mar")
    check_writable(args.output)
    if args.output.exists() and args.output.samefile(args.archive):
        raise Refusal(f"--output {args.output}: is the archive itself, expected another file")
    if args.output.exists() and not args.force:
        raise OutputError(f"{args.output}: exists already; --force replaces it")
    check_cache(args.cache)
    check_report(args)
    args.signing_key = signing_key(args.sign)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.core.unpack import unpack

    from ..archive_repair.repair_archive import RepairOptions, repair_archive, version_for
    from ..deployment.archive.repaired_archive import check_signing
    from ..source.archive import open_archive
    from .arguments.target import target_class

    archive = unpack(args.archive)
    version = version_for(archive, args.output, args.version)
    # Before anything of the archive runs.
    check_signing(archive, args.signing_key)
    source = open_archive(args.archive, args.device)
    clean, triggered = source.open_samples(args.clean), source.open_samples(args.triggered)
    if args.dry_run:
        from ..archive_repair.dry_run import planned
        from ..samples.evidence import gather_evidence

        evidence = gather_evidence(clean, triggered, unpaired=args.unpaired)
        print("\n".join(planned(source, evidence, args.output, version)))
        return 0
    repaired = repair_archive(
        source,
        clean,
        triggered,
        args.output,
        version,
        RepairOptions(
            target_class(args, source, clean, triggered),
            args.augment,
            args.seed,
            args.unpaired,
            args.signing_key,
            args.cache,
            args.accept_accuracy,
        ),
    )
    print("on samples that the build did not see, as the two archives answered them:")
    print("\n".join(repaired.proof.lines()))
    if args.report is not None:
        from ..report.evaluation_report import evaluation_report
        from ..report.html_report import write_html_report
        from ..report.provenance import provenance

        report = evaluation_report(
            repaired.proof.evaluation,
            repaired.proof.evaluation.observation.label,
            f"{args.archive.name}, and repaired as {args.output.name}",
            provenance(args.command_line, source, repaired.bundle),
        )
        print(f"report: {write_html_report(report, args.report)}")
    name = source.unpacked().name
    print(
        f"{args.output}: version {version}; serve it: torchserve-fire deploy {args.output} "
        f"--model-name {name}\n"
        "(its ports are found in its config.properties; else add --management URL --inference URL)"
    )
    return 0
