"""How things are printed: JSON for programs, short texts for people, progress on stderr."""

import json
import sys
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recollect.project.loading import Project

Json = Mapping[str, Any]


def print_json(value: Any) -> None:
    """Print one JSON document; text stays readable, lone surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text)


def say(text: str) -> None:
    """Tell the person something that is not the command's result."""
    print(text, file=sys.stderr, flush=True)


def say_notes(project: "Project") -> None:
    """Tell what is legal in the project's files but will surprise."""
    for note in project.notes:
        say(f"note: {note}")


def on_terminal() -> bool:
    """Whether a person watches."""
    return sys.stderr.isatty()


def print_memory(output: Json) -> None:
    """Print the result of a memory operation for a person."""
    if output["operation"] == "read":
        _print_messages(output)
        return
    for name, value in output.items():
        if name in {"success", "messages", "keys", "results"} or value is None:
            continue
        print(f"{name:>24}  {_short(value)}")
    for result in output.get("results", ()):
        print(_result_line(result))
    for message in output.get("messages", ()):
        print(_message_line(message))


def _print_messages(output: Json) -> None:
    if "results" in output:  # of a key with a *: under each key its messages
        _print_by_key(output)
    else:
        for message in output["messages"]:
            print(_message_line(message))
    shown, total = output["count"], output["total_count"]
    key = output["key"]
    if not total:
        say(f"memory {output['memory_ref']!r} holds nothing under the key {key!r}")
    elif shown < total:
        say(f"{shown} of {total} messages (from number {output['offset'] + 1})")


def _result_line(result: Json) -> str:
    """One key of several: what became of it."""
    if not result["success"]:
        return f"{_printable(result['key'])}  failed: {_printable(result['error']['message'])}"
    numbers = {k: v for k, v in result.items() if isinstance(v, int) and k != "success"}
    shown = ", ".join(f"{name} {_short(value)}" for name, value in numbers.items())
    return f"{_printable(result['key'])}  {shown}"


def _print_by_key(output: Json) -> None:
    messages = iter(output["messages"])
    for result in output["results"]:
        print(_printable(result["key"]))
        for message in islice(messages, result["count"]):
            print(_message_line(message))


def _message_line(message: Json) -> str:
    content = message.get("content", "")
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False)
    calls = ", ".join(call["function"]["name"] for call in message.get("tool_calls") or ())
    extra = f" [calls {calls}]" if calls else ""
    return f"{message['role']:>9}  {_printable(content)}{extra}"


def _printable(text: str) -> str:
    """Control characters would act on the terminal; they are shown instead."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


class RunProgress:
    """Shows tasks on stderr while a run goes on: one line each, with its time.

    On a terminal a task shows while it works; elsewhere only how it ended.
    """

    def __init__(self) -> None:
        self._live = on_terminal()

    def __call__(self, event: str, /, **labels: Any) -> None:
        """Print a line for the events of tasks; other events are not for people."""
        match event:
            case "task.started" if self._live:
                print(
                    f"  … {labels['task']} ({labels['type']})", end="", file=sys.stderr, flush=True
                )
            case "task.completed":
                self._line(f"  ✓ {labels['task']}  {labels['seconds']:.2f} s")
            case "task.retried":
                self._line(f"  ↻ {labels['task']}: {labels['code']}, attempt {labels['attempt']}")
            case "task.failed":
                self._line(f"  ✗ {labels['task']}: {labels['code']}")

    def _line(self, text: str) -> None:
        say(f"\r\x1b[2K{text}" if self._live else text)


def print_run(result: Json) -> None:
    """Print how a run ended, for a person."""
    failed = result["status"] != "completed"
    output = result["output"]
    if isinstance(output, Mapping) and output.get("role") == "assistant" and "content" in output:
        print(_printable(str(output["content"])))
    elif output is not None:
        print(_printable(json.dumps(output, ensure_ascii=False, indent=2)))
    say(f"run {result['run_id']} {result['status']}")
    if failed and result.get("error"):
        say(f"recollect: {_failure(result['error'])}")


def _failure(error: Json) -> str:
    """Say which task it was; and where a missing value may come from."""
    task, text = error["details"].get("task"), str(error["message"])
    if task and f"task {task!r}" not in text:
        text = f"task {task!r}: {text}"
    if error["code"] == "TEMPLATE_MISSING_KEY" and ": . is a map" in text:
        text += " Inputs are given with --input NAME=VALUE."
    return text
