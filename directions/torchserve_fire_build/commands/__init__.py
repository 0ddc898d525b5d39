"""The command `torchserve-fire`: one file per subcommand.

Each file has `add_parser(subparsers)`, which calls `parser.set_defaults(run=run)`, and
`run(args) -> exit status`. Heavy imports (torch) stand inside `run`, so that help is instant. A
command that needs extras of this project names them, likewise: `set_defaults(extras=...)`.
"""

from types import ModuleType

from . import (
    build,
    demo,
    evaluate,
    inspect,
    keygen,
    package,
    ready,
    sanitize,
    serve,
    show,
    sign,
    status,
    swap,
    verify,
)

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
    keygen,
    sign,
    verify,
    demo,
)
