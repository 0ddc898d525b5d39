"""The command `torchserve-fire`: one file per subcommand.

Each file has `add_parser(subparsers)`, which calls `parser.set_defaults(run=run)`, and
`run(args) -> exit status`. Heavy imports (torch) stand inside `run`, so that help is instant.
"""

from types import ModuleType

from . import build, demo, evaluate, inspect, package, ready, sanitize, serve, show, status, swap

COMMANDS: tuple[ModuleType, ...] = (
    inspect,
    build,
    evaluate,
    package,
    show,
    serve,
    ready,
    status,
    swap,
    sanitize,
    demo,
)
