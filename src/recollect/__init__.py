"""Recollect: the memory that AI agents keep."""

__version__ = "0.1.0"
