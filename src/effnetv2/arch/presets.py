"""The published architectures, one row per stage, and the sizes they were trained and tested at.

V2-S, M, L: Table 4 of the paper; XL, V2-B0 and the resolutions: the authors' released
configurations; V1-B0: Table 1 of the EfficientNet paper. The rest follows by scaling.
"""

from typing import NamedTuple

from effnetv2.arch.scaling import scale
from effnetv2.arch.spec import Network, Stage

# fmt: off
#                   op        e  k  s    c   n    se
V2_S = Network("v2-s", 24, (
    Stage("fused",  1, 3, 1,  24,  2),
    Stage("fused",  4, 3, 2,  48,  4),
    Stage("fused",  4, 3, 2,  64,  4),
    Stage("mbconv", 4, 3, 2, 128,  6, 0.25),
    Stage("mbconv", 6, 3, 1, 160,  9, 0.25),
    Stage("mbconv", 6, 3, 2, 256, 15, 0.25),
))
V2_M = Network("v2-m", 24, (
    Stage("fused",  1, 3, 1,  24,  3),
    Stage("fused",  4, 3, 2,  48,  5),
    Stage("fused",  4, 3, 2,  80,  5),
    Stage("mbconv", 4, 3, 2, 160,  7, 0.25),
    Stage("mbconv", 6, 3, 1, 176, 14, 0.25),
    Stage("mbconv", 6, 3, 2, 304, 18, 0.25),
    Stage("mbconv", 6, 3, 1, 512,  5, 0.25),
))
V2_L = Network("v2-l", 32, (
    Stage("fused",  1, 3, 1,  32,  4),
    Stage("fused",  4, 3, 2,  64,  7),
    Stage("fused",  4, 3, 2,  96,  7),
    Stage("mbconv", 4, 3, 2, 192, 10, 0.25),
    Stage("mbconv", 6, 3, 1, 224, 19, 0.25),
    Stage("mbconv", 6, 3, 2, 384, 25, 0.25),
    Stage("mbconv", 6, 3, 1, 640,  7, 0.25),
))
V2_XL = Network("v2-xl", 32, (
    Stage("fused",  1, 3, 1,  32,  4),
    Stage("fused",  4, 3, 2,  64,  8),
    Stage("fused",  4, 3, 2,  96,  8),
    Stage("mbconv", 4, 3, 2, 192, 16, 0.25),
    Stage("mbconv", 6, 3, 1, 256, 24, 0.25),
    Stage("mbconv", 6, 3, 2, 512, 32, 0.25),
    Stage("mbconv", 6, 3, 1, 640,  8, 0.25),
))
V2_B0 = Network("v2-b0", 32, (
    Stage("fused",  1, 3, 1,  16,  1),
    Stage("fused",  4, 3, 2,  32,  2),
    Stage("fused",  4, 3, 2,  48,  2),
    Stage("mbconv", 4, 3, 2,  96,  3, 0.25),
    Stage("mbconv", 6, 3, 1, 112,  5, 0.25),
    Stage("mbconv", 6, 3, 2, 192,  8, 0.25),
))
V1_B0 = Network("v1-b0", 32, (
    Stage("mbconv", 1, 3, 1,  16,  1, 0.25),
    Stage("mbconv", 6, 3, 2,  24,  2, 0.25),
    Stage("mbconv", 6, 5, 2,  40,  2, 0.25),
    Stage("mbconv", 6, 3, 2,  80,  3, 0.25),
    Stage("mbconv", 6, 5, 1, 112,  3, 0.25),
    Stage("mbconv", 6, 5, 2, 192,  4, 0.25),
    Stage("mbconv", 6, 3, 1, 320,  1, 0.25),
))
# Ours, for few pictures whose message is fine (cracks, cells): ends at 1/16 of the size, with
# a thirteenth of V2-B0's weights.
MINI = Network("mini", 16, (
    Stage("fused",  1, 3, 1,  16,  1),
    Stage("fused",  4, 3, 2,  24,  2),
    Stage("fused",  4, 3, 2,  40,  2),
    Stage("mbconv", 4, 3, 2,  80,  2, 0.25),
    Stage("mbconv", 4, 3, 1,  96,  2, 0.25),
), head=480)
# Ours, for tests and first looks: trains in seconds, has every kind of block.
TINY = Network("tiny", 8, (
    Stage("fused",  1, 3, 1,   8,  1),
    Stage("fused",  4, 3, 2,  16,  2),
    Stage("mbconv", 4, 3, 2,  24,  2, 0.25),
    Stage("mbconv", 6, 5, 2,  40,  1, 0.25),
), head=160)
# fmt: on
V2_B1 = scale(V2_B0, "v2-b1", width=1.0, depth=1.1)
V2_B2 = scale(V2_B0, "v2-b2", width=1.1, depth=1.2)
V2_B3 = scale(V2_B0, "v2-b3", width=1.2, depth=1.4)
V1_B1 = scale(V1_B0, "v1-b1", width=1.0, depth=1.1, ten_percent_rule=True)
V1_B2 = scale(V1_B0, "v1-b2", width=1.1, depth=1.2, ten_percent_rule=True)
V1_B3 = scale(V1_B0, "v1-b3", width=1.2, depth=1.4, ten_percent_rule=True)
V1_B4 = scale(V1_B0, "v1-b4", width=1.4, depth=1.8, ten_percent_rule=True)
V1_B5 = scale(V1_B0, "v1-b5", width=1.6, depth=2.2, ten_percent_rule=True)
V1_B6 = scale(V1_B0, "v1-b6", width=1.8, depth=2.6, ten_percent_rule=True)
V1_B7 = scale(V1_B0, "v1-b7", width=2.0, depth=3.1, ten_percent_rule=True)


class Sizes(NamedTuple):
    """Side of the square pictures, in pixels, of training and of evaluation."""

    train: int
    eval: int


# fmt: off
FAMILY: tuple[tuple[Network, Sizes], ...] = (
    (V2_B0, Sizes(192, 224)), (V2_B1, Sizes(192, 240)),
    (V2_B2, Sizes(208, 260)), (V2_B3, Sizes(240, 300)),
    (V2_S,  Sizes(300, 384)), (V2_M,  Sizes(384, 480)),
    (V2_L,  Sizes(384, 480)), (V2_XL, Sizes(384, 512)),
    (V1_B0, Sizes(176, 224)), (V1_B1, Sizes(192, 240)),
    (V1_B2, Sizes(208, 260)), (V1_B3, Sizes(240, 300)),
    (V1_B4, Sizes(304, 380)), (V1_B5, Sizes(352, 456)),
    (V1_B6, Sizes(416, 528)), (V1_B7, Sizes(480, 600)),
)
# fmt: on

_NAMED = (*FAMILY, (MINI, Sizes(224, 240)), (TINY, Sizes(64, 80)))
PRESETS = {net.name: net for net, _ in _NAMED}
SIZES = {net.name: sizes for net, sizes in _NAMED}
