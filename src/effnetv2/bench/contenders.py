"""Who is timed: one network of one library under one setting.

All are alike in arithmetic: timm's pads as ours does, nobody drops out, and stochastic depth has
one rate for all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from effnetv2.arch.presets import PRESETS
from effnetv2.arch.spec import Network
from effnetv2.bench.settings import Setting
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet

Library = Literal["effnetv2", "timm", "torchvision"]

# fmt: off
#          ours     timm                    torchvision
PEERS = {
    "v2-b0": ("tf_efficientnetv2_b0",  None),
    "v2-b1": ("tf_efficientnetv2_b1",  None),
    "v2-b2": ("tf_efficientnetv2_b2",  None),
    "v2-b3": ("tf_efficientnetv2_b3",  None),
    "v2-s":  ("tf_efficientnetv2_s",   "efficientnet_v2_s"),
    "v2-m":  ("tf_efficientnetv2_m",   "efficientnet_v2_m"),
    "v2-l":  ("tf_efficientnetv2_l",   "efficientnet_v2_l"),
    "v2-xl": ("tf_efficientnetv2_xl",  None),
    **{f"v1-b{n}": (f"tf_efficientnet_b{n}", f"efficientnet_b{n}") for n in range(8)},
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Contender:
    """One network of one library under one setting."""

    library: Library
    network: str
    """What the library calls it."""
    setting: Setting
    value: Network
    """The architecture, which ours is built from and every cost is counted by."""

    @property
    def name(self) -> str:
        """Return library, network and setting in words."""
        return f"{self.library} {self.network}, {self.setting.name}"

    def build(self, device: torch.device, *, drop_path: float = 0.0) -> nn.Module:
        """Return the untrained network on `device`; InputError when its library is missing."""
        model: nn.Module
        if self.library == "effnetv2":
            ours = EfficientNet(self.value)
            ours.regularise(dropout=0.0, drop_path=drop_path)
            model = ours
        elif self.library == "timm":
            padding = {"symmetric": "", "same": "same"}[self.value.padding]
            model = create_timm(self.network, pad_type=padding, drop_path_rate=drop_path)
        else:
            get_model = import_module("torchvision.models").get_model
            model = get_model(self.network, dropout=0.0, stochastic_depth_prob=drop_path)
        model = model.to(device).to(memory_format=self.setting.layout)
        if self.setting.compiled:
            model.compile()
        return model


def contenders(
    value: Network, settings: Sequence[Setting], left_out: list[str]
) -> Iterator[Contender]:
    """Yield ours and the peers' networks of the architecture `value`, under every setting.

    Adds a line to `left_out` for what cannot be beside it.
    """
    builders: list[tuple[Library, str]] = [("effnetv2", value.name)]
    preset = PRESETS.get(value.name)
    if preset == replace(value, padding="symmetric") and value.name in PEERS:
        timm, torchvision = PEERS[value.name]
        if available("timm"):
            builders.append(("timm", timm))
        else:
            left_out.append(f"timm {timm}: timm is not installed (pip install 'effnetv2[bench]')")
        # torchvision pads symmetrically only: other arithmetic on even sides.
        if torchvision and value.padding == "symmetric":
            builders.append(("torchvision", torchvision))
    else:
        left_out.append(f"peers of {value.name}: neither timm nor torchvision builds it")
    for setting in settings:
        for library, name in builders:
            yield Contender(library, name, setting, value)


def available(library: str) -> bool:
    """Say whether `library` can be imported."""
    return find_spec(library) is not None


def create_timm(name: str, **options: Any) -> nn.Module:
    """Return timm's untrained network; InputError when timm is missing or has none such."""
    if not available("timm"):
        raise InputError("timm is not installed: pip install 'effnetv2[bench]'")
    try:
        model: nn.Module = import_module("timm").create_model(name, pretrained=False, **options)
    except RuntimeError as e:
        raise InputError(f"timm builds no {name}: {e}") from e
    return model
