"""`python -m bpr_cli`: the same as `bpr`, for torchrun and for environments without scripts on the path."""

from typing import NoReturn

from bpr_cli.processes import exit_code, raise_on_signals


def main() -> NoReturn:
    """`app.main`, interruptible without a traceback from its first import on."""
    try:
        raise_on_signals()
        from bpr_cli.app import main

        main()
    except KeyboardInterrupt as interrupt:
        raise SystemExit(exit_code(interrupt)) from None


if __name__ == "__main__":
    main()
