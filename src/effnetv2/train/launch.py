"""From what a user names to a finished run folder, alone or under torchrun."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from effnetv2.arch.named import network
from effnetv2.arch.presets import V2_B0
from effnetv2.arch.spec import Network
from effnetv2.config import from_data, from_json, override, to_data
from effnetv2.data.check import checked
from effnetv2.data.samples import Data
from effnetv2.data.source import open_data
from effnetv2.data.split import restore, split_names
from effnetv2.errors import InputError
from effnetv2.nn.kernels import kernels
from effnetv2.train.classifier import Card, Classifier
from effnetv2.train.costs import Pledge
from effnetv2.train.display import Display, duration
from effnetv2.train.finish import finish
from effnetv2.train.journal import Journal
from effnetv2.train.loading import Room, processes
from effnetv2.train.loop import plan, train
from effnetv2.train.machine import Machine
from effnetv2.train.pace import Pace
from effnetv2.train.plan import Plan
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.recipes import Wishes, named_recipe
from effnetv2.train.record import fingerprint, now, record
from effnetv2.train.run import Run
from effnetv2.train.schedules import Timeline
from effnetv2.train.timetable import remarks, timetable
from effnetv2.train.world import World, joined

SAVE_SECONDS = 60.0
"""How old a checkpoint may be when the process is killed, about."""


class Fit(Protocol):
    """What turns a recipe into the plan of a run that keeps a budget."""

    def __call__(
        self,
        recipe: Recipe,
        data: Data,
        asked: frozenset[str],
        *,
        machine: Machine,
        world: World,
        workers: int,
        display: Display,
        opening: float,
    ) -> Plan:
        """Return the plan; `asked` stays as it is, `opening` are seconds to open the data."""


def start(
    source: str,
    to: str | Path,
    *,
    parting: Mapping[str, Any] | None = None,
    model: str | Network | None = None,
    recipe: str = "default",
    wishes: Wishes | None = None,
    settings: Mapping[str, str] | None = None,
    fit: Fit | None = None,
    began: float | None = None,
    device: str = "auto",
    workers: int | None = None,
    cache: str = "auto",
    save_seconds: float = SAVE_SECONDS,
    quiet: bool = False,
) -> Classifier:
    """Train on what `source` names, a new run in the folder `to`.

    `parting` sets fields of the recipe's `DataChoice`; `recipe` is one of `RECIPES` or a
    recipe.json, which then decides whatever is not asked for; `settings` sets any of its fields
    by dotted path; `fit` makes it keep a budget, whose time counts from `began`. `workers` are
    loader processes, `cache` the room for decoded pictures (`loading.Room`): the run is the same.
    """
    run, room = Run(Path(to)), Room.named(cache)
    with joined() as world:
        display = Display(silent=quiet or not world.leads)
        if world.leads:
            run.require_new()
            data, chosen, machine, promised = _prepared(
                source, world, display, parting=parting, model=model, recipe=recipe, wishes=wishes,
                settings=settings, fit=fit, device=device, workers=workers, room=room,
            )  # fmt: skip
            timeline = plan(chosen, len(data.train), world)
            run.create(chosen)
            run.write("split.json", split_names(data))
            about = record(chosen, data, timeline, machine, world)
            if promised:
                display.table(timetable(promised), remarks(promised))
                about["budget"] = to_data(promised.pledge)
                about["notes"] += promised.notes
            run.write("record.json", about)
        world.gather(None)  # the others wait for the folder
        return _go(run, world, display, device, workers, room, save_seconds, began)


def planned(source: str, fit: Fit, *, quiet: bool = False, **order: Any) -> Plan:
    """Return the plan by which `start`, ordered the same, would train to keep a budget."""
    _, _, _, found = _prepared(source, World(), Display(silent=quiet), fit=fit, **order)
    assert found is not None
    return found


def resume(
    folder: str | Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    cache: str = "auto",
    save_seconds: float = SAVE_SECONDS,
    quiet: bool = False,
) -> Classifier:
    """Go on with the run in `folder` where it was cut; a finished one is only loaded.

    A budget goes on from what its checkpoint had spent; time in which nothing ran is not counted.
    """
    run, room = Run(Path(folder)), Room.named(cache)
    recipe = run.recipe()
    if (run.read("record.json") or {}).get("finished"):
        return Classifier.load(folder, Machine.choose(device, recipe.precision))
    with joined() as world:
        display = Display(silent=quiet or not world.leads)
        return _go(run, world, display, device, workers, room, save_seconds)


def _go(
    run: Run,
    world: World,
    display: Display,
    device: str,
    workers: int | None,
    room: Room,
    save_seconds: float,
    began: float | None = None,
) -> Classifier:
    """Train the run from wherever it is, and finish it."""
    began = time.monotonic() if began is None else began
    recipe, about = run.recipe(), run.read("record.json")
    machine = Machine.choose(device, recipe.precision, world.local_rank)
    data = _as_split(recipe.data, run)
    if about is None or fingerprint(data) != about["data"]["digest"]:
        raise InputError(
            f"the pictures of {recipe.data.source} have changed since {run.folder} began; "
            "bring them back, or start anew with another --to"
        )
    count = processes(workers, machine, world)
    display.about(data, recipe, about)
    data = room.keep(data, world, display.say)
    display.phases(plan(recipe, len(data.train), world))
    pledge = from_data(Pledge, about["budget"], "budget") if "budget" in about else None
    pace = Pace(recipe, pledge, began=began)
    journal = Journal(run, world, display, save_seconds)
    spent = about["seconds"]
    try:
        with _signals() as told:
            model = train(
                recipe, data, run, machine, world, journal, pace=pace, workers=count, stop=told
            )
        if journal.timeline.bends:
            about |= _changed(journal.timeline, about)
        with display.waiting("evaluating"):
            model = finish(recipe, data, run, model, machine, world, workers=count)
        card = Card(
            network=recipe.network,
            classes=data.train.classes,
            preprocessing=recipe.preprocessing,
        )
        classifier = Classifier(card, model, machine)
        if world.leads:
            classifier.save(run.model)
        about["finished"] = now()
    finally:
        display.close()
        about["seconds"] = round(max(spent, pace.spent()), 1)
        if world.leads:
            run.write("record.json", about)
    limit = f" of {duration(pledge.seconds)}" if pledge else ""
    display.say(f"trained in {duration(about['seconds'])}{limit}")
    return classifier


def _changed(timeline: Timeline, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says otherwise after re-plans."""
    told = f"re-planned on the way: {timeline.steps:,} steps instead of {about['steps']:,}"
    phases = to_data([p for p in timeline.phases if p.stop > p.start])
    return {"phases": phases, "steps": timeline.steps, "notes": [*about["notes"], told]}


