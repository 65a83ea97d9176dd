"""A folder of class folders, parted or not, or a CSV that lists files, becomes labelled samples."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from csv import DictReader
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from effnetv2.data.decode import SUFFIXES
from effnetv2.data.samples import Files, Samples
from effnetv2.errors import InputError

# fmt: off
PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "eval": "val", "evaluation": "val",
    "test": "test", "testing": "test",
}
COLUMNS = {
    "path": "path", "file": "path", "image": "path", "filename": "path",
    "label": "label", "class": "label",
    "split": "split",
}
# fmt: on

Parts = tuple[dict[str, Samples], tuple[str, ...]]
"""Samples by part (`train`, `val`, `test`, or `all` of an undivided source), and notes."""


def folder(root: Path) -> Parts:
    """Return the pictures under `root/CLASS` or `root/PART/CLASS`, with notes.

    Classes are those of the training part, in natural order; of the other parts, pictures of
    other classes are left out and noted. Files deeper down count for their class folder. Links
    are followed; hidden files, and files that are no pictures, are not. InputError when `root`
    holds no class folder with pictures.
    """
    parts = _part_folders(root) or {"all": root}
    notes = _strangers(root, parts)
    rows: list[_Row] = []
    for part, place in parts.items():
        found, more = _scan(root, place)
        rows += [_Row(part, path, label) for path, label in found]
        notes += more
    samples, left_out = _assembled(root, rows)
    return samples, (*notes, *left_out)


def csv(path: Path) -> Parts:
    """Return the pictures that a CSV with a header lists, with notes.

    Columns: path (or file, image, filename), relative to the CSV; label (or class); and split, if
    all rows state their part. Separated by commas, semicolons or tabs. InputError names the
    first line that cannot be used.
    """
    root = path.parent
    rows: list[_Row] = []
    lines: dict[str, int] = {}
    missing: list[str] = []
    for line, row in _read(path):
        part = PARTS.get(row["split"].casefold()) if "split" in row else "all"
        if part is None:
            raise InputError(
                f"{path} line {line}: split {row['split']!r} is not train, val or test"
            )
        if not (row["path"] and row["label"]):
            raise InputError(f"{path} line {line}: path or label is empty")
        file = row["path"].replace("\\", "/")
        if file in lines:
            raise InputError(f"{path} line {line}: {file!r} stands on line {lines[file]} already")
        lines[file] = line
        if not (root / file).is_file():
            missing.append(file)
        rows.append(_Row(part, file, _composed(row["label"])))
    if missing:
        more = f" (and {len(missing) - 1} more missing)" if len(missing) > 1 else ""
        raise InputError(f"{path} line {lines[missing[0]]}: no file {missing[0]!r}{more}")
    if not rows:
        raise InputError(f"{path}: no rows below the header")
    return _assembled(root, rows)


def flat(root: Path) -> tuple[Samples, tuple[str, ...]]:
    """Return the pictures to evaluate on under `root`, with its own class list, and notes.

    Of a parted folder: its test part, or else val. InputError when there are none.
    """
    parts = _part_folders(root)
    place = parts.get("test", parts.get("val")) if parts else root
    if place is None:
        raise InputError(f"{root} has no test or val part; to evaluate on train, give {root}/train")
    rows, notes = _scan(root, place)
    samples, _ = _assembled(root, [_Row("all", path, label) for path, label in rows])
    return samples["all"], tuple(notes)


class _Row(NamedTuple):
    part: str
    path: str
    label: str


def _part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of `root` that are parts: called so, and holding folders themselves."""
    found: dict[str, Path] = {}
    for place in _folders(root):
        part = PARTS.get(place.name.casefold())
        if part and _folders(place):
            if part in found:
                raise InputError(f"{root}: {found[part].name} and {place.name} are both {part}")
            found[part] = place
    return {part: found[part] for part in ("train", "val", "test") if part in found}


