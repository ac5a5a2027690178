"""What the settings of seed 004's face have in common: keywords, ranges, and secrets are watched."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

from recollect.errors import InvalidInput, closest
from recollect.frozen import check_text

HIDDEN = "***"
_LONGEST_SECONDS = 3_153_600_000  # a hundred years, the longest a store takes

Check = Callable[[str, object], object]
"""Takes a name and a value; returns the value as it is kept, or raises InvalidInput naming it."""


class Settings:
    """Base of frozen dataclasses that refuse unknown keywords by name and never show a secret.

    Attributes:
        checks: what each field must pass; fields that default to None may stay so.
        secrets: fields that are shown as ``***``.
        urls: fields that are shown without what may be secret in a URL.
    """

    checks: ClassVar[Mapping[str, Check]] = {}
    secrets: ClassVar[frozenset[str]] = frozenset()
    urls: ClassVar[frozenset[str]] = frozenset()

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Refuse keywords that are no setting, naming the closest one."""
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass below
        for name in given:
            if name not in known:
                raise InvalidInput(
                    f"{cls.__name__} has no setting {name!r}.{closest(name, known)} "
                    f"It has: {', '.join(known)}."
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # a dataclass below
            value = getattr(self, field.name)
            check = self.checks.get(field.name)
            if check is not None and not (value is None and field.default is None):
                object.__setattr__(self, field.name, check(field.name, value))

    def shown(self) -> dict[str, Any]:
        """Return the settings as they may be shown to anybody."""
        return {
            field.name: self._shown(field.name)
            for field in fields(self)  # type: ignore[arg-type]  # a dataclass below
        }

    def _shown(self, name: str) -> Any:
        value = getattr(self, name)
        if value is None or name not in self.secrets | self.urls:
            return value
        return HIDDEN if name in self.secrets else without_secrets(value)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.shown().items())
        return f"{type(self).__name__}({inside})"


def without_secrets(url: str) -> str:
    """Return a URL without user, password and options; what is no URL, as nothing but ``***``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    if not parts.scheme:
        return HIDDEN
    hidden, _, address = parts.netloc.rpartition("@")
    netloc = f"{HIDDEN}@{address}" if hidden else address
    return urlunsplit((parts.scheme, netloc, parts.path, HIDDEN if parts.query else "", ""))


# ---- checks --------------------------------------------------------------------------------------


def whole(least: int = 0, most: int | None = None) -> Check:
    """Return the check of a whole number in a range."""

    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidInput(f"{name} is a {type(value).__name__}: it must be a whole number")
        if value < least or (most is not None and value > most):
            span = f"at least {least}" if most is None else f"{least} to {most}"
            raise InvalidInput(f"{name} is {value}: it must be {span}")
        return value

    return check


def seconds(least: float = 1) -> Check:
    """Return the check of a length of time in seconds."""

    def check(name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"{name} is a {type(value).__name__}: it must be a number")
        if not least <= value <= _LONGEST_SECONDS:  # refuses NaN too
            raise InvalidInput(
                f"{name} is {value}: it must be {least:g} to {_LONGEST_SECONDS} seconds"
            )
        return value

    return check


def truth(name: str, value: object) -> bool:
    """Check a switch."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} is a {type(value).__name__}: it must be True or False")
    return value


def words(name: str, value: object) -> str:
    """Check a text that is not empty. The text is never quoted: it may be a secret."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is a {type(value).__name__}: it must be text")
    if not value:
        raise InvalidInput(f"{name} is empty: leave it out, or give it a value")
    check_text(value, name)
    return value


def exactly(only: str) -> Check:
    """Return the check of a text that can be but one."""

    def check(name: str, value: object) -> str:
        if value != only:
            raise InvalidInput(f"{name} is {value!r:.40}: here it can only be {only!r}")
        return only

    return check


def url_of(*schemes: str) -> Check:
    """Return the check of a URL with one of these schemes."""

    def check(name: str, value: object) -> str:
        text = words(name, value)
        try:
            scheme = urlsplit(text).scheme
        except ValueError:
            scheme = ""
        if scheme not in schemes:
            known = ", ".join(f"{scheme}://" for scheme in schemes)
            raise InvalidInput(f"{name} is no URL that begins with one of {known}")
        return text

    return check
