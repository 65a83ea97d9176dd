"""The training loop. Start reading here.

The step counter is the only clock. The learning rate, the image size, every strength of
regularisation, the batch and the random numbers are functions of it, so a run that was cut off
and resumed is the run that was not. Progressive learning is the lines that read `phase`. Where a
budget of time changes the number of steps, the change is kept like everything that was decided.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effnetv2.data.loader import Request, fold, training_batches
from effnetv2.data.mixing import mix
from effnetv2.data.preprocessing import normalise
from effnetv2.data.samples import Data, Samples
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.train.evaluate import predictions
from effnetv2.train.journal import Journal
from effnetv2.train.machine import Machine
from effnetv2.train.pace import Pace
from effnetv2.train.recipe import Recipe
from effnetv2.train.run import Run
from effnetv2.train.schedules import Phase, Timeline
from effnetv2.train.state import State, build
from effnetv2.train.world import World, share_norms


class Interruption(Exception):  # noqa: N818 - it was asked for, hence no error
    """The run was told to stop; its checkpoint holds the step it reached."""


def train(
    recipe: Recipe,
    data: Data,
    run: Run,
    machine: Machine,
    world: World,
    journal: Journal,
    *,
    pace: Pace | None = None,
    workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> EfficientNet:
    """Train `recipe.network` on `data.train` and return it with averaged weights.

    Goes on from the run's checkpoint if there is one; `pace` keeps it within its budget. Raises
    `Interruption` after the step in which `stop()` first says so, and InputError at a loss that is
    not a number.
    """
    state = State.initial(recipe, len(data.train.classes), machine)
    if saved := run.load(machine.device):
        state.restore(saved)
    timeline = state.replanned(plan(recipe, len(data.train), world))
    pace = pace or Pace(recipe)
    averaged = build(recipe, len(data.train.classes), machine)
    if world.ranks > 1:
        share_norms(state.model)
    if recipe.compile:
        state.model.compile()
    replica = world.wrap(state.model)
    weights = class_weights(recipe, data.train).to(machine.device)
    over = recipe.plateau.stops(state.losses, timeline.epoch(state.step))
    batches = batches_of(recipe, data.train, timeline, state.step, world, workers)

    journal.open(timeline, state.step)
    pace.open(state.spent)
    while state.step < timeline.steps and not over:
        step, (images, labels) = state.step, next(batches)
        phase, place = timeline.phase(step), timeline.place(step)
        rate = recipe.learning_rate.at(place, timeline.length) * recipe.plateau.scale(state.losses)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(fold(recipe.seed, 2, step, world.rank))

        state.model.train()
        state.model.regularise(dropout=phase.dropout, drop_path=phase.drop_path)
        with machine.explained(f"phase {timeline.index(step) + 1}, {phase.resolution} px"):
            loss = backward(recipe, replica, images, labels, weights, phase, machine)
        norm = clip(state.model, recipe.optimizer.clip_norm)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.average.update(state.model, step)
        state.step, state.spent = step + 1, pace.spent()

        if change := pace.replan(timeline, state.step, world):
            state.replans.append(change)
            timeline = timeline.replanned(change)
            batches = batches_of(recipe, data.train, timeline, state.step, world, workers)
            journal.replan(timeline, change, pace.slowness)
        stopping = world.any(stop())
        last = state.step == timeline.steps
        validating = data.val is not None and (last or validates(recipe, timeline, state.step))
        journal.step(state.step, loss, rate, norm, look=stopping or validating)
        if validating and data.val is not None:
            state.average.copy_to(averaged)
            how = recipe.shown(phase)
            seen = predictions(averaged, data.val, how, machine, workers=workers, world=world)
            state.losses.append(seen.loss)
            journal.validation(state.step, how.resolution, {"loss": seen.loss, **seen.summary()})
        if world.leads and (stopping or last or journal.save_is_due()):
            run.save(state.dump())
            journal.saved(state.step)
        if stopping:
            raise Interruption(f"stopped after step {state.step} of {timeline.steps}")
        over = recipe.plateau.stops(state.losses, timeline.epoch(state.step))
    journal.close()
    state.average.copy_to(averaged)
    return averaged


def plan(recipe: Recipe, images: int, world: World) -> Timeline:
    """Return the phases of a run over `images` training pictures."""
    divisor = world.ranks * recipe.accumulate
    if recipe.batch_size % divisor:
        raise InputError(
            f"batch size {recipe.batch_size} does not divide into {world.ranks} ranks x "
            f"{recipe.accumulate} parts; take a multiple of {divisor}"
        )
    return recipe.progression.plan(images, recipe.epochs, recipe.batch_size, divisor)


def batches_of(
    recipe: Recipe, samples: Samples, timeline: Timeline, start: int, world: World, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this rank's images and labels of every step from `start` on."""
    wanted = requests(timeline, start, world)
    return training_batches(samples, recipe.augmentation, wanted, seed=recipe.seed, workers=workers)


def requests(timeline: Timeline, start: int, world: World) -> list[Request]:
    """Return this rank's share of every step's pictures, with the phase they are made for."""
    phases = ((step, timeline.phase(step)) for step in range(start, timeline.steps))
    return [
        Request(
            timeline.positions(step)[world.rank :: world.ranks], phase.resolution, phase.randaugment
        )
        for step, phase in phases
    ]


def validates(recipe: Recipe, timeline: Timeline, step: int) -> bool:
    """Say whether the run is validated after `step` steps: when another stretch is complete."""
    now, before = (timeline.epoch(s) // recipe.validate_every for s in (step, step - 1))
    return now > before


def class_weights(recipe: Recipe, train: Samples) -> Tensor:
    """Return what each class's loss is multiplied by, `(classes,)`; over the pictures, mean 1."""
    counts = torch.from_numpy(train.counts()).float()
    if recipe.class_weights == "none":
        return torch.ones_like(counts)
    return counts.sum() / (counts.clamp(min=1) * (counts > 0).sum())


def backward(
    recipe: Recipe,
    replica: nn.Module,
    images: Tensor,
    labels: Tensor,
    weights: Tensor,
    phase: Phase,
    machine: Machine,
) -> Tensor:
    """Accumulate the gradients of one batch, mixed as the phase says; return its mean loss."""
    total = torch.zeros((), device=machine.device)
    parts = list(zip(images.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True))
    for i, (x, y) in enumerate(parts, 1):
        x = normalise(
            x.to(machine.device, non_blocking=True),
            recipe.preprocessing.mean,
            recipe.preprocessing.std,
        )
        y = F.one_hot(y.to(machine.device), len(weights)).float()
        x, y = mix(x, y, phase.mixup, phase.cutmix)
        with waiting(replica) if i < len(parts) else contextlib.nullcontext():
            with machine.autocast():
                logits = replica(x)
            loss = F.cross_entropy(
                logits.float(), y, weights, label_smoothing=recipe.label_smoothing
            ) / len(parts)
            loss.backward()
        total += loss.detach()
    return total


def waiting(replica: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return the context in which ranks do not exchange gradients yet."""
    if isinstance(replica, nn.parallel.DistributedDataParallel):
        return replica.no_sync()
    return contextlib.nullcontext()


def clip(model: nn.Module, max_norm: float) -> Tensor:
    """Scale gradients to a total norm of at most `max_norm`, unless it is 0; return the norm."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
