"""`torchserve-fire build`: from calibration samples to a direction bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from .model_arguments import add_model_arguments, add_sample_arguments, names_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "build",
        help="build a direction bundle from calibration samples",
        description="Estimate the directions along which a trigger moves a model's features, "
        "choose on held-out samples where to tell and where to repair, and write the bundle.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    add_sample_arguments(parser, labelled=False)
    parser.add_argument(
        "--layers",
        default="auto",
        help="candidate layers, comma-separated module names (default: auto)",
    )
    parser.add_argument(
        "--target", default="auto", help="class that the trigger leads to (default: auto)"
    )
    parser.add_argument(
        "--form",
        choices=("gated", "shift", "clamp"),
        default="gated",
        help="gated: judge each input and move the flagged ones (default); shift: move every "
        "input; clamp: move every input whose projection exceeds its clean range",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--output", required=True, type=Path, help="the bundle, .safetensors")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="folder to write a report to: what telling and repairing at each candidate layer, and "
        "other strengths, come to on the held-out samples, as layers.png and report.json; for "
        "several targets one each, in its subfolders class_N",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from handler.config import load_config
    from handler.load_model import load_model

    from ..build import BuildOptions, build_bundle
    from ..calibration import Calibration
    from ..environment import check_environment
    from ..errors import CalibrationError
    from ..evidence import gather_evidence
    from ..report import check_report_folder, write_reports
    from ..samples import open_samples
    from ..save_bundle import save_bundle
    from ..write_file import check_writable

    check_environment()
    if args.target != "auto" and not args.target.isdecimal():
        raise CalibrationError(f"--target {args.target}: expected auto or a class index")
    if not 0 <= args.seed < 2**63:
        raise CalibrationError(f"--seed {args.seed}: expected 0 to 2**63 - 1")
    if args.output.suffix != ".safetensors":
        raise CalibrationError(f"--output {args.output}: expected a name ending in .safetensors")
    check_writable(args.output)
    if args.report is not None:
        check_report_folder(args.report)
    config = load_config(args.config_file)
    loaded = load_model(args.model_file, args.serialized_file, config.model_class)
    calibrations: list[Calibration] = []
    bundle = build_bundle(
        loaded,
        config,
        gather_evidence(open_samples(args.clean, config), open_samples(args.triggered, config)),
        options=BuildOptions(
            layers=None if args.layers == "auto" else args.layers.split(","),
            target=None if args.target == "auto" else int(args.target),
            form=args.form,
            seed=args.seed,
        ),
        names_file=names_file(args),
        tell=print,
        examine=calibrations.append,
    )
    saved = save_bundle(bundle, args.output)
    print(f"{args.output}: sha256 {saved.digest}")
    # After the bundle, so that a report which fails or is interrupted takes no bundle with it.
    if args.report is not None:
        for folder in write_reports(calibrations, saved, args.report):
            print(f"report: {folder}")
    return 0
