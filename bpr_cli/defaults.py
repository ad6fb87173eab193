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


def read_defaults(
    path: Path, options: Mapping[str, Mapping[str, bool]], aliases: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Read defaults of the commands' options.

    A key at the top of the file counts for every command that has such an option (a list, for every one that lets it be
    repeated), a key in a table such as `[refine]` for that command. Dashes and underscores are the same.

    Args:
        path: the file; none there means no defaults.
        options: command -> names of its options and arguments, with underscores -> whether it may be repeated; then a
            lone value counts as a list of one.
        aliases: other names of commands -> the command; either name's table counts for both.

    Returns:
        command -> option -> value, for commands that have any, and for their other names.

    Raises:
        InputError: broken TOML, a command or option that does not exist, a list for an option that takes one value, or
            tables of one command that contradict each other.
    """
    aliases = aliases or {}
    options = {command: names for command, names in options.items() if command not in aliases}
    defaults: dict[str, dict[str, Any]] = {command: {} for command in options}
    document = _parse(path)
    for table, settings in document.items():
        if isinstance(settings, dict):
            command = aliases.get(table, table)
            if command not in options:
                raise InputError(f"no command {table!r}", file=path, remedy=f"Commands are {', '.join(options)}")
            for name, value in _table(path, table, settings, options[command]).items():
                if defaults[command].setdefault(name, value) != value:
                    raise InputError(
                        f"[{table}] and [{_other_table(document, table, aliases)}] are one command, and set "
                        f"{name.replace('_', '-')} to different values",
                        file=path,
                        remedy="Keep one of them",
                    )
    _add_common(path, document, options, defaults)
    found = {command: settings for command, settings in defaults.items() if settings}
    return found | {alias: found[command] for alias, command in aliases.items() if command in found}


def _parse(path: Path) -> dict[str, Any]:
    """The file's content; nothing where there is no file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML ({error})", file=path) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Check or remove it") from error


def _table(path: Path, table: str, settings: Mapping[str, Any], options: Mapping[str, bool]) -> dict[str, Any]:
    """Option -> value of one command's table."""
    found: dict[str, Any] = {}
    for option, value in settings.items():
        name = option.replace("-", "_")
        if name not in options:
            raise InputError(f"bpr {table} has no option {option!r}", file=path, remedy=f"See bpr {table} --help")
        if isinstance(value, dict) or (isinstance(value, list) and not options[name]):
            kind = "table" if isinstance(value, dict) else "list"
            raise InputError(f"{option!r} of bpr {table} takes one value, not a {kind}", file=path)
        if name in found:
            raise InputError(f"[{table}] sets {option!r} twice", file=path, remedy="Keep one of them")
        found[name] = _as_list(value) if options[name] else value
    return found


def _other_table(document: Mapping[str, Any], table: str, aliases: Mapping[str, str]) -> str:
    """The name of the other table of the same command."""
    command = aliases.get(table, table)
    return next(other for other in document if other != table and aliases.get(other, other) == command)


def _add_common(
    path: Path,
    document: Mapping[str, Any],
    options: Mapping[str, Mapping[str, bool]],
    defaults: dict[str, dict[str, Any]],
) -> None:
    """Keys at the top of the file, where a command's table does not set them."""
    for key, value in document.items():
        if isinstance(value, dict):
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


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
