"""The presets are the authors' networks, and a value that cannot be built is refused."""

from collections.abc import Mapping

import pytest

from effnetv2.arch.presets import FAMILY, PRESETS, SIZES, V2_S, Sizes
from effnetv2.arch.scaling import round_width
from effnetv2.arch.spec import Network, Stage
from effnetv2.errors import InputError

# The rows of the released configuration: r = repeats, k = kernel, s = stride, e = expansion,
# i and o = channels in and out, c1 = fused, se = squeeze-excite.
ROWS = {
    "v1-b0": """
        r1_k3_s1_e1_i32_o16_se0.25 r2_k3_s2_e6_i16_o24_se0.25 r2_k5_s2_e6_i24_o40_se0.25
        r3_k3_s2_e6_i40_o80_se0.25 r3_k5_s1_e6_i80_o112_se0.25 r4_k5_s2_e6_i112_o192_se0.25
        r1_k3_s1_e6_i192_o320_se0.25""",
    "v2-b0": """
        r1_k3_s1_e1_i32_o16_c1 r2_k3_s2_e4_i16_o32_c1 r2_k3_s2_e4_i32_o48_c1
        r3_k3_s2_e4_i48_o96_se0.25 r5_k3_s1_e6_i96_o112_se0.25 r8_k3_s2_e6_i112_o192_se0.25""",
    "v2-s": """
        r2_k3_s1_e1_i24_o24_c1 r4_k3_s2_e4_i24_o48_c1 r4_k3_s2_e4_i48_o64_c1
        r6_k3_s2_e4_i64_o128_se0.25 r9_k3_s1_e6_i128_o160_se0.25 r15_k3_s2_e6_i160_o256_se0.25""",
    "v2-m": """
        r3_k3_s1_e1_i24_o24_c1 r5_k3_s2_e4_i24_o48_c1 r5_k3_s2_e4_i48_o80_c1
        r7_k3_s2_e4_i80_o160_se0.25 r14_k3_s1_e6_i160_o176_se0.25 r18_k3_s2_e6_i176_o304_se0.25
        r5_k3_s1_e6_i304_o512_se0.25""",
    "v2-l": """
        r4_k3_s1_e1_i32_o32_c1 r7_k3_s2_e4_i32_o64_c1 r7_k3_s2_e4_i64_o96_c1
        r10_k3_s2_e4_i96_o192_se0.25 r19_k3_s1_e6_i192_o224_se0.25 r25_k3_s2_e6_i224_o384_se0.25
        r7_k3_s1_e6_i384_o640_se0.25""",
    "v2-xl": """
        r4_k3_s1_e1_i32_o32_c1 r8_k3_s2_e4_i32_o64_c1 r8_k3_s2_e4_i64_o96_c1
        r16_k3_s2_e4_i96_o192_se0.25 r24_k3_s1_e6_i192_o256_se0.25 r32_k3_s2_e6_i256_o512_se0.25
        r8_k3_s1_e6_i512_o640_se0.25""",
}

# fmt: off
# Name: blocks, stem, (depth, width) of every stage, head.
SHAPES = {
    "v2-b0": (21, 32, "1,16 2,32 2,48 3,96 5,112 8,192", 1280),
    "v2-b1": (27, 32, "2,16 3,32 3,48 4,96 6,112 9,192", 1280),
    "v2-b2": (28, 32, "2,16 3,32 3,56 4,104 6,120 10,208", 1408),
    "v2-b3": (32, 40, "2,16 3,40 3,56 5,112 7,136 12,232", 1536),
    "v2-s":  (40, 24, "2,24 4,48 4,64 6,128 9,160 15,256", 1280),
    "v2-m":  (57, 24, "3,24 5,48 5,80 7,160 14,176 18,304 5,512", 1280),
    "v2-l":  (79, 32, "4,32 7,64 7,96 10,192 19,224 25,384 7,640", 1280),
    "v2-xl": (100, 32, "4,32 8,64 8,96 16,192 24,256 32,512 8,640", 1280),
    "v1-b0": (16, 32, "1,16 2,24 2,40 3,80 3,112 4,192 1,320", 1280),
    "v1-b1": (23, 32, "2,16 3,24 3,40 4,80 4,112 5,192 2,320", 1280),
    "v1-b2": (23, 32, "2,16 3,24 3,48 4,88 4,120 5,208 2,352", 1408),
    "v1-b3": (26, 40, "2,24 3,32 3,48 5,96 5,136 6,232 2,384", 1536),
    "v1-b4": (32, 48, "2,24 4,32 4,56 6,112 6,160 8,272 2,448", 1792),
    "v1-b5": (39, 48, "3,24 5,40 5,64 7,128 7,176 9,304 3,512", 2048),
    "v1-b6": (45, 56, "3,32 6,40 6,72 8,144 8,200 11,344 3,576", 2304),
    "v1-b7": (55, 64, "4,32 7,48 7,80 10,160 10,224 13,384 4,640", 2560),
}
# fmt: on


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_the_released_one(name: str) -> None:
    assert released_rows(PRESETS[name]) == ROWS[name].split()


