"""The best recipe that fits a budget of time: a pure function of what was measured.

Of the epochs that fit, as many as help; the recipe's sizes as long as a few epochs fit, smaller
ones else; smaller batches where there would be few updates; parts of them where memory is short.
"""

from collections.abc import Iterator
from dataclasses import replace

from effnetv2.errors import InputError
from effnetv2.train.budget import Budget
from effnetv2.train.costs import TARGET, Costs, Pledge
from effnetv2.train.plan import Plan, planned, timeline_of
from effnetv2.train.recipe import Recipe

FEW = 8.0
"""Epochs below which pictures become smaller."""
UPDATES = 500
"""Steps below which batches become smaller ..."""
SMALLEST_BATCH = 16
"""... but not than this."""
LEAST = 20
"""Steps below which there is no use in training."""
MOST, TIMES = 350.0, 5.0
"""No more epochs than the paper's on ImageNet, nor than so many times the recipe's own."""
VALIDATING = 0.1
"""Share of the time for training that validations may take."""
GRAIN = 1.005
"""Ratio of neighbouring numbers of epochs that are tried."""


def choose(
    recipe: Recipe, costs: Costs, budget: Budget, asked: frozenset[str] = frozenset()
) -> Plan:
    """Return the plan of the run that makes the best of `budget.seconds`.

    `asked` is what stays as it is: `size`, `phases`, `batch_size`, `accumulate`, `validate_every`,
    `learning_rate`. InputError when not even a few steps fit.
    """
    limit = TARGET * budget.seconds
    most = min(MOST, TIMES * recipe.epochs) if recipe.epochs < MOST else recipe.epochs
    notes: list[str] = []
    for shape, enough, why in _shapes(recipe, asked):
        found = _longest(shape, costs, limit, most, asked)
        if found is not None and found.epochs >= enough:
            notes += [why] if why else []
            break
    else:
        raise _too_short(shape, costs, budget, most, asked)
    if found.batch_size < recipe.batch_size:
        notes.append(
            f"batches of {found.batch_size} instead of {recipe.batch_size} pictures, "
            f"as there would be fewer than {UPDATES} updates"
        )
    if found.accumulate > recipe.accumulate:
        notes.append(f"memory is short: batches are computed in {found.accumulate} parts")
    if found.epochs >= most / GRAIN:
        notes.append(
            f"more than {most:.0f} epochs of {costs.train:,} pictures hardly help: "
            "the run ends before its budget does"
        )
    pledge = Pledge(seconds=budget.seconds, most_epochs=most, costs=costs)
    return planned(found, pledge, tuple(notes))


def lasting(
    recipe: Recipe, epochs: float, batch_size: int, images: int, asked: frozenset[str] = frozenset()
) -> Recipe:
    """Return `recipe` over other epochs and batches, its durations and rates in proportion.

    The peak of the learning rate, unless asked for, follows the root of the batch for AdamW, else
    the batch.
    """
    share = epochs / recipe.epochs
    power = 0.5 if recipe.optimizer.name == "adamw" else 1.0
    if "learning_rate" in asked:
        power = 0.0
    rate = recipe.learning_rate
    steps = max(1.0, epochs * images / batch_size)
    return replace(
        recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=replace(
            rate,
            peak=rate.peak * (batch_size / recipe.batch_size) ** power,
            warmup_epochs=rate.warmup_epochs * share,
            every_epochs=rate.every_epochs * share,
        ),
        plateau=replace(recipe.plateau, min_epochs=recipe.plateau.min_epochs * share),
        # An average over more steps than a thirtieth of the run would still hold the beginning.
        ema_decay=min(recipe.ema_decay, max(0.9, 1 - 30 / steps)),
    )


