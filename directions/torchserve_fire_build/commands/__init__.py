"""The command `torchserve-fire`: one file per subcommand.

Each file has `add_parser(subparsers)` and `run(args)`, which returns the exit status. The parser
names the rest by `set_defaults`: `run`; `extras` of this project that the command needs; and
`check`, which refuses what needs no torch to be refused. Heavy imports stand inside `run`, so that
help and such refusals come at once.
"""

from types import ModuleType

from . import (
    build,
    compare,
    demo,
    deploy,
    evaluate,
    export,
    import_backdoorbench,
    inspect,
    keygen,
    package,
    ready,
    repair,
    review,
    sanitize,
    screen,
    serve,
    show,
    sign,
    status,
    swap,
    undeploy,
    verify,
)

COMMANDS: tuple[ModuleType, ...] = (
    inspect,
    screen,
    repair,
    build,
    evaluate,
    compare,
    package,
    export,
    show,
    serve,
    ready,
    status,
    deploy,
    swap,
    undeploy,
    review,
    sanitize,
    import_backdoorbench,
    keygen,
    sign,
    verify,
    demo,
)