@pytest.mark.parametrize("name", SHAPES)
def test_stem_stages_head_and_number_of_blocks_are_the_released_ones(name: str) -> None:
    net = PRESETS[name]
    stages = " ".join(f"{s.depth},{s.width}" for s in net.stages)
    assert (len(list(net.blocks())), net.stem, stages, net.head) == SHAPES[name]


def test_scaling_changes_nothing_but_widths_and_depths() -> None:
    for net, _ in FAMILY:
        if "-b" in net.name:
            unscaled = PRESETS[net.name.split("-")[0] + "-b0"]
            assert [(s.op, s.expand, s.kernel, s.stride, s.se) for s in net.stages] == [
                (s.op, s.expand, s.kernel, s.stride, s.se) for s in unscaled.stages
            ]


def test_only_v1_keeps_within_ten_percent_of_a_width() -> None:
    # 16 × 1.2 = 19.2 rounds to 16, which loses more than ten percent.
    assert round_width(16 * 1.2, ten_percent_rule=True) == 24
    assert round_width(16 * 1.2, ten_percent_rule=False) == 16
    assert round_width(20, ten_percent_rule=True) == 24  # halves go up
    assert round_width(1, ten_percent_rule=False) == 8
    assert PRESETS["v1-b3"].stages[0].width == 24
    assert PRESETS["v2-b3"].stages[0].width == 16


def test_sizes_are_the_released_ones() -> None:
    assert SIZES.keys() == PRESETS.keys()
    v2 = [SIZES[f"v2-{name}"] for name in ("b0", "b1", "b2", "b3", "s", "m", "l", "xl")]
    assert v2 == [
        (192, 224), (192, 240), (208, 260), (240, 300),
        (300, 384), (384, 480), (384, 480), (384, 512),
    ]  # fmt: skip
    v1 = [224, 240, 260, 300, 380, 456, 528, 600]
    # V1 trains at four fifths of the evaluation size, down to a multiple of 16.
    assert [SIZES[f"v1-b{i}"] for i in range(8)] == [
        Sizes(int(0.8 * side) // 16 * 16, side) for side in v1
    ]


def test_a_preset_is_found_under_its_own_name() -> None:
    assert all(net.name == name for name, net in PRESETS.items())
    assert set(PRESETS) - {net.name for net, _ in FAMILY} == {"mini", "tiny"}


def test_squeezed_width_comes_from_the_input_of_the_block() -> None:
    blocks = [b for stage, b in V2_S.blocks() if stage == 3]
    assert [b.squeezed for b in blocks] == [64 // 4] + 5 * [128 // 4]
    assert all(b.squeezed == 0 for stage, b in V2_S.blocks() if stage < 3)


def test_only_the_first_block_of_a_stage_strides_and_widens() -> None:
    strides = [b.stride for _, b in V2_S.blocks()]
    assert [i for i, s in enumerate(strides) if s == 2] == [2, 6, 10, 25]
    assert [i for i, (_, b) in enumerate(V2_S.blocks()) if not b.skip] == [2, 6, 10, 16, 25]


STAGE = {"op": "mbconv", "expand": 4, "kernel": 3, "stride": 2, "width": 8, "depth": 1, "se": 0.25}
NETWORK = {"name": "n", "stem": 8, "stages": V2_S.stages, "head": 32}


@pytest.mark.parametrize(
    "change",
    [
        {"op": "conv"},
        {"expand": 0},
        {"kernel": 4},
        {"stride": 0},
        {"stride": 4},
        {"width": 0},
        {"depth": 0},
        {"se": -0.1},
        {"se": 1.5},
        {"se": float("nan")},
    ],
    ids=str,
)
def test_a_stage_that_cannot_be_built_is_refused(change: Mapping[str, object]) -> None:
    refused(Stage, STAGE, change)


@pytest.mark.parametrize(
    "change",
    [
        {"stem": 0},
        {"head": 0},
        {"stages": ()},
        {"padding": "valid"},
        {"norm_eps": 0.0},
        {"norm_eps": float("nan")},
    ],
    ids=str,
)
def test_a_network_that_cannot_be_built_is_refused(change: Mapping[str, object]) -> None:
    refused(Network, NETWORK, change)


def refused(
    kind: type[Stage] | type[Network],
    good: Mapping[str, object],
    change: Mapping[str, object],
) -> None:
    """Assert that `change` turns good fields into an error of one line that names the field."""
    kind(**good)  # type: ignore[arg-type]  # wrong values are the point
    (field,) = change
    with pytest.raises(InputError, match=field) as caught:
        kind(**{**good, **change})  # type: ignore[arg-type]  # wrong values are the point
    assert "\n" not in str(caught.value)


def released_rows(net: Network) -> list[str]:
    """Write the stages as the released configuration does."""
    rows, c_in = [], net.stem
    for s in net.stages:
        row = f"r{s.depth}_k{s.kernel}_s{s.stride}_e{s.expand}_i{c_in}_o{s.width}"
        rows.append(row + ("_c1" if s.op == "fused" else "") + (f"_se{s.se}" if s.se else ""))
        c_in = s.width
    return rows
