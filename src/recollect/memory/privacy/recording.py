"""What may stay in the record of a run: it spans memories, and holds texts that are no messages yet.

A message that a memory must not keep (its role, its ``metadata.type``, its flags, a match under
strategy drop) is not kept in the record either, wherever it stands there as a message. Nor is what it
says: its texts, and the values of the run's input that went into them, are replaced in the input and
in all outputs. Everything goes through the patterns of all memories. Source: design.md, invariant 6;
specs/memory.md §7.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from recollect.errors import PrivacyError
from recollect.memory.privacy.flags import flags_of, without_sensitive
from recollect.memory.privacy.redactor import Redactor, merged

Json = dict[str, Any]

_CONTENT: Final = ("content", "tool_calls", "attachments")
_OURS: Final = frozenset(
    {"role", "type", "id", "message_id", "tool_call_id", "timestamp", "privacy"}
)
"""Fields of a message that say what it is, and nothing of what it says."""

_WRITES: Final = ("write", "append")
_SHORTEST_PART: Final = 4  # characters; shorter ones are replaced where they are a whole value


class Recorder:
    """Makes the record of a run out of what the run was given and gave.

    Args:
        policies: the compiled policy of each memory, by the id of its resource.
    """

    def __init__(self, policies: Mapping[str, Redactor]) -> None:
        self._policies = {id_.casefold(): redactor for id_, redactor in policies.items()}
        self._all = tuple(self._policies.values())
        self._merged = merged(self._all)

    def record(
        self,
        *,
        input_: Any,
        output: Any,
        tasks: Mapping[str, Json],
        error: Any,
        steps: Sequence[Any],
    ) -> Json:
        """Return ``input``, ``output``, ``tasks`` and ``error`` as they may be kept.

        Args:
            input_: what the run was given.
            output: what it gave.
            tasks: status, output and error of each task.
            error: what ended it; holds no content, as no error of ours does.
            steps: what the journal recorded: the rendered inputs of memory tasks say which messages
                went to which memory.

        Raises:
            PrivacyError: redaction could not finish; keep nothing.
        """
        said = {text for text in self._said_in([input_, output, tasks], steps) if text}
        together = "\0".join(said)
        put_in = {text for text in _texts(input_) if text and _is_in(text, together)}
        hiding = _Hiding(said | put_in, self._merged.replacement)

        def safe(value: Any) -> Any:
            return hiding.shown(self._without_messages(value))

        shown = {
            "input": hiding.without_numbers(safe(input_)),
            "output": safe(output),
            "tasks": {
                id_: {**task, "output": safe(task.get("output"))} for id_, task in tasks.items()
            },
            "error": error,
        }
        return {name: self._merged.redact_json(value) for name, value in shown.items()}

    # ---- which messages --------------------------------------------------------------------------

    def _said_in(self, shown: Any, steps: Sequence[Any]) -> Iterator[str]:
        """Yield what all messages say that are not to be kept, and the sensitive values of others."""
        for step in steps:
            rendered = _at(step, "result", "input")
            if isinstance(rendered, Mapping) and rendered.get("operation") in _WRITES:
                ref = rendered.get("memory_ref")
                own = self._policies.get(ref.casefold()) if isinstance(ref, str) else None
                policies = self._all if own is None else (own,)
                for item in _items(rendered.get("payload")):
                    yield from _said(item, policies)
        for message in _messages(shown):
            yield from _said(message, self._all)

    def _without_messages(self, value: Any) -> Any:
        """Return JSON data in which such messages have nothing but their role."""
        if isinstance(value, str):
            parsed = _parsed(value)
            safe = self._without_messages(parsed) if parsed is not None else None
            return value if safe == parsed else json.dumps(safe, ensure_ascii=False)
        if isinstance(value, list | tuple):
            return [self._without_messages(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if _is_message(value):
            if not _is_kept(value, self._all):
                kept = {"role": value["role"]} if isinstance(value.get("role"), str) else {}
                return {**kept, "content": self._merged.replacement}
            value = _without_fields(value, lambda text: self._merged.replacement)
        return {name: self._without_messages(item) for name, item in value.items()}


def _is_kept(item: Any, policies: Sequence[Redactor]) -> bool:
    """Tell whether these policies let a message be stored; one whose flags are not understood is not."""
    message = item if isinstance(item, Mapping) else {"content": item}
    metadata = _metadata(message)
    for policy in policies:
        if policy.excludes(message.get("role") or "user", metadata):
            return False
        if policy.strategy == "drop" and policy.redact_json(message) is not message:
            return False
    try:
        return not flags_of(metadata).do_not_persist
    except PrivacyError:
        return False


def _said(item: Any, policies: Sequence[Redactor]) -> Iterator[str]:
    """Yield what a message says, if it is not to be kept; else its sensitive values."""
    if not _is_kept(item, policies):
        yield from _texts(item)
        return
    hidden: list[str] = []

    def note(text: str) -> str:
        hidden.append(text)
        return ""

    if isinstance(item, Mapping):
        _without_fields(item, note)
    for text in hidden:
        yield text.strip()
        yield from _texts(_parsed(text))


def _without_fields(message: Mapping[str, Any], replace: Any) -> Mapping[str, Any]:
    """Return the message with the sensitive fields of its metadata replaced."""
    metadata = _metadata(message)
    fields = flags_of(metadata).sensitive_fields
    if not fields:
        return message
    return {**message, "metadata": without_sensitive(metadata, fields, replace)[0]}


def _metadata(message: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _is_message(value: Mapping[Any, Any]) -> bool:
    about = isinstance(value.get("role"), str) or isinstance(value.get("metadata"), Mapping)
    return about and any(name in value for name in _CONTENT)


def _at(value: Any, *names: str) -> Any:
    """Return what is in JSON data at a path of names; None if nothing is."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _items(payload: Any) -> Sequence[Any]:
    """Return the messages of a payload, as ``payload.messages_of`` reads it."""
    return payload if isinstance(payload, list) else [payload]


