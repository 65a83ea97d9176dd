"""One door to architectures: a preset's name, a JSON file, or `package.module:NAME`."""

import difflib
import importlib
from pathlib import Path

from effnetv2.arch.presets import PRESETS
from effnetv2.arch.spec import Network
from effnetv2.config import from_json
from effnetv2.errors import InputError


def network(which: str) -> Network:
    """Return the `Network` that `which` names; InputError when there is none."""
    if which in PRESETS:
        return PRESETS[which]
    if which.endswith(".json"):
        try:
            return from_json(Network, Path(which).read_text(), which)
        except OSError as e:
            raise InputError(f"{which}: {e.strerror}; give a JSON file of a Network") from e
    if ":" in which:
        return _imported(which)
    close = difflib.get_close_matches(which, PRESETS, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PRESETS)}"
    raise InputError(f"no network {which!r}; {hint} (or a .json file, or package.module:NAME)")


def _imported(which: str) -> Network:
    module, _, name = which.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise InputError(f"{which}: {e}; give package.module:NAME of a Network") from e
    if not isinstance(value, Network):
        raise InputError(f"{which} is a {type(value).__name__}; give a Network")
    return value
