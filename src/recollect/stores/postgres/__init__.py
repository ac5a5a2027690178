"""The PostgreSQL store: asyncpg, one statement an append, short transactions for all else.

``store`` is the face, ``access`` the connections, ``session`` one of them with our statements,
``server`` what is repeated when, ``lines`` the appends that share a statement, ``appending`` that
statement, ``changes`` and ``reads`` what runs inside a transaction, ``rows`` how values are kept; all
SQL is in the ``.sql`` files. Nothing outside this package knows how any of it looks.
"""

from recollect.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
