"""One run folder becomes one `report.html` that needs no other file, no script and no network."""

import base64
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from effnetv2.report import figures, wording
from effnetv2.report.reading import ClassScore, Evaluation, Example, Run, Training, Validation, read

_KINDS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
_MOST_PAIRS = 12


@dataclass(frozen=True, slots=True)
class Pair:
    """How often pictures of `truth` were taken for `guess`; `share` is of those pictures."""

    truth: str
    guess: str
    images: int
    share: float


def write(run: Path) -> Path:
    """Write `run/report.html` in one piece and return its path.

    Raises `InputError` where `run` is no run folder or holds a malformed file.
    """
    page = run / "report.html"
    fresh = run / f".report-{os.getpid()}.html"
    text = _render(read(run))
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(page)
    finally:
        fresh.unlink(missing_ok=True)
    return page


def confused(evaluation: Evaluation) -> list[Pair]:
    """Return the most frequent confusions of two classes, the most frequent first."""
    pairs = [
        Pair(evaluation.classes[i], evaluation.classes[j], images, images / sum(row))
        for i, row in enumerate(evaluation.confusion)
        for j, images in enumerate(row)
        if i != j and images
    ]
    return sorted(pairs, key=lambda pair: (-pair.images, -pair.share))[:_MOST_PAIRS]


def _render(run: Run) -> str:
    page = Environment(
        loader=PackageLoader("effnetv2.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for say in (wording.percent, wording.interval, wording.decimal, wording.count, wording.short,
                wording.duration, wording.moment):  # fmt: skip
        page.filters[say.__name__] = say
    score = run.test or run.val
    speeds = [t.images_per_second for t in run.training if t.images_per_second is not None]
    return page.get_template("page.html.jinja").render(
        run=run,
        record=run.record,
        name=str(run.network.get("name", "network")),
        source=Path(run.record.data.source).name if run.record.data else run.folder.name,
        score=score,
        scores=[evaluation for evaluation in (run.test, run.val) if evaluation],
        last=run.validation[-1] if run.validation else None,
        step=max((line.step for line in _lines(run)), default=0),
        images_per_second=statistics.median(speeds) if speeds else None,
        notes=list(_notes(run)),
        missing=list(_missing(run)),
        drawn={name: Markup(svg) for name, svg in _figures(run, score).items()},
        named_classes=figures.NAMED_CLASSES,
        most_points=figures.MOST_POINTS,
        pairs=confused(score) if score else [],
        per_class=sorted(score.per_class, key=_by_f1) if score else [],
        pictures=_pictures(run, score) if score else {},
        stages=_stages(run.network),
    )


def _notes(run: Run) -> Iterator[str]:
    yield from run.record.notes
    if run.broken_lines:
        yield f"lines of metrics.jsonl that could not be read: {run.broken_lines}"
    lost = [line.step for line in run.training if line.loss is None]
    if lost:
        yield f"the training loss was not finite at {len(lost)} logged steps, first at {lost[0]}"


def _missing(run: Run) -> Iterator[str]:
    data = run.record.data
    if run.record.finished is None:
        yield "the end of the run: it still goes on, or was cut off"
    if not run.training:
        yield "metrics.jsonl has no training lines: no loss, learning rate or throughput"
    if not run.validation:
        yield "metrics.jsonl has no validation lines: no accuracy over steps"
    if not run.record.phases:
        yield "record.json has no phases: no schedule"
    if run.val is None:
        yield "evaluation/val.json: the validation split is not evaluated"
    if run.test is None and (data is None or data.test):
        yield "evaluation/test.json: the test split is not evaluated"


def _figures(run: Run, score: Evaluation | None) -> dict[str, str]:
    phases, training, validation = run.record.phases, run.training, run.validation
    drawn: dict[str, str] = {}
    if phases:
        drawn["schedule"] = figures.schedule(phases)
    if any(line.loss is not None for line in _lines(run)):
        drawn["loss"] = figures.loss(training, validation, phases)
    if any(v.top1 is not None or v.macro_f1 is not None for v in validation):
        drawn["accuracy"] = figures.accuracy(validation, phases)
    if any(t.learning_rate is not None for t in training):
        drawn["learning_rate"] = figures.learning_rate(training, phases)
    if any(t.images_per_second is not None for t in training):
        drawn["throughput"] = figures.throughput(training, phases)
    if score and score.confusion:
        drawn["confusion"] = figures.confusion(score)
    if score and any(b.images for b in score.reliability):
        drawn["reliability"] = figures.reliability(score.reliability, score.ece)
    return drawn


def _lines(run: Run) -> tuple[Training | Validation, ...]:
    return (*run.training, *run.validation)


def _by_f1(row: ClassScore) -> tuple[bool, float, str]:
    """Order by F1, with the classes at the end that have none, as they had no images."""
    return row.f1 is None or not row.images, row.f1 or 0.0, row.label


def _pictures(run: Run, score: Evaluation) -> dict[str, list[tuple[Example, str | None]]]:
    return {
        "Best answers": [(e, _inlined(run.folder, e.file)) for e in score.examples.best],
        "Worst answers": [(e, _inlined(run.folder, e.file)) for e in score.examples.worst],
    }


def _inlined(folder: Path, file: str) -> str | None:
    """Return the picture as a data URI; `None` if it is none, or is not inside the run folder."""
    path = (folder / file).resolve()
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _stages(network: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    stages = network.get("stages")
    return [s for s in stages if isinstance(s, dict)] if isinstance(stages, list) else []