def _folders(root: Path) -> list[Path]:
    try:
        found = [p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{root}: {(error.strerror or str(error)).lower()}") from error
    return sorted(found, key=lambda p: _natural(p.name))


def _strangers(root: Path, parts: dict[str, Path]) -> list[str]:
    """Note the folders that lie beside parts and are none."""
    if "all" in parts:
        return []
    names = [p.name for p in _folders(root) if p not in parts.values()]
    return [f"folders that are no part are ignored: {', '.join(names)}"] if names else []


def _scan(root: Path, place: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Return (path relative to `root`, class) of the pictures under `place`'s folders; notes."""
    rows: list[tuple[str, str]] = []
    notes: list[str] = []
    other: Counter[str] = Counter()
    folders = _folders(place)
    if folders and all(p.name.casefold() in PARTS for p in folders):
        names = " and ".join(p.name for p in folders)
        raise InputError(f"{place}: {names} hold no class folders; make them, or give a CSV")
    for class_folder in folders:
        pictures = _pictures(root, class_folder, other)
        rows += [(path, _composed(class_folder.name)) for path in pictures]
        if not pictures:
            notes.append(f"empty class folder ignored: {class_folder.relative_to(root).as_posix()}")
    loose = sum(p.suffix.lower() in SUFFIXES for p in place.iterdir() if p.is_file())
    if not rows:
        have = f"{loose} pictures but" if loose else "no pictures and"
        raise InputError(
            f"{place}: {have} no class folders with pictures; "
            "put each class into a folder of its name, or give a CSV"
        )
    if loose:
        notes.append(f"{loose} pictures outside any class folder ignored in {place}")
    if other:
        kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in other.most_common(5))
        notes.append(f"{other.total()} files that are no pictures ignored in {place}: {kinds}")
    return rows, notes


def _pictures(root: Path, place: Path, other: Counter[str]) -> list[str]:
    """Return the pictures under `place`, from `root` on; count other files by suffix in `other`."""
    found: list[str] = []
    seen = {str(p) for p in place.resolve().parents}  # a link upwards would walk in a circle
    for where, folders, files in os.walk(place, followlinks=True):
        seen.add(str(Path(where).resolve()))
        folders[:] = [
            f
            for f in folders
            if not f.startswith(".") and str(Path(where, f).resolve()) not in seen
        ]
        prefix = Path(where).relative_to(root).as_posix()
        for file in files:
            suffix = Path(file).suffix.lower()
            if file.startswith("."):
                continue
            if suffix in SUFFIXES:
                found.append(f"{prefix}/{file}")
            else:
                other[suffix] += 1
    return sorted(found, key=_natural)


def _read(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    """Yield (line, row) with the columns' names made one."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write the mark
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    header = text.partition("\n")[0].strip()
    reader = DictReader(StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    columns = {c: COLUMNS[c.strip().casefold()] for c in reader.fieldnames or () if _known(c)}
    missing = {"path", "label"} - set(columns.values())
    if missing or len(set(columns.values())) < len(columns):
        raise InputError(
            f"{path} line 1: the header {header!r} needs one column path (or file, image, "
            "filename), one label (or class), and at most one split"
        )
    for row in reader:
        yield reader.line_num, {columns[c]: (row[c] or "").strip() for c in columns}


def _known(column: str) -> bool:
    return column.strip().casefold() in COLUMNS


def _assembled(root: Path, rows: Sequence[_Row]) -> Parts:
    """Return the parts that `rows` state, all sharing one `Files`, and notes."""
    files = Files(root, tuple(row.path for row in rows))
    stated = {row.part for row in rows}
    present = [part for part in ("all", "train", "val", "test") if part in stated]
    if present[0] not in ("all", "train"):
        raise InputError(f"{root} has a {present[0]} part but no train part")
    every = Samples.of(files, *_labelled(rows))
    classes = _labelled([r for r in rows if r.part == present[0]])[1]
    parts: dict[str, Samples] = {}
    notes: list[str] = []
    for part in present:
        own = every.subset([i for i, row in enumerate(rows) if row.part == part])
        parts[part], unknown = own.aligned(classes)
        lost = len(own) - len(parts[part])
        if lost:
            names = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            notes.append(f"{lost} {part} pictures of classes not in train left out: {names}")
    return parts, tuple(notes)


def _labelled(rows: Sequence[_Row]) -> tuple[list[int], tuple[str, ...]]:
    classes = tuple(sorted({row.label for row in rows}, key=_natural))
    number = {name: i for i, name in enumerate(classes)}
    return [number[row.label] for row in rows], classes


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort class2 before class10: odd places are numbers."""
    split = re.split(r"(\d+)", name.casefold())
    return [int(s) if i % 2 else s for i, s in enumerate(split)], name


def _composed(name: str) -> str:
    """Return one spelling of accented letters: macOS and Linux store them differently.

    Bytes that are no UTF-8 are escaped, so that the name can be written to a file.
    """
    printable = name.encode("utf-8", "backslashreplace").decode()
    return unicodedata.normalize("NFC", printable)
