"""Frozen dataclasses as configuration: read, write, override by dotted path, compare, digest.

Invariants: a value is checked against its types whenever it is read; unknown fields are errors;
missing fields take their defaults, so that older files stay readable.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from effnetv2.errors import InputError

T = TypeVar("T")


def to_json(value: Any) -> str:
    """Return `value` as indented JSON."""
    return json.dumps(to_data(value), indent=2) + "\n"


def from_json(kind: type[T], text: str, where: str) -> T:
    """Return the `kind` that `text` holds; InputError names `where` and the offending field."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as e:
        raise InputError(f"{where}: not JSON ({e.msg}, line {e.lineno}); mend or remove it") from e
    return from_data(kind, data, where)


def to_data(value: Any) -> Any:
    """Return `value` as nested dictionaries and lists."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def from_data(kind: type[T], data: Any, where: str) -> T:
    """Return the `kind` that nested dictionaries and lists describe."""
    try:
        value = TypeAdapter(kind).validate_json(json.dumps(data), strict=True)
    except ValidationError as e:
        first = e.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {path + ': ' if path else ''}{reason}") from e
    known = to_data(value)
    for path, beside in _unknown(data, known):
        close = difflib.get_close_matches(path, [*beside, *flat(known)], 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{where}: no field {path!r}{hint}")
    return value


def override(value: T, path: str, text: str) -> T:
    """Return `value` with the field at dotted `path` set to `text` (JSON, or a bare word)."""
    data = to_data(value)
    *parents, name = path.split(".")
    here = data
    for parent in [*parents, name]:
        if not isinstance(here, dict) or parent not in here:
            known = flat(data)
            close = difflib.get_close_matches(path, known, 1, 0.4)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
            raise InputError(f"no field {path!r}{hint}")
        here, last = here[parent], here
    try:
        last[name] = json.loads(text)
    except json.JSONDecodeError:
        last[name] = text
    return from_data(type(value), data, f"{path}={text}")


def changed(base: T, other: T) -> Mapping[str, tuple[Any, Any]]:
    """Return the dotted paths at which two configurations differ, with both values."""
    a, b = flat(to_data(base)), flat(to_data(other))
    return {k: (a.get(k), b.get(k)) for k in a | b if a.get(k) != b.get(k)}


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that equal values share."""
    text = json.dumps(to_data(value), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries by dotted path; lists are leaves."""
    if not isinstance(data, dict) or not data:
        return {prefix: data}
    out: dict[str, Any] = {}
    for key, part in data.items():
        out |= flat(part, f"{prefix}.{key}" if prefix else str(key))
    return out


def _unknown(data: Any, known: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the paths in `data` that `known` has not, inside lists too, and those beside each."""
    if isinstance(data, dict) and isinstance(known, dict):
        for name, part in data.items():
            if name in known:
                yield from _unknown(part, known[name], f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", [prefix + other for other in known]
    elif isinstance(data, list) and isinstance(known, list):
        for i, (part, other) in enumerate(zip(data, known, strict=False)):
            yield from _unknown(part, other, f"{prefix}{i}.")
