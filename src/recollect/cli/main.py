"""The ``recollect`` command. Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""

import gc
import os
import sys
from collections.abc import Sequence

from recollect.errors import ConfigError, InvalidInput, MissingExtra, RecollectError, TemplateError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(args: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no traceback reaches the user.

    ``RECOLLECT_DEBUG=1`` shows the traceback of an internal error.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    # imports make much and free nothing: collecting in between takes a fifth of a short command
    gc.set_threshold(100_000, 50, 50)
    # looking for plugins of pydantic takes longer than reading a memory; we have none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    args = sys.argv[1:] if args is None else args
    try:
        return _dispatch(args)
    except RecollectError as error:
        return _report(error, as_json="--json" in args)
    except KeyboardInterrupt:
        print(
            "interrupted. A run that was going on is kept: `recollect runs resume` finishes it.",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output has gone
        return EXIT_FAILED
    except Exception as error:
        if os.environ.get("RECOLLECT_DEBUG"):
            raise
        print(
            f"recollect: internal error ({type(error).__name__}): this is a bug in Recollect. "
            "RECOLLECT_DEBUG=1 shows where.",
            file=sys.stderr,
        )
        return EXIT_FAILED


def _dispatch(args: Sequence[str]) -> int:
    try:
        import typer
    except ImportError:
        raise MissingExtra("the command line", "workflows") from None
    from recollect.cli.commands import app

    command = typer.main.get_command(app)
    try:
        result = command.main(args=list(args), prog_name="recollect", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return EXIT_INTERRUPTED
    except Exception as error:
        show = getattr(error, "show", None)  # what the command line parser has to say
        if show is None:
            raise
        show()
        return EXIT_USAGE
    return result if isinstance(result, int) else 0


def _report(error: RecollectError, *, as_json: bool) -> int:
    if as_json:
        from recollect.cli.output import print_json

        print_json({"success": False, "status": "failed", "error": error.as_json()})
    print(f"recollect: {error}", file=sys.stderr)
    usage = isinstance(error, ConfigError | InvalidInput | TemplateError)
    return EXIT_USAGE if usage else EXIT_FAILED
