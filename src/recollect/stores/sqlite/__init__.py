"""The SQLite store: a file, a writer thread that commits in groups, and two reader threads.

``store`` is the face, ``worker`` the threads, ``database`` and ``turn`` the file and its locks,
``sessions`` a group on a connection, ``changes`` and ``reads`` what runs inside transactions, ``rows``
how values are kept; all SQL is in the ``.sql`` files. Nothing outside this package knows how any of
it looks.
"""

from recollect.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
