"""The JSON files of a run folder, read into frozen values.

`recipe.json` and `record.json` must be there; every other file may still be missing. Numbers that
are not finite become `None`, so that no figure or sentence ever meets a NaN.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from effnetv2.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Phase:
    """The steps `start` to `stop` (exclusive), trained at one size and one regularisation."""

    start: int
    stop: int
    resolution: int
    batch_size: int
    dropout: float = 0.0
    drop_path: float = 0.0
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True, slots=True)
class Data:
    """What the run learned from; `class_counts` are training pictures by class."""

    source: str
    classes: int
    train: int
    val: int = 0
    test: int = 0
    digest: str = ""
    class_counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """The network's parameters, and its multiply-adds for one picture at `resolution`."""

    params: int
    macs: int | None = None
    resolution: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """`record.json`: what was run, on what, with which plan."""

    command: str
    effnetv2: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float | None = None
    seed: int | None = None
    versions: Mapping[str, Any] | None = None
    hardware: Mapping[str, Any] | None = None
    data: Data | None = None
    notes: tuple[str, ...] = ()
    network: Size | None = None
    phases: tuple[Phase, ...] = ()
    steps: int | None = None
    images_per_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Training:
    """A "train" line of `metrics.jsonl`, written every few steps."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """A "val" line of `metrics.jsonl`; `top1` and `macro_f1` in 0 to 1."""

    step: int
    loss: float | None = None
    top1: float | None = None
    macro_f1: float | None = None


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of an evaluation; the scores are `None` where they are not defined."""

    label: str
    images: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """The guesses of about one confidence: their mean confidence and how many were right."""

    images: int
    confidence: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A picture of the split; `probability` is the model's for its `guess`."""

    file: str
    name: str
    truth: str
    guess: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """The pictures with the best and with the worst answers."""

    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`evaluation/<split>.json`; `confusion` has the truth in rows and the guess in columns."""

    split: str
    images: int
    classes: tuple[str, ...]
    resolution: int | None = None
    top1: float | None = None
    top1_interval: tuple[float, float] | None = None
    top5: float | None = None
    macro_f1: float | None = None
    ece: float | None = None
    loss: float | None = None
    batch_norm: str = ""
    per_class: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    reliability: tuple[Bin, ...] = ()
    examples: Examples = Examples()


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run folder says. `settings` are the recipe's dotted paths but for the network."""

    folder: Path
    network: Mapping[str, Any]
    settings: tuple[tuple[str, str], ...]
    record: Record
    training: tuple[Training, ...] = ()
    validation: tuple[Validation, ...] = ()
    broken_lines: int = 0
    test: Evaluation | None = None
    val: Evaluation | None = None


def read(folder: Path) -> Run:
    """Return what `folder` holds; raise `InputError` where it is no run or a file is malformed."""
    for name in ("recipe.json", "record.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a run folder: it has no {name}; give a folder that "
                             "`effnetv2 train --to` wrote")  # fmt: skip
    recipe = _parsed(folder / "recipe.json", dict[str, Any])
    network = recipe.pop("network", {})
    if not isinstance(network, dict):
        network = {"name": network}
    training, validation, broken = _metrics(folder / "metrics.jsonl")
    return Run(
        folder=folder,
        network=network,
        settings=tuple(_dotted(recipe)),
        record=_parsed(folder / "record.json", Record),
        training=training,
        validation=validation,
        broken_lines=broken,
        test=_evaluation(folder / "evaluation" / "test.json"),
        val=_evaluation(folder / "evaluation" / "val.json"),
    )


def _metrics(path: Path) -> tuple[tuple[Training, ...], tuple[Validation, ...], int]:
    if not path.is_file():
        return (), (), 0
    # By step: a run that was cut and resumed logs some steps again, and the later line is its own.
    training: dict[int, Training] = {}
    validation: dict[int, Validation] = {}
    broken = 0
    anything = TypeAdapter(dict[str, Any])
    a_training, a_validation = TypeAdapter(Training), TypeAdapter(Validation)
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            kind = _valid(line, anything).get("kind")
            if kind == "train":
                train = _valid(line, a_training)
                training[train.step] = train
            elif kind == "val":
                val = _valid(line, a_validation)
                validation[val.step] = val
        except ValueError:
            broken += number < len(lines)  # the last one is torn while a run is being written
    return (
        tuple(training[step] for step in sorted(training)),
        tuple(validation[step] for step in sorted(validation)),
        broken,
    )


def _evaluation(path: Path) -> Evaluation | None:
    if not path.is_file():
        return None
    found = _parsed(path, Evaluation)
    classes = len(found.classes)
    if found.confusion and [len(row) for row in found.confusion] != [classes] * classes:
        raise InputError(f"{path}: the confusion matrix is not {classes} by {classes}, as its "
                         "classes are; evaluate again")  # fmt: skip
    return found


def _dotted(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, entry in value.items():
        if isinstance(entry, dict) and entry:
            rows += _dotted(entry, f"{prefix}{name}.")
        else:
            text = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
            rows.append((prefix + name, text))
    return rows


def _parsed(path: Path, kind: type[T]) -> T:
    try:
        return _valid(path.read_text(encoding="utf-8"), TypeAdapter(kind))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise InputError(f"{path}: {where}: {first['msg']}; write the run again") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); write the run again") from error


def _valid(text: str, form: TypeAdapter[T]) -> T:
    loaded = json.loads(text, parse_constant=_nothing, parse_float=_finite)
    # Class names come from file names, which may hold bytes that are no UTF-8: shown as "?".
    clean = json.dumps(loaded, ensure_ascii=False).encode("utf-8", "replace")
    return form.validate_json(clean)


def _nothing(_: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
