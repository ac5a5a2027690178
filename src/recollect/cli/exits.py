"""How a command ends: the exit codes, and the error that is no failure."""

from recollect.errors import RecollectError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class Interrupted(RecollectError):
    """Ctrl-C; the text says what became of the work."""

    code = "INTERRUPTED"
