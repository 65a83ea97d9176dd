"""What training changes, and hence all that a checkpoint holds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from effnetv2.data.loader import fold
from effnetv2.nn.network import EfficientNet
from effnetv2.train.machine import Machine
from effnetv2.train.optim import MovingAverage
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Replan, Timeline


@dataclass
class State:
    """The weights, their moving average, the optimizer; what validations and the clock decided."""

    model: EfficientNet
    average: MovingAverage
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list[float] = field(default_factory=list)
    replans: list[Replan] = field(default_factory=list)
    spent: float = 0.0
    """Seconds that the run has taken of its budget, while it ran."""

    @classmethod
    def initial(cls, recipe: Recipe, classes: int, machine: Machine) -> "State":
        """Return the state before the first step, a function of the recipe alone."""
        torch.manual_seed(fold(recipe.seed, 0))
        model = build(recipe, classes, machine)
        return cls(model, MovingAverage(model, recipe.ema_decay), recipe.optimizer.build(model))

    def dump(self) -> dict[str, Any]:
        """Return the state as tensors, numbers and containers of them."""
        return {
            "step": self.step,
            "losses": self.losses,
            "replans": [(r.step, r.steps) for r in self.replans],
            "spent": self.spent,
            "model": self.model.state_dict(),
            "average": self.average.average,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `dump` returned."""
        self.step, self.losses = saved["step"], saved["losses"]
        self.replans = [Replan(*pair) for pair in saved.get("replans", ())]
        self.spent = saved.get("spent", 0.0)
        self.model.load_state_dict(saved["model"])
        self.average.average = saved["average"]
        self.optimizer.load_state_dict(saved["optimizer"])

    def replanned(self, timeline: Timeline) -> Timeline:
        """Return the recipe's `timeline` with every change that was made on the way."""
        for change in self.replans:
            timeline = timeline.replanned(change)
        return timeline


def build(recipe: Recipe, classes: int, machine: Machine) -> EfficientNet:
    """Return the recipe's network on the machine, in the memory layout that convolutions like."""
    model = EfficientNet(recipe.network, classes).to(machine.device)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = recipe.norm_momentum
    return model.to(memory_format=torch.channels_last)