def _messages(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield what looks like a message in JSON data, at any depth, in JSON texts too."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        if _is_message(value):
            yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _messages(item)


# ---- texts ---------------------------------------------------------------------------------------


def _texts(value: Any) -> Iterator[str]:
    """Yield what JSON data say: texts and numbers, those in JSON texts too; without outer space."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _OURS:
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value.strip()
        yield from _texts(_parsed(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def _parsed(text: str) -> Any:
    """Return the list or map that a text holds as JSON; None if it holds none."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _pattern(text: str) -> str:
    """The text where it is not a part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", text) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", text) else ""
    return before + re.escape(text) + after


def _is_in(text: str, whole: str) -> bool:
    return text in whole and re.search(_pattern(text), whole) is not None


class _Hiding:
    """Replaces texts where they are a whole value or, from four characters on, words of one."""

    def __init__(self, texts: set[str], replacement: str) -> None:
        self._texts = texts
        long = sorted(
            (text for text in texts if len(text) >= _SHORTEST_PART), key=len, reverse=True
        )
        self._patterns = [(text, re.compile(_pattern(text))) for text in long]
        self._replacement = replacement

    def shown(self, value: Any) -> Any:
        """Return JSON data without the texts; names and numbers stay."""
        if isinstance(value, Mapping):
            return {name: self.shown(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.shown(item) for item in value]
        if not isinstance(value, str):
            return value
        if value.strip() in self._texts:
            return self._replacement
        for text, pattern in self._patterns:
            if text in value:
                value = pattern.sub(lambda _: self._replacement, value)
        return value

    def without_numbers(self, value: Any) -> Any:
        """Return JSON data without the numbers that are among the texts."""
        if isinstance(value, Mapping):
            return {name: self.without_numbers(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.without_numbers(item) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self._replacement if is_number and json.dumps(value) in self._texts else value
