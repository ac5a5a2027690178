"""From a URL to a store; the only importer of a backend, and of one at a time."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from recollect.clock import Clock
from recollect.errors import ConfigError, MissingExtra, closest
from recollect.stores.base import Store
from recollect.stores.records import CallLimits

_KNOWN = (
    "sqlite:///FILE (relative to the project), sqlite:////ABSOLUTE/FILE, memory://, "
    "redis://HOST:PORT/DB, postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
)


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
        from recollect.stores.in_memory import InMemoryStore

        return InMemoryStore(clock=clock, call_limits=call_limits)
    if parts.scheme == "sqlite":
        from recollect.stores.sqlite import SqliteStore

        if parts.netloc:
            raise ConfigError(f"a sqlite URL has three slashes or four. Known stores: {_KNOWN}")
        return SqliteStore(_file(url, folder), clock=clock, call_limits=call_limits)
    if parts.scheme in {"redis", "rediss", "unix"}:
        try:
            from recollect.stores.redis import RedisStore
        except ImportError:
            raise MissingExtra("a store on Redis", "redis") from None
        return RedisStore(url, clock=clock, call_limits=call_limits)
    if parts.scheme in {"postgres", "postgresql"}:
        try:
            from recollect.stores.postgres import PostgresStore
        except ImportError:
            raise MissingExtra("a store on PostgreSQL", "postgres") from None
        return PostgresStore(url, clock=clock, call_limits=call_limits)
    if not parts.scheme:
        raise ConfigError(f"this is no URL of a store. Known stores: {_KNOWN}")
    raise ConfigError(
        f"no store has the scheme {parts.scheme[:40]!r}. Known stores: {_KNOWN}."
        + closest(parts.scheme, ("sqlite", "memory", "redis", "postgresql"))
    )


def _file(url: str, folder: Path) -> Path:
    path = unquote(url.removeprefix("sqlite:").removeprefix("//").partition("?")[0])
    name = path.removeprefix("/")
    if not name or path == url:
        raise ConfigError(f"{url[:80]!r} names no file. Write {_KNOWN}")
    return folder / name
