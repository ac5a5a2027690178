"""Lists and maps. Nil is an empty one; nothing of the scope is ever changed."""

from collections.abc import Mapping, Sequence

from recollect.templates.functions.signature import (
    Function,
    anything,
    fields,
    items,
    text,
    whole,
)
from recollect.templates.printing import (
    Made,
    describe,
    is_container,
    scalar_text,
    to_json,
)
from recollect.templates.rendering import Refusal, Rendering


def _length(value: object) -> int:
    if isinstance(value, str) or is_container(value):
        return len(value)  # type: ignore[arg-type]  # texts and containers have one
    if value is None:
        return 0
    raise Refusal(f"argument 1 must be a text, a list or a map, not {describe(value)}")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if value is None:
            return None
        if isinstance(value, Mapping):
            value = value.get(key if isinstance(key, str) else scalar_text(key))
        elif is_container(value) and isinstance(value, Sequence):
            position = whole(key)
            if not 0 <= position < len(value):
                raise Refusal(f"out of range: the list has {len(value)} items, counted from 0")
            value = value[position]
        else:
            raise Refusal(f"takes items of lists and maps, not of {describe(value)}")
    return value


def _slice(value: object, start: int = 0, stop: int | None = None) -> object:
    listed = value if isinstance(value, str) else items(value)
    end = len(listed) if stop is None else stop
    if not 0 <= start <= end <= len(listed):
        raise Refusal("out of range")
    return listed[start:end] if isinstance(listed, str) else list(listed)[start:end]


def _dict(*pairs: object) -> Made:
    values = [*pairs[1::2], *([""] if len(pairs) % 2 else [])]
    return Made(zip(map(scalar_text, pairs[::2]), values, strict=True))


def _set(target: Mapping[str, object], key: str, value: object) -> Made:
    changed = target if isinstance(target, Made) else Made(target)
    changed[key] = value
    return changed


def _unset(target: Mapping[str, object], key: str) -> Made:
    changed = target if isinstance(target, Made) else Made(target)
    changed.pop(key, None)
    return changed


def _dig(*path: object) -> object:
    *keys, spare, found = path
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return spare
        found = found[key]
    return found


def _merged(
    rendering: Rendering, old: Mapping[str, object], new: Mapping[str, object], *, overwrites: bool
) -> Made:
    rendering.spend(len(old) + len(new) + 1)
    result = Made(old)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(rendering, before, value, overwrites=overwrites)
        elif overwrites or not before:
            result[key] = value
    return result


def _merge(
    rendering: Rendering,
    target: Mapping[str, object],
    *sources: Mapping[str, object],
    overwrites: bool = False,
) -> Made:
    result = Made(target)
    for source in sources:
        result = _merged(rendering, result, source, overwrites=overwrites)
    if isinstance(target, Made):
        target.update(result)
        return target
    return result


def _merge_overwrite(
    rendering: Rendering, target: Mapping[str, object], *sources: Mapping[str, object]
) -> Made:
    return _merge(rendering, target, *sources, overwrites=True)


def _unique(rendering: Rendering, listed: Sequence[object]) -> list[object]:
    first: dict[str, object] = {}
    for item in listed:
        first.setdefault(to_json(item, rendering), item)
    return list(first.values())


def _without(rendering: Rendering, listed: Sequence[object], *unwanted: object) -> list[object]:
    gone = {to_json(item, rendering) for item in unwanted}
    return [item for item in listed if to_json(item, rendering) not in gone]


def _has(rendering: Rendering, wanted: object, listed: Sequence[object]) -> bool:
    sought = to_json(wanted, rendering)
    return any(to_json(item, rendering) == sought for item in listed)


def _chunks(size: int, listed: Sequence[object]) -> list[list[object]]:
    if size < 1:
        raise Refusal("argument 1 must be at least 1")
    return [list(listed[at : at + size]) for at in range(0, len(listed), size)]


def _pick(source: Mapping[str, object], *names: str) -> Made:
    return Made({name: source[name] for name in names if name in source})


def _omit(source: Mapping[str, object], *names: str) -> Made:
    return Made({name: value for name, value in source.items() if name not in names})


COLLECTIONS = {
    "len": Function(_length, (anything,)),
    "index": Function(_index, (anything,), rest=anything),
    "slice": Function(_slice, (anything,), (whole, whole)),
    "list": Function(lambda *v: list(v), rest=anything),
    "tuple": Function(lambda *v: list(v), rest=anything),
    "first": Function(lambda v: v[0] if v else None, (items,)),
    "last": Function(lambda v: v[-1] if v else None, (items,)),
    "rest": Function(lambda v: list(v[1:]), (items,)),
    "initial": Function(lambda v: list(v[:-1]), (items,)),
    "append": Function(lambda v, item: [*v, item], (items, anything)),
    "push": Function(lambda v, item: [*v, item], (items, anything)),
    "prepend": Function(lambda v, item: [item, *v], (items, anything)),
    "concat": Function(lambda *lists: [item for v in lists for item in v], rest=items),
    "reverse": Function(lambda v: list(reversed(v)), (items,)),
    "compact": Function(lambda v: [item for item in v if item], (items,)),
    "uniq": Function(_unique, (items,), needs_rendering=True),
    "without": Function(_without, (items,), rest=anything, needs_rendering=True),
    "has": Function(_has, (anything, items), needs_rendering=True),
    "chunk": Function(_chunks, (whole, items)),
    "dict": Function(_dict, rest=anything),
    "get": Function(lambda m, key: m.get(key, ""), (fields, text)),
    "set": Function(_set, (fields, text, anything)),
    "unset": Function(_unset, (fields, text)),
    "hasKey": Function(lambda m, key: key in m, (fields, text)),
    "keys": Function(lambda *maps: [key for m in maps for key in sorted(m)], rest=fields),
    "values": Function(lambda m: [m[key] for key in sorted(m)], (fields,)),
    "pick": Function(_pick, (fields,), rest=text),
    "omit": Function(_omit, (fields,), rest=text),
    "pluck": Function(
        lambda key, *m: [each[key] for each in m if key in each], (text,), rest=fields
    ),
    "dig": Function(_dig, (anything, anything, anything), rest=anything),
    "merge": Function(_merge, (fields,), rest=fields, needs_rendering=True),
    "mergeOverwrite": Function(_merge_overwrite, (fields,), rest=fields, needs_rendering=True),
}
