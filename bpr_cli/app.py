"""The command line: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bpr_cli import __version__
from bpr_cli.commands import ending
from bpr_cli.commands.benchmark import benchmark
from bpr_cli.commands.compare import compare
from bpr_cli.commands.doctor import doctor
from bpr_cli.commands.evaluate import evaluate
from bpr_cli.commands.export import export
from bpr_cli.commands.extract import extract
from bpr_cli.commands.options import console, print_error
from bpr_cli.commands.refine import refine
from bpr_cli.commands.train import train
from bpr_cli.defaults import FILE_NAME, read_defaults
from bpr_cli.errors import InputError, ToldElsewhereError
from bpr_cli.processes import ignore_signals, one_voice_a_machine, raise_on_signals

# torch, OpenCV and the rest are imported inside the commands, so that --help answers at once.

ALIASES = {"eval": "evaluate"}  # other names of commands

app = typer.Typer(
    name="bpr",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Run the command line.

    Errors of the user's input end in one or two lines and exit code 2, those of the machine (disk, memory) in one line
    and code 1; so does what escapes all else, with its traceback in a file.
    """
    raise_on_signals()
    try:
        app()
    except InputError as error:
        print_error("error", error)
        raise SystemExit(2) from None
    except ToldElsewhereError as error:
        raise SystemExit(2 if isinstance(error.__cause__, InputError) else 1) from None
    except OSError as error:
        print_error("error", ending.describe_os_error(error))
        raise SystemExit(1) from None
    except MemoryError as error:
        print_error("error", f"there is not enough memory ({error})" if str(error) else "there is not enough memory")
        raise SystemExit(1) from None
    except Exception as error:
        ending.print_bug(error)
        raise SystemExit(1) from None
    finally:
        ignore_signals()  # it is ending
    raise SystemExit(0)


def _show_version(is_given: bool) -> None:
    if is_given:
        console.print(f"bpr {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Better mask boundaries from any instance segmenter's results.

    Defaults for any option may stand in a [bold]bpr.toml[/] in the working directory.
    """
    commands: dict[str, Any] = getattr(context.command, "commands", {})
    names = {name: {str(p.name): p.multiple for p in command.params} for name, command in commands.items()}
    with one_voice_a_machine():
        context.default_map = read_defaults(Path(FILE_NAME), names, ALIASES)


for command, left in (
    (refine, None),
    (extract, ending.kept_shards),
    (train, ending.kept_state),
    (compare, None),
    (evaluate, None),
    (benchmark, None),
    (export, None),
    (doctor, None),
):
    app.command()(ending.stating_what_is_left(command, left))
app.command("eval", hidden=True)(ending.stating_what_is_left(evaluate))


@app.command()
def models() -> None:
    """List the models that ship, with what was measured of them."""
    from bpr_cli.network.zoo import zoo_models
    from bpr_cli.report.tables import model_table

    console.print(model_table(zoo_models()))
