"""From a URL to a store; the only importer of a backend, and of one at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from recollect.clock import Clock
from recollect.errors import ConfigError, MissingExtra, closest
from recollect.stores.base import Store
from recollect.stores.records import CallLimits

if TYPE_CHECKING:
    from recollect.stores.postgres.seed_table import SeedSource

_SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
_SENTINEL_PORT = 26379
_KNOWN = (
    "sqlite:///FILE (relative to the project), sqlite:////ABSOLUTE/FILE, memory://, "
    "redis://HOST:PORT/DB, redis+cluster://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB, "
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
)
_SCHEMES = ("sqlite", "memory", "redis", "redis+cluster", "redis+sentinel", "postgresql")


def make_store(
    url: str,
    *,
    folder: Path,
    clock: Clock | None = None,
    call_limits: CallLimits | None = None,
) -> Store:
    """Return the unopened store that ``url`` names; relative files are taken below ``folder``.

    Raises:
        ConfigError: the URL names no store of this version. It is quoted without its password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"this is no URL. Known stores: {_KNOWN}") from None
    if parts.scheme == "memory":
        return in_memory_store(clock=clock, call_limits=call_limits)
    if parts.scheme == "sqlite":
        if parts.netloc:
            raise ConfigError(f"a sqlite URL has three slashes or four. Known stores: {_KNOWN}")
        return sqlite_store(_file(url, folder), clock=clock, call_limits=call_limits)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return redis_store(url, clock=clock, call_limits=call_limits)
    if parts.scheme in {"redis+cluster", "rediss+cluster"}:
        plain = url.replace("+cluster", "", 1)
        return redis_store(plain, cluster=True, clock=clock, call_limits=call_limits)
    if parts.scheme in {"redis+sentinel", "rediss+sentinel"}:
        return _behind_sentinel(parts, clock, call_limits)
    if parts.scheme in {"postgres", "postgresql"}:
        return postgres_store(url, clock=clock, call_limits=call_limits)
    if not parts.scheme:
        raise ConfigError(f"this is no URL of a store. Known stores: {_KNOWN}")
    raise ConfigError(
        f"no store has the scheme {parts.scheme[:40]!r}. Known stores: {_KNOWN}."
        + closest(parts.scheme, _SCHEMES)
    )


def in_memory_store(*, clock: Clock | None = None, call_limits: CallLimits | None = None) -> Store:
    """Return a store in this process; it needs no opening."""
    from recollect.stores.in_memory import InMemoryStore

    return InMemoryStore(clock=clock, call_limits=call_limits)


def sqlite_store(
    path: Path | str, *, clock: Clock | None = None, call_limits: CallLimits | None = None
) -> Store:
    """Return the unopened store in that file."""
    from recollect.stores.sqlite import SqliteStore

    return SqliteStore(path, clock=clock, call_limits=call_limits)


def redis_store(
    url: str | None = None,
    *,
    client: Any = None,
    sentinels: Sequence[tuple[str, int]] = (),
    service: str = "mymaster",
    sentinel_login: Mapping[str, str] | None = None,
    cluster: bool = False,
    prefix: str = "recollect:",
    clock: Clock | None = None,
    call_limits: CallLimits | None = None,
) -> Store:
    """Return the unopened store at a URL, or where a client of redis-py leads.

    With ``cluster`` the URL names any node of a Cluster.

    Raises:
        MissingExtra: the driver is not installed. InvalidInput: an argument is refused.
    """
    try:
        from recollect.stores.redis import RedisStore
    except ImportError:
        raise MissingExtra("a store on Redis", "redis") from None
    return RedisStore(
        url,
        client=client,
        sentinels=sentinels,
        service=service,
        sentinel_login=sentinel_login,
        cluster=cluster,
        prefix=prefix,
        clock=clock,
        call_limits=call_limits,
    )


def postgres_store(
    url: str | None = None,
    *,
    connection: Any = None,
    table_name: str = "conversations",
    options: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    call_limits: CallLimits | None = None,
) -> Store:
    """Return the unopened store at a URL, or where an asyncpg pool or connection leads.

    Raises:
        MissingExtra: the driver is not installed. InvalidInput: an argument is refused.
    """
    try:
        from recollect.stores.postgres import PostgresStore
    except ImportError:
        raise MissingExtra("a store on PostgreSQL", "postgres") from None
    return PostgresStore(
        url,
        connection=connection,
        table_name=table_name,
        options=options,
        clock=clock,
        call_limits=call_limits,
    )


def seed_source(url: str, table_name: str, *, clock: Clock | None = None) -> "SeedSource":
    """Return the unopened table of the seed's shape in a PostgreSQL database.

    Raises:
        ConfigError: it is no URL of PostgreSQL. MissingExtra: the driver is not installed.
    """
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise ConfigError(
            "only tables in PostgreSQL are migrated: give postgresql://USER:PASSWORD@HOST/DATABASE, "
            "or a project that keeps its memories there"
        )
    try:
        from recollect.stores.postgres.seed_table import SeedSource
    except ImportError:
        raise MissingExtra("a store on PostgreSQL", "postgres") from None
    return SeedSource(url, table_name, clock=clock)


def _behind_sentinel(
    parts: SplitResult, clock: Clock | None, call_limits: CallLimits | None
) -> Store:
    """Return a store on the master that Sentinels name; user and password are the master's.

    Those of the Sentinels are ``sentinel_username`` and ``sentinel_password`` behind the ``?``.
    """
    user, at, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    try:
        sentinels = [urlsplit(f"//{host}") for host in hosts.split(",")]
        addresses = [(one.hostname or "", one.port or _SENTINEL_PORT) for one in sentinels]
    except ValueError:
        addresses = []
    if not all(host for host, _ in addresses) or not addresses:
        raise ConfigError(f"a redis+sentinel URL names each Sentinel. Known stores: {_KNOWN}")
    scheme = parts.scheme.removesuffix("+sentinel")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    login = {name: value for name, value in pairs if name in _SENTINEL_LOGIN}
    query = urlencode([pair for pair in pairs if pair[0] not in _SENTINEL_LOGIN])
    return redis_store(
        f"{scheme}://{user}{at}master/{db or 0}{'?' if query else ''}{query}",
        sentinels=addresses,
        service=service or "mymaster",
        sentinel_login={name.removeprefix("sentinel_"): value for name, value in login.items()},
        clock=clock,
        call_limits=call_limits,
    )


def _file(url: str, folder: Path) -> Path:
    path = unquote(url.removeprefix("sqlite:").removeprefix("//").partition("?")[0])
    name = path.removeprefix("/")
    if not name or path == url:
        raise ConfigError(f"{url[:80]!r} names no file. Write {_KNOWN}")
    return folder / name
