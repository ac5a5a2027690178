"""The params of a model: which there are, what they accept, and how they are sent."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recollect.agents.models import ModelSettings
from recollect.agents.vendors import VENDORS
from recollect.errors import ConfigError, closest


@dataclass(frozen=True, slots=True)
class Param:
    """A param: its name in pydantic-ai, which values it takes, and how to say that."""

    sent_as: str
    accepts: Callable[[object], bool]
    kind: str


def find_param(name: str, settings: ModelSettings) -> Param:
    """Return the param that is called so; ConfigError if there is none, or not for this vendor."""
    param = _PARAMS.get(name)
    if param is None:
        raise ConfigError(
            f"unknown param {name!r}.{closest(name, _PARAMS)} Known: {', '.join(_PARAMS)}.",
            field=f"params.{name}",
        )
    vendor = VENDORS.get(settings.provider)
    if name == "top_k" and vendor and (settings.base_url or not vendor.top_k):
        raise ConfigError(
            f"provider {settings.provider!r} does not take the param 'top_k': use top_p",
            field="params.top_k",
        )
    return param


def sendable(name: str, value: object, settings: ModelSettings) -> object:
    """Return ``value`` as it is sent; None for None."""
    param = find_param(name, settings)
    if value is None:
        return None
    if param.sent_as == "stop_sequences" and isinstance(value, str):
        value = [value]
    if not param.accepts(value):
        shown = value if isinstance(value, int | float) else type(value).__name__
        raise ConfigError(
            f"the param {name!r} must be {param.kind}, not {shown}", field=f"params.{name}"
        )
    return value


def library_params(settings: ModelSettings) -> dict[str, object]:
    """Return the params that are given, as pydantic-ai names them."""
    sent: dict[str, object] = {}
    for name, value in settings.params.items():
        key, made = find_param(name, settings).sent_as, sendable(name, value, settings)
        if key in sent and made is not None:
            raise ConfigError("give stop or stop_words, not both", field=f"params.{name}")
        if made is not None:
            sent[key] = made
    return sent


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


_PARAMS: Mapping[str, Param] = {
    "max_tokens": Param("max_tokens", _is_positive, "a whole number above 0"),
    "temperature": Param("temperature", _is_number, "a number"),
    "top_p": Param("top_p", _is_number, "a number"),
    "top_k": Param("top_k", _is_positive, "a whole number above 0"),
    "seed": Param("seed", _is_whole, "a whole number"),
    "presence_penalty": Param("presence_penalty", _is_number, "a number"),
    "frequency_penalty": Param("frequency_penalty", _is_number, "a number"),
    "stop": Param("stop_sequences", _is_texts, "a text or a list of texts"),
    "stop_words": Param("stop_sequences", _is_texts, "a text or a list of texts"),
}
