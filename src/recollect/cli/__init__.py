"""The command line: one file per group of commands; ``output`` prints, ``main`` turns errors into texts.

Heavy libraries are imported inside the commands that need them, so that ``--help`` stays quick.
"""

from recollect.cli.main import main, start

__all__ = ["main", "start"]