def _shapes(recipe: Recipe, asked: frozenset[str]) -> Iterator[tuple[Recipe, float, str]]:
    """Yield recipes from the best to the quickest, the epochs that each needs, and what to say."""
    yield recipe, FEW, ""
    p = recipe.progression
    multiple = max(p.multiple, 16)
    first, last = p.resolution

    def upto(size: int) -> Recipe:
        start = max(32, round(first * size / last / multiple) * multiple)
        return _sized(recipe, (min(start, size), size))

    smallest = max(32, round(last / 2 / multiple) * multiple)
    sizes = range((last - 1) // multiple * multiple, smallest - 1, -multiple)
    if "size" in asked:
        sizes = sizes[:0]
    for size in sizes:
        why = f"pictures up to {size} px, not {last} px, so that {FEW:.0f} epochs fit"
        yield upto(size), FEW, why
    if sizes:
        recipe = upto(smallest)
    why = f"pictures up to {smallest} px, not {last} px, " if sizes else ""
    if "phases" in asked or "size" in asked:
        yield recipe, 0.0, f"{why}and fewer than {FEW:.0f} epochs fit".removeprefix("and ")
        return
    if p.phases > 2:
        two = replace(recipe, progression=replace(recipe.progression, phases=2))
        yield two, FEW / 2, f"{why}in 2 phases, not {p.phases}: few epochs fit"
    one = recipe.progression.resolution[0]
    recipe = _sized(recipe, (one, one))
    recipe = replace(recipe, progression=replace(recipe.progression, phases=1))
    yield recipe, 0.0, f"pictures of {one} px in one phase: hardly any epochs fit otherwise"


def _sized(recipe: Recipe, resolution: tuple[int, int]) -> Recipe:
    """Return `recipe` at other sizes, evaluated as much larger as before."""
    p, how = recipe.progression, recipe.preprocessing
    shown = round(how.resolution * resolution[1] / p.resolution[1])
    return replace(
        recipe,
        progression=replace(p, resolution=resolution),
        preprocessing=replace(how, resolution=shown),
    )


def _longest(
    recipe: Recipe, costs: Costs, limit: float, most: float, asked: frozenset[str]
) -> Recipe | None:
    """Return the longest run of `recipe` within `limit` seconds, at a batch that suits it."""
    batch_size, found = recipe.batch_size, None
    while True:
        shape = lasting(recipe, recipe.epochs, batch_size, costs.train, asked)
        shape = _in_parts(shape, costs, asked)
        longest = next(
            (
                each
                for epochs in _lengths(shape, costs, limit, most)
                if _seconds(each := _paced(shape, epochs, costs, asked), costs) <= limit
            ),
            None,
        )
        found = longest or found
        updates = timeline_of(longest, costs).steps if longest else 0
        smaller = batch_size // 2
        if "batch_size" in asked or updates >= UPDATES or smaller < SMALLEST_BATCH:
            return found
        if smaller % costs.ranks or batch_size % 2:
            return found
        batch_size = smaller


def _lengths(shape: Recipe, costs: Costs, limit: float, most: float) -> Iterator[float]:
    """Yield numbers of epochs to try, the longest first: the same ones whatever the limit."""
    timeline = timeline_of(shape, costs)
    bare = replace(costs, val=0)
    an_epoch = bare.training(shape, timeline, timeline.steps) / timeline.epochs
    spare = limit - costs.startup - costs.ending(shape)
    hopeless = 1.2 * spare / an_epoch  # rounding to whole steps may spare a little
    epochs = most
    while epochs * costs.train >= LEAST * shape.batch_size:
        if epochs <= hopeless:
            yield float(f"{epochs:.4g}")
        epochs /= GRAIN


def _paced(shape: Recipe, epochs: float, costs: Costs, asked: frozenset[str]) -> Recipe:
    """Return `shape` over `epochs`, validated as often as it can afford."""
    recipe = lasting(shape, epochs, shape.batch_size, costs.train, asked)
    if "validate_every" in asked or not costs.val:
        return recipe
    timeline = timeline_of(recipe, costs)
    training = replace(costs, val=0).training(recipe, timeline, timeline.steps)
    once = costs.validation(recipe, timeline.phases[-1])
    times = max(1.0, min(20.0, VALIDATING * training / max(once, 1e-9)))
    every = max(min(1.0, recipe.validate_every), epochs / times)
    return replace(recipe, validate_every=float(f"{every:.4g}"))


def _in_parts(recipe: Recipe, costs: Costs, asked: frozenset[str]) -> Recipe:
    """Return `recipe` computed in as few parts as its largest phase needs to fit the memory."""
    if "accumulate" in asked or not costs.room:
        return recipe
    mine = recipe.batch_size // costs.ranks
    for parts in range(recipe.accumulate, mine + 1):
        largest = recipe.progression.resolution[1]
        if mine % parts == 0 and (costs.memory(largest, recipe.batch_size, parts) <= costs.room):
            return replace(recipe, accumulate=parts)
    return replace(recipe, accumulate=max(recipe.accumulate, mine))


def _seconds(recipe: Recipe, costs: Costs) -> float:
    timeline = timeline_of(recipe, costs)
    return costs.startup + costs.training(recipe, timeline, timeline.steps) + costs.ending(recipe)


def _too_short(
    recipe: Recipe, costs: Costs, budget: Budget, most: float, asked: frozenset[str]
) -> InputError:
    epochs = LEAST * recipe.batch_size / costs.train
    needed = _seconds(_paced(recipe, min(most, epochs), costs, asked), costs) / TARGET
    return InputError(
        f"a budget of {budget.seconds:.0f} s is too short: start, {LEAST} steps of "
        f"{recipe.batch_size} pictures, evaluation and report take about {needed:.0f} s here; give "
        f"{needed * 1.1:.0f}s or more, or a smaller --model"
    )
