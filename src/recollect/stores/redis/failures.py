"""What the driver's and the server's errors mean to a caller; never with content or a password."""

import ssl

from redis import exceptions

from recollect.errors import StoreCorrupt, StoreError, StoreUnavailable


class Lost(Exception):
    """A connection broke while a command was on its way: it took place or not."""


class NotSent(Exception):
    """A command did not take place; ``told`` says why."""

    def __init__(self, told: StoreError) -> None:
        super().__init__(str(told))
        self.told = told


_REFUSALS = {
    "OOM": "has no memory left (maxmemory): give it more, or remove data; nothing of this was stored",
    "MISCONF": "cannot write its file, its disk may be full: make room; nothing of this was stored",
    "LOADING": "is still loading its data: try again",
    "BUSY": "is busy with a script of another program: try again",
    "READONLY": "is a replica, or is becoming one: name the master, or use Sentinel",
    "MASTERDOWN": "is a replica without its master: try again",
    "NOREPLICAS": "has too few replicas to take writes: bring them back",
    "MOVED": "is a node of a Cluster: name that, by redis+cluster://HOST:PORT as a project's store, by "
    "a client of the Cluster for a provider",
    "CLUSTERDOWN": "is part of a Cluster that is down: try again",
    "TRYAGAIN": "is moving the slot of this conversation: try again",
    "NOAUTH": "wants a password: put it into the URL",
    "WRONGPASS": "refused the user name or password: correct the URL",
    "NOPERM": "does not let this user do that: allow it the commands and keys of Recollect",
    "MAX": "has no connection left (maxclients): raise it",
}


def refusal(error: Exception, where: str) -> StoreError:
    """Return what to tell about an answer that is an error: the command did not take place."""
    code = _code(error)
    if code in _REFUSALS:
        return StoreUnavailable(f"{where} {_REFUSALS[code]}", redis=code)
    return StoreCorrupt(
        f"{where} answered {code or type(error).__name__}: its keys under the prefix are not as "
        "Recollect left them, or it is too old (Redis 6.2 and Valkey are known to work)",
        redis=code or None,
    )


def is_refusal(error: BaseException) -> bool:
    """Tell whether the server answered that it did nothing, though the driver ends the connection."""
    if isinstance(error, exceptions.BusyLoadingError | exceptions.AuthenticationError):
        return True
    return isinstance(error.__context__, exceptions.ReadOnlyError)


def unreachable(error: BaseException, where: str) -> StoreUnavailable:
    """Return what to tell when there is no connection."""
    if isinstance(error, exceptions.AuthenticationError) or (
        isinstance(error, exceptions.ResponseError) and _code(error) in {"NOAUTH", "WRONGPASS"}
    ):
        return StoreUnavailable(f"{where} {_REFUSALS['WRONGPASS']}")
    if isinstance(error, exceptions.ResponseError) and _code(error) in _REFUSALS:
        return StoreUnavailable(f"{where} {_REFUSALS[_code(error)]}")
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return StoreUnavailable(
            f"{where} shows a certificate that is not trusted: name its authority with ssl_ca_certs, "
            "or correct the host name"
        )
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return StoreUnavailable(
            f"{where} does not answer in time: check the address, its load, and whether TLS is asked "
            "for where it is spoken"
        )
    return StoreUnavailable(
        f"{where} cannot be reached, or hangs up: start it, correct the address, or raise its "
        "maxclients"
    )


def _code(error: BaseException) -> str:
    """Return the word an error begins with; the driver takes some of them away."""
    named: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.ReadOnlyError, "READONLY"),
        (exceptions.OutOfMemoryError, "OOM"),
        (exceptions.BusyLoadingError, "LOADING"),
        (exceptions.AuthenticationError, "WRONGPASS"),
        (exceptions.NoPermissionError, "NOPERM"),
        (exceptions.MasterDownError, "MASTERDOWN"),
        (exceptions.MovedError, "MOVED"),
        (exceptions.ClusterDownError, "CLUSTERDOWN"),
        (exceptions.TryAgainError, "TRYAGAIN"),
        (exceptions.MaxConnectionsError, "MAX"),
    )
    for kind, code in named:
        if isinstance(error, kind):
            return code
    word = str(error).split(" ", 1)[0]
    return word if word.isupper() and word.isalpha() else ""