def _prepared(
    source: str,
    world: World,
    display: Display,
    *,
    parting: Mapping[str, Any] | None = None,
    model: str | Network | None = None,
    recipe: str = "default",
    wishes: Wishes | None = None,
    settings: Mapping[str, str] | None = None,
    fit: Fit | None = None,
    device: str = "auto",
    workers: int | None = None,
    room: Room | None = None,
) -> tuple[Data, Recipe, Machine, Plan | None]:
    """Open the data and choose the recipe; with `fit`, plan it."""
    wishes, settings = wishes or Wishes(), settings or {}
    fixed = _read(recipe) if recipe.endswith(".json") else None
    standard = fixed.data if fixed else DataChoice(source=source)
    choice = replace(standard, source=_absolute(source), **(parting or {}))
    data, opening = _opened(choice, display)
    net = network(model) if isinstance(model, str) else model
    if fixed:
        chosen = wishes.applied(replace(fixed, data=choice, network=net or fixed.network))
    else:
        chosen = named_recipe(recipe, data, choice, net or V2_B0, wishes)
    for path, text in settings.items():
        chosen = override(chosen, path, text)
    machine = Machine.choose(device, chosen.precision)
    with display.waiting("compiling kernels for this processor"):
        kernels()
    if fit is None:
        return data, chosen, machine, None
    kept = (room or Room()).keep(data, world, lambda _: None)  # as training will load it
    found = fit(
        chosen, kept, _asked(wishes, settings), machine=machine, world=world,
        workers=processes(workers, machine, world), display=display, opening=opening,
    )  # fmt: skip
    for path, text in settings.items():  # durations that were asked for do not follow the epochs
        found = replace(found, recipe=override(found.recipe, path, text))
    return data, found.recipe, machine, found


def _asked(wishes: Wishes, settings: Mapping[str, str]) -> frozenset[str]:
    """Return what a plan must leave alone; InputError where it asks for the epochs themselves."""
    asked = {path.partition(".")[0] for path in settings}
    asked |= {name for name in ("size", "batch_size", "learning_rate") if getattr(wishes, name)}
    if wishes.epochs or "epochs" in asked:
        raise InputError("a budget decides the epochs; leave out --epochs or --budget")
    if {"progression", "preprocessing"} & asked:
        asked |= {"size", "phases"}
    return frozenset(asked)


def _opened(choice: DataChoice, display: Display) -> tuple[Data, float]:
    """Open the data, which takes so many seconds, and look for broken files."""
    began = time.monotonic()
    with display.waiting("opening the pictures"):
        data = open_data(choice.source, val=choice.val, test=choice.test, seed=choice.split_seed)
    opening = time.monotonic() - began
    pictures = sum(map(len, data.parts.values()))
    with display.counting("checking pictures", pictures) as progress:
        return checked(data, choice.bad_files, progress=progress), opening


def _read(file: str) -> Recipe:
    try:
        return from_json(Recipe, Path(file).read_text(), file)
    except OSError as e:
        raise InputError(f"{file}: {e.strerror}; give a recipe.json") from e


def _absolute(source: str) -> str:
    """Return a path from the root, so that the run can go on from anywhere; else a set's name."""
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source


def _as_split(choice: DataChoice, run: Run) -> Data:
    """Open the data as the run divided it."""
    data = open_data(choice.source, val=choice.val, test=choice.test, seed=choice.split_seed)
    return restore(data, run.read("split.json"))


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM ask for an end, rather than make one; a second SIGINT does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # signals reach only the main thread
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
