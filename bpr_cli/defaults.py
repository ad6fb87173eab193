"""Defaults for any option from a `bpr.toml` in the working directory; the command line wins."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpr_cli.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "bpr.toml"


def read_defaults(path: Path, options: Mapping[str, Mapping[str, bool]]) -> dict[str, dict[str, Any]]:
    """Read defaults of the commands' options.

    A key at the top of the file counts for every command that has such an option (a list, for every one that lets it be
    repeated), a key in a table such as `[refine]` for that command. Dashes and underscores are the same.

    Args:
        path: the file; none there means no defaults.
        options: command -> names of its options and arguments, with underscores -> whether it may be repeated; then a
            lone value counts as a list of one.

    Returns:
        command -> option -> value, for commands that have any.

    Raises:
        InputError: broken TOML, a command or option that does not exist, or a list for an option that takes one value.
    """
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML ({error})", file=path) from error
    defaults: dict[str, dict[str, Any]] = {command: {} for command in options}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in options:
                raise InputError(f"no command {key!r}", file=path, remedy=f"Commands are {', '.join(options)}")
            for option, setting in value.items():
                name = option.replace("-", "_")
                if name not in options[key]:
                    raise InputError(f"bpr {key} has no option {option!r}", file=path, remedy=f"See bpr {key} --help")
                if isinstance(setting, list) and not options[key][name]:
                    raise InputError(f"{option!r} of bpr {key} takes one value, not a list", file=path)
                defaults[key][name] = _as_list(setting) if options[key][name] else setting
            continue
        name = key.replace("-", "_")
        commands = [command for command, names in options.items() if name in names]
        if not commands:
            raise InputError(f"no command has an option {key!r}", file=path, remedy="See bpr --help")
        if isinstance(value, list):
            commands = [command for command in commands if options[command][name]]
            if not commands:
                raise InputError(f"{key!r} takes one value, not a list", file=path)
        for command in commands:
            defaults[command].setdefault(name, _as_list(value) if options[command][name] else value)
    return {command: found for command, found in defaults.items() if found}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
