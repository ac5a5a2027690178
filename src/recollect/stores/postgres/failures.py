"""What the driver's errors mean to a caller; never with content or a password in the text."""

import ssl

import asyncpg  # type: ignore[import-untyped]  # it has no types

from recollect.errors import InvalidInput, StoreCorrupt, StoreError, StoreUnavailable

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    EOFError,
)

_REPEATABLE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,  # a twin of a keyed append was faster: it is known the next time
)
_LOST = (  # the connection is gone, or on its way
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,  # it broke while the driver was setting it up
    OSError,
    EOFError,
)
_OUT_OF_RANGE = (
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DataError,  # the driver's own: a number beyond 64 bits
)
_NOT_OURS = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.DatatypeMismatchError,
)
_WAYS_OUT = (
    (asyncpg.TooManyConnectionsError, "has no connection left: lower max_size, or raise its limit"),
    (asyncpg.DiskFullError, "has no disk space: make room; nothing of this was stored"),
    (asyncpg.ReadOnlySQLTransactionError, "is read-only: connect to the primary"),
    (asyncpg.InvalidSchemaNameError, "has no such schema: create the one table_name begins with"),
    (asyncpg.InvalidCatalogNameError, "has no such database: create it"),
    (asyncpg.InsufficientPrivilegeError, "does not allow this user to do that: grant it"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "does not let this user in: check user and password",
    ),
    (
        (
            asyncpg.ProtocolViolationError,  # a setting that it does not know
            asyncpg.InvalidSQLStatementNameError,
            asyncpg.DuplicatePreparedStatementError,
        ),
        "does not keep our settings and statements: is it a PgBouncer? Add ?pgbouncer=true to the URL",
    ),
    (
        ssl.SSLCertVerificationError,
        "shows a certificate that is not trusted: name its authority with sslrootcert, or correct the "
        "host name",
    ),
    (asyncpg.QueryCanceledError, "was told to stop: raise statement_timeout; nothing was stored"),
    (TimeoutError, "did not answer in time: check that it runs and can be reached"),
    (OSError, "cannot be reached: check that it runs, its address and its port"),
)


class Again(Exception):
    """Somebody else was faster: the same work from its beginning."""


def is_repeatable(error: Exception) -> bool:
    """Tell whether the server undid everything and asks for a repetition."""
    return isinstance(error, (Again, *_REPEATABLE))


def is_lost(error: Exception) -> bool:
    """Tell whether the connection broke, so that an answer may be missing."""
    return isinstance(error, _LOST)


def translated(error: Exception, where: str) -> StoreError | InvalidInput:
    """Return what to tell about an error after which nothing was stored."""
    told = _translated(error, where)
    told.__cause__ = None if _may_quote(error) else error
    return told


def _translated(error: Exception, where: str) -> StoreError | InvalidInput:
    name = getattr(error, "sqlstate", None) or type(error).__name__
    if isinstance(error, _OUT_OF_RANGE) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    ):
        return InvalidInput("a number beyond 64 bits, which no store can keep")
    if isinstance(error, _NOT_OURS):
        return StoreCorrupt(
            f"the tables in {where} are not as Recollect left them ({name}): restore a backup",
            postgres=name,
        )
    for kind, way_out in _WAYS_OUT:
        if isinstance(error, kind):
            return StoreUnavailable(f"{where} {way_out}", postgres=name)
    if is_repeatable(error):
        return StoreUnavailable(f"{where} is busy beyond measure: try again", postgres=name)
    return StoreUnavailable(f"{where} refused ({name}): try again, or look into its log")


def _may_quote(error: Exception) -> bool:
    """Tell whether the driver's text may hold values, which include content and addresses."""
    return isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError)
