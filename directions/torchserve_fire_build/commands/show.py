"""`torchserve-fire show`: what a bundle holds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from .arguments.values import existing_file


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "show",
        help="show what a bundle holds",
        description="Check a direction bundle and show what it holds.",
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=existing_file, help="the direction bundle")
    parser.add_argument(
        "--names",
        type=existing_file,
        metavar="FILE",
        help="the model's index_to_name.json, to call the classes by their names (default: the "
        "one beside the bundle, where there is one)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for a program")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from torchserve_fire.format.bundle_file import bundle_to_parts, load_bundle
    from torchserve_fire.format.metadata import METADATA_KEY
    from torchserve_fire.model.class_names import NAMES_FILE

    from ..samples.class_label import label_in

    bundle = load_bundle(args.bundle)
    values: dict[str, Any] = json.loads(bundle_to_parts(bundle)[1][METADATA_KEY])
    values["sha256"] = bundle.digest
    if args.json:
        print(json.dumps(values, indent=2, sort_keys=True))
    else:
        label = label_in(args.names or args.bundle.with_name(NAMES_FILE))
        print("\n".join(map(_printable, _lines(values, label))))
    return 0


def _lines(values: dict[str, Any], label: Callable[[int], str]) -> list[str]:
    described, evidence = values["input"], values["evidence"]
    shape = " x ".join(map(str, described["shape"]))
    lines = [
        f"bundle    {values['sha256']}",
        f"model     {values['model_class']}, weights {_weights(values)}",
        f"input     {described['kind']}, {shape}",
        f"target    {_targets(values, label)}",
        "evidence  " + _listed(evidence),
    ]
    several = any(layer["repair"] for layer in values["layers"])
    for layer in values["layers"]:
        shape = " x ".join(map(str, layer["feature_shape"]))
        detection, correction = layer["detection"], layer["correction"]
        of = "" if layer["target"] is None else f", for class {label(layer['target'])}"
        of += f", repair {layer['repair'] + 1}" if several else ""
        lines.append(f"layer     {layer['name']} ({shape}): {layer['role']}{of}")
        if detection is not None:
            among = " among those predicted as the target" if detection["only_target"] else ""
            where = " at any place" if detection["anywhere"] else ""
            threshold = f"{detection['threshold']:g}"
            lines.append(f"          detects: projection{where} above {threshold}{among}")
        if correction is not None:
            form, strength = correction["form"], correction["strength"]
            lines.append(f"          repairs: {form}, strength {strength:g}")
    lines.append("measured on the calibration samples, each held out in turn:")
    lines += _measured(values["held_out"], " " * 10)
    lines.append("built by  " + _listed(values["versions"]) + f", seed {values['seed']}")
    return lines


def _printable(line: str) -> str:
    # A bundle may come from anywhere: what it holds is not to steer the terminal, or forge lines.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _weights(values: dict[str, Any]) -> str:
    weights = values["weights"]
    return str(weights["file_sha256"] or f"with the state_dict {weights['state_sha256']}")


def _targets(values: dict[str, Any], label: Callable[[int], str]) -> str:
    # In the order of the layers, without repetition.
    named = list(dict.fromkeys(layer["target"] for layer in values["layers"]))
    if len(named) == 1:
        return f"class {label(values['target'])}"
    return f"classes {', '.join(map(label, named))}, each of a trigger of its own"


def _measured(values: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in sorted(values.items()):
        if not isinstance(value, dict):
            lines.append(f"{indent}{name}: {value}")
        elif any(isinstance(part, dict) for part in value.values()):
            lines += [f"{indent}{name}:", *_measured(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_listed(value)}")
    return lines


def _listed(values: dict[str, Any]) -> str:
    # As a person reads them: before comes before after.
    order = sorted(values, key=lambda name: (name != "before", name))
    return ", ".join(f"{name} {_short(values[name])}" for name in order)


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, dict):
        return f"({_listed(value)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
