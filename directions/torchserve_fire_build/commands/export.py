"""`torchserve-fire export`: a model and its repair as one ONNX graph."""

from __future__ import annotations

import argparse

from .arguments.model import (
    add_clean_argument,
    add_model_arguments,
    add_triggered_argument,
    check_model_arguments,
    open_source,
)
from .arguments.values import existing_file, new_file, onnx_to_write
from .refusal import Refusal

GIVEN_UP = """\
In the graph, the repair is fixed. What the handler of torchserve-fire does beside it, is not there:
- no check of the weights, or of a signature of the bundle, when the graph is loaded: guard the file
- no swap of the bundle, and no modes: export again
- no quarantine, no metrics, no drift of scores: log the outputs flagged and score yourself
- no preparation of images: the graph takes them as its metadata says"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "export",
        help="write a model and its repair as one ONNX graph, also for Triton",
        description="Write one ONNX graph of a model and the repair by its bundle, for batches of "
        "any size. Its outputs are logits, flagged and score. Before it is written, ONNX Runtime "
        "runs it on the samples: where it does not answer as the repaired model does, nothing is "
        "written.",
        epilog=" ".join(GIVEN_UP.split()),
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--bundle",
        type=existing_file,
        help="the direction bundle (default: the one in the --archive)",
    )
    add_clean_argument(parser)
    add_triggered_argument(parser, required=False)
    parser.add_argument(
        "--onnx", type=onnx_to_write, metavar="FILE.onnx", help="file to write the graph to"
    )
    parser.add_argument(
        "--triton",
        type=new_file,
        metavar="DIR",
        help="new folder, in a Triton model repository and named as the model: config.pbtxt, "
        "1/model.onnx, and labels.txt if the classes have names",
    )
    parser.add_argument(
        "--half",
        action="store_true",
        help="let the network compute in float16; inputs, outputs and the gate stay float32",
    )
    parser.set_defaults(run=run, check=check, extras=("onnx",))


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together or cannot be written, before torch is loaded.

    Raises:
        Refusal: naming the flag.
        FireError: nothing can be written there.
    """
    from torchserve_fire.format.write_file import check_writable

    check_model_arguments(args)
    if args.bundle is None and args.archive is None:
        raise Refusal("--bundle: expected the direction bundle to export with the model")
    if args.onnx is None and args.triton is None:
        raise Refusal("--onnx: expected the file to write, or --triton, or both")
    for path in filter(None, (args.onnx, args.triton)):
        check_writable(path)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.write_file import write_file

    from ..onnx_graph.export import export_repaired
    from ..onnx_graph.triton import write_triton_model
    from .arguments.fitting_bundle import bundle_in, load_fitting_bundle

    source = open_source(args)
    file = args.bundle or bundle_in(source, args.archive, "an archive that repair has written")
    bundle = load_fitting_bundle(file, source)
    clean = source.open_samples(args.clean)
    triggered = None if args.triggered is None else source.open_samples(args.triggered)
    exported = export_repaired(source, bundle, clean, triggered, half=args.half)
    print("\n".join(exported.lines()))
    if args.onnx is not None:
        write_file(exported.graph, args.onnx)
        print(f"{args.onnx}: {_size(exported.graph)}")
    if args.triton is not None:
        write_triton_model(args.triton, exported)
        print(f"{args.triton}: a model for Triton, whose repository is the folder around it")
    print(GIVEN_UP)
    return 0


def _size(data: bytes) -> str:
    return f"{len(data) / 1e6:.1f} MB"
