"""The one door to data: a folder, a CSV, a named set, or `package.module:function`."""

import difflib
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from effnetv2.data.folder import Parts, csv, flat, folder
from effnetv2.data.named import NAMED, named
from effnetv2.data.samples import Data, Samples
from effnetv2.data.split import stratified
from effnetv2.errors import InputError


def open_data(source: str, *, val: float = 0.1, test: float = 0.1, seed: int = 0) -> Data:
    """Return the data that `source` names, parted for training.

    Of an undivided source, `val` and `test` are the shares drawn by `seed`, class by class; where
    there is a train part but no val part, `val` of train is drawn. 0 draws none. Parts that the
    source states stay as they are. InputError when there is no such source, or no classifier can
    be trained on it.
    """
    if min(val, test) < 0 or val + test >= 1 or seed < 0:
        raise InputError(
            f"val {val} and test {test} must be shares from 0, together below 1; seed {seed} from 0"
        )
    path = Path(source).expanduser()
    name, augmentation = source, "photo"
    if path.is_dir():
        name = path.resolve().name
        parts, notes = _folder(path)
        if source in NAMED:
            notes = (f"{source} is the folder of this name, not the named set", *notes)
    elif path.suffix.lower() == ".csv":
        name = path.stem
        parts, notes = csv(path)
    elif source in NAMED:
        parts, notes, augmentation = named(source, seed), (), NAMED[source].augmentation
    elif re.fullmatch(r"[\w.]+:\w+", source):
        data = _called(source)
        name, parts, notes, augmentation = data.name, data.parts, data.notes, data.augmentation
    else:
        raise InputError(_unknown(source, path))
    parts, more = _parted(parts, val, test, seed)
    train = parts["train"]
    notes = (*notes, *more)
    return Data(name, train, parts.get("val"), parts.get("test"), augmentation, notes).usable()


def open_samples(source: str) -> tuple[Samples, tuple[str, ...]]:
    """Return the pictures to evaluate on that `source` names, with its own class list, and notes.

    The test part where there is one, else the val part, else everything.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return flat(path)
    if path.suffix.lower() == ".csv":
        parts, notes = csv(path)
    else:
        data = open_data(source, val=0)
        parts, notes = data.parts, data.notes
    return next(parts[name] for name in ("test", "val", "all", "train") if name in parts), notes


def _folder(path: Path) -> Parts:
    parts, notes = folder(path)
    classes = next(iter(parts.values())).classes
    inner = path / classes[0]
    if len(classes) == 1 and inner.is_dir() and any(p.is_dir() for p in inner.iterdir()):
        raise InputError(f"{path}: one class only, {classes[0]!r}; did you mean {inner}?")
    return parts, notes


def _called(source: str) -> Data:
    """Return what the user's function returns."""
    module, _, name = source.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does, and for good: loader workers import it too
        sys.path.append(here)
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{source}: {error}; give package.module:function") from error
    data = function()
    if not isinstance(data, Data):
        raise InputError(f"{source} returned a {type(data).__name__}; return an effnetv2 Data")
    return data


def _parted(
    parts: Mapping[str, Samples], val: float, test: float, seed: int
) -> tuple[dict[str, Samples], list[str]]:
    """Draw the parts that are asked for and missing; note those that come out empty."""
    found, notes = dict(parts), list[str]()
    if "all" in found:
        whole = found.pop("all")
        found["train"], drawn = _drawn(whole, test, (seed, 0))
        if len(drawn):
            found["test"] = drawn
        elif test:
            notes.append(f"too few pictures ({len(whole)}) to draw a test part")
        val /= 1 - test
    if "val" not in found and val:
        found["train"], drawn = _drawn(found["train"], val, (seed, 1))
        if len(drawn):
            found["val"] = drawn
        else:
            notes.append(f"too few pictures ({len(found['train'])}) to draw a val part")
    return found, notes


def _drawn(samples: Samples, fraction: float, seed: Sequence[int]) -> tuple[Samples, Samples]:
    rest, part = stratified(samples.labels, fraction, seed)
    return samples.subset(rest), samples.subset(part)


def _unknown(source: str, path: Path) -> str:
    if path.is_file():
        return f"{source} is a file but no CSV; give a folder of pictures, unpacked"
    nearby = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, [*NAMED, *nearby], 1)
    if not close:
        return f"no folder, CSV or named set {source!r}; named are {', '.join(NAMED)}"
    guess = close[0] if close[0] in NAMED else str(path.with_name(close[0]))
    return f"no folder, CSV or named set {source!r}; did you mean {guess!r}?"
