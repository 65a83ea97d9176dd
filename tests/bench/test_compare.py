"""`bench step` and `bench infer`: one case from its contenders to its table and picture."""

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import PRESETS, TINY
from effnetv2.bench import ceiling, figures, summary
from effnetv2.bench.compare import Case, How, compare, turns
from effnetv2.bench.settings import SETTINGS
from effnetv2.config import from_data, to_data
from effnetv2.errors import InputError

HOW = How(device=torch.device("cpu"), settings=SETTINGS[:2], rounds=2, warmup=1, memory=False)


@pytest.fixture(scope="module", autouse=True)
def small_matrices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ceiling.SIDE, "cpu", 64)
        yield


@pytest.fixture(scope="module")
def alone() -> Case:
    return compare("step", TINY, 33, 1, HOW, lambda _: None)


@pytest.fixture(scope="module")
def beside() -> Case:
    pytest.importorskip("timm")
    how = How(device=HOW.device, settings=SETTINGS[:1], rounds=2, warmup=1, memory=False)
    return compare("infer", PRESETS["v2-b0"], 32, 1, how, lambda _: None)


def test_a_network_without_peers_is_timed_alone(alone: Case) -> None:
    assert [row.library for row in alone.rows] == ["effnetv2", "effnetv2"]
    assert alone.best_peer is None
    assert all(row.speed_ratio is None for row in alone.rows)
    assert len(alone.left_out) == 1
    assert alone.best in {row.name for row in alone.rows}


def test_the_share_of_the_ceiling_is_that_of_its_multiply_adds(alone: Case) -> None:
    gflop = 3 * 2 * cost(TINY, resolution=33).macs / 1e9
    assert alone.gflops_per_image == pytest.approx(gflop)
    for row in alone.rows:
        share = gflop / row.seconds.median / alone.ceilings["fp32"].median
        assert row.ceiling_share == pytest.approx(share)


def test_ratios_are_to_the_best_peer(beside: Case) -> None:
    ours, peer = beside.rows
    assert (ours.library, peer.library) == ("effnetv2", "timm")
    assert beside.best_peer == peer.name
    assert peer.speed_ratio is not None and peer.speed_ratio.median == 1
    assert ours.speed_ratio is not None and ours.speed_ratio.median > 0
    macs = cost(PRESETS["v2-b0"], resolution=32).macs
    assert beside.gflops_per_image == pytest.approx(2 * macs / 1e9)


def test_a_case_is_read_again_from_its_json(beside: Case) -> None:
    assert from_data(Case, to_data(beside), "case") == beside


def test_every_turn_is_told() -> None:
    told: list[str] = []
    compare("step", TINY, 33, 1, HOW, told.append)
    assert len(told) == turns(2, HOW)
    assert all("33 px, batch 1" in line for line in told)


def test_a_table_tells_every_contender(beside: Case) -> None:
    table = summary.of_case(beside)
    lines = table.lines()
    assert "v2-b0, 32 px, batch 1" in lines[0]
    assert {row[0] for row in table.rows} == {"effnetv2", "timm"}
    assert lines[-2].startswith("ours (fp32) is ")
    assert lines[-1].startswith("ceiling")


def test_what_is_left_out_is_told(alone: Case) -> None:
    assert summary.of_case(alone).lines()[-1].startswith("left out: peers of tiny")


def test_a_picture_is_svg_with_every_name(alone: Case, beside: Case) -> None:
    for cases in ([alone], [beside, beside]):
        text = figures.of_cases(cases)
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text
        for row in cases[0].rows:
            assert row.name in text


@pytest.mark.parametrize(
    ("side", "batch", "complaint"), [(0, 1, "side 0"), (32, 0, "batch 0"), (32, 1, "one picture")]
)
def test_sizes_that_cannot_be_are_bad_input(side: int, batch: int, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        compare("step", TINY, side, batch, HOW, lambda _: None)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"warmup": 0}, {"drop_path": 1.0}])
def test_no_rounds_are_bad_input(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        How(device=HOW.device, settings=HOW.settings, **wrong)  # type: ignore[arg-type]


def test_what_does_not_compile_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no g++\nmore of it")

    def fail(model: nn.Module) -> None:
        model.register_forward_pre_hook(refuse)

    monkeypatch.setattr(nn.Module, "compile", fail)
    settings = (SETTINGS[0], SETTINGS[3])
    how = How(device=HOW.device, settings=settings, rounds=1, warmup=1, memory=False)
    case = compare("infer", TINY, 32, 1, how, lambda _: None)
    assert [row.setting for row in case.rows] == ["fp32"]
    assert case.left_out[-1].endswith("compiled: does not compile here (no g++)")
