"""The ``recollect`` command. Exit codes: 0 done, 1 failed, 2 bad usage or configuration."""

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from recollect.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Interrupted
from recollect.errors import (
    ConfigError,
    InvalidInput,
    MissingExtra,
    RecollectError,
    TemplateError,
    error_json,
)

_NAMELESS: Mapping[type[OSError], str] = {FileNotFoundError: "the current folder"}
"""What an error of the system is about when it does not say: else it is the output."""


def start() -> int:
    """Run the command of this process and return its exit code."""
    code = main()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nobody is left to catch Ctrl-C
    gc.freeze()  # the process ends: nothing of it need be looked through for garbage
    return code


def main(args: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no traceback reaches the user.

    ``RECOLLECT_DEBUG=1`` shows the traceback of an internal error.
    """
    _ready_streams()
    # imports make much and free nothing: collecting in between takes a fifth of a short command
    gc.set_threshold(100_000, 50, 50)
    # looking for plugins of pydantic takes longer than reading a memory; we have none
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    args = sys.argv[1:] if args is None else args
    as_json = "--json" in args
    try:
        code = _dispatch(args)
        sys.stdout.flush()  # here, where it can still be told that it failed
    except RecollectError as error:
        return _report(error, as_json=as_json)
    except KeyboardInterrupt:
        return _report(Interrupted("interrupted"), as_json=as_json)
    except BrokenPipeError:  # the reader of our output has gone: it wants to hear no more
        _mute_stdout()
        return EXIT_FAILED
    except OSError as error:
        if os.environ.get("RECOLLECT_DEBUG"):
            raise
        _mute_stdout()
        where = error.filename or _NAMELESS.get(type(error), "the output")
        _tell(f"{where} cannot be used: {error.strerror or type(error).__name__}")
        return EXIT_FAILED
    except Exception as error:
        if os.environ.get("RECOLLECT_DEBUG"):
            raise
        return _report_bug(error, as_json=as_json)
    return code


def _ready_streams() -> None:
    """A stream that was closed swallows what is written; one that is open takes any text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays
        elif reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _mute_stdout() -> None:
    """What is still buffered would fail again when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        raise KeyboardInterrupt from None
    except Exception as error:
        if not hasattr(error, "format_message"):  # what the command line parser has to say
            raise
        return _refused(error)
    if result == EXIT_INTERRUPTED:  # the parser's own word for Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _refused(error: Exception) -> int:
    """Say in one line what is wrong with the arguments.

    Raises:
        ConfigError: always, unless nothing was asked: that is answered by the help.
    """
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return EXIT_USAGE
    text = str(error.format_message()).strip().rstrip(".")  # type: ignore[attr-defined]
    text = text.replace("Input should be", "it must be")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "recollect"
    raise ConfigError(f"{text[:1].lower()}{text[1:]}. `{path} --help` tells more") from None


def _report(error: RecollectError, *, as_json: bool) -> int:
    if as_json:
        _print_error(error)
    _tell(str(error))
    if isinstance(error, Interrupted):
        return EXIT_INTERRUPTED
    usage = isinstance(error, ConfigError | InvalidInput | TemplateError)
    return EXIT_USAGE if usage else EXIT_FAILED


def _report_bug(error: Exception, *, as_json: bool) -> int:
    if as_json:
        _print_error(error)
    _tell(
        f"internal error ({type(error).__name__}): this is a bug in Recollect. "
        "RECOLLECT_DEBUG=1 shows where."
    )
    return EXIT_FAILED


def _print_error(error: Exception) -> None:
    from recollect.cli.output import print_json

    with suppress(OSError):
        print_json({"success": False, "status": "failed", "error": error_json(error)})
        sys.stdout.flush()


def _tell(text: str) -> None:
    with suppress(OSError):
        print(f"recollect: {text}", file=sys.stderr)
