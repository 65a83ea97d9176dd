import numpy as np
import pytest
import torch
from torch import nn

from effnetv2.arch.presets import TINY
from effnetv2.nn.network import EfficientNet
from effnetv2.train.optim import MovingAverage, Optimizer, RMSpropTF


def test_rmsprop_is_tensorflows() -> None:
    """Against the update rule of tf.compat.v1.train.RMSPropOptimizer, in numpy."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=5)
    p = nn.Parameter(torch.tensor(w))
    optimizer = RMSpropTF([{"params": [p], "weight_decay": 0.01}], 0.9, 0.9, 1e-3, lr=0.1)
    square, momentum = np.ones(5), np.zeros(5)
    for step in range(10):
        rate = 0.1 / (step + 1)
        optimizer.param_groups[0]["lr"] = rate
        grad = rng.normal(size=5)
        p.grad = torch.tensor(grad)
        optimizer.step()
        grad = grad + 0.01 * w
        square = 0.9 * square + 0.1 * grad**2
        momentum = 0.9 * momentum + rate * grad / np.sqrt(square + 1e-3)
        w = w - momentum
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    model = EfficientNet(TINY, 3)
    optimizer = Optimizer(name=name, weight_decay=0.1).build(model)  # type: ignore[arg-type]
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(model.parameters()))
    for module in model.modules():
        for kind, p in module.named_parameters(recurse=False):
            plain = isinstance(module, nn.BatchNorm2d) or kind == "bias"
            assert decay[id(p)] == (0.0 if plain else 0.1)


def test_the_moving_average_is_the_recurrence_of_weights_and_statistics() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model, 0.5)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    for step in range(30):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(4, 2))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for k, v in model.state_dict().items():
            if v.is_floating_point():
                expected[k] = expected[k] * decay + v * (1 - decay)
    assert average.average.keys() == {k for k in expected if "num_batches" not in k}
    for k, v in average.average.items():
        torch.testing.assert_close(v, expected[k])
