"""Compound scaling: a function from an architecture to a larger or smaller one."""

import math
from dataclasses import replace

from effnetv2.arch.spec import Network


def round_width(width: float, *, ten_percent_rule: bool, divisor: int = 8) -> int:
    """Round half up to a multiple of `divisor`, never below one multiple.

    V1 adds a multiple where rounding would lose more than ten percent (its `round_filters`);
    V2-B0 to B3 were scaled without that rule, which only V2-B3 notices (16, not 24, in stage 1).
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if ten_percent_rule and rounded < 0.9 * width else rounded


def scale(
    net: Network,
    name: str,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    ten_percent_rule: bool = False,
) -> Network:
    """Scale every width by `width` and every stage depth by `depth` (rounded up)."""

    def wider(channels: int) -> int:
        return round_width(channels * width, ten_percent_rule=ten_percent_rule)

    stages = tuple(
        replace(s, width=wider(s.width), depth=math.ceil(s.depth * depth)) for s in net.stages
    )
    return replace(net, name=name, stem=wider(net.stem), stages=stages, head=wider(net.head))
