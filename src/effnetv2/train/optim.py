"""The optimizers of the recipes, and the moving average of weights.

The paper's RMSProp is TensorFlow's: epsilon inside the root, a mean square that starts at one, a
learning rate folded into the momentum. torch's differs in all three.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from effnetv2.train.schedules import ema_decay


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Which optimizer, and its constants; the learning rate is the schedule's."""

    name: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    weight_decay: float = 0.05
    """Decoupled for AdamW, L2 otherwise; never on batch norms and biases."""
    momentum: float = 0.9
    """First moment of AdamW; momentum of the others."""
    second: float = 0.999
    """Decay of squared gradients (AdamW 0.999; the paper's RMSProp 0.9)."""
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    """Scale gradients down to this total norm; 0 leaves them."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of `model`'s parameters, learning rate zero until a step sets it."""
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        if self.name == "adamw":
            betas = (self.momentum, self.second)
            return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=self.epsilon, fused=True)
        if self.name == "sgd":
            return torch.optim.SGD(
                groups, lr=0.0, momentum=self.momentum, nesterov=self.momentum > 0, fused=True
            )
        return RMSpropTF(groups, self.second, self.momentum, self.epsilon)


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 computes it, by which the published weights were trained."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        lr: float = 0.0,
    ) -> None:
        settings = {"decay": decay, "momentum": momentum, "epsilon": epsilon, "lr": lr}
        super().__init__(params, settings | {"weight_decay": 0.0})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the parameters that have a gradient."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["square"] = torch.ones_like(p)
                    self.state[p]["momentum"] = torch.zeros_like(p)
            squares = [self.state[p]["square"] for p in params]
            momenta = [self.state[p]["momentum"] for p in params]
            grads: list[Tensor] | tuple[Tensor, ...] = [
                p.grad for p in params if p.grad is not None
            ]
            if group["weight_decay"]:
                grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, grads, grads, 1 - group["decay"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_addcdiv_(momenta, grads, roots, group["lr"])
            torch._foreach_sub_(params, momenta)
        return loss


class MovingAverage:
    """The exponential moving average of a model's weights and batch-norm statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from `model` as it is; `decay` is reached as steps go by, 0 just follows."""
        self.decay = decay
        self.average = {
            k: v.detach().clone() for k, v in model.state_dict().items() if v.is_floating_point()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model` after `step` (counted from 0)."""
        state = model.state_dict()
        weight = 1 - ema_decay(self.decay, step)
        torch._foreach_lerp_(list(self.average.values()), [state[k] for k in self.average], weight)

    def copy_to(self, model: nn.Module) -> None:
        """Give `model` the averaged weights."""
        model.load_state_dict(self.average, strict=False)
