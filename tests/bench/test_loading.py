"""`bench loader`: the same pictures, cut from the same places, whoever loads them."""

from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from effnetv2.arch.presets import TINY
from effnetv2.bench import figures, loading, summary
from effnetv2.bench.loading import Decoder, LoaderHow, SameCrops, compare_loaders, turns
from effnetv2.bench.photographs import photographs
from effnetv2.bench.settings import SETTINGS
from effnetv2.data.augment import Augmentation
from effnetv2.data.decode import read
from effnetv2.data.samples import Arrays, Samples
from effnetv2.data.source import open_data
from effnetv2.errors import InputError

HOW = LoaderHow(side=32, batch=4, workers=0, rounds=1, batches=1,
                augmentation=Augmentation(flip="none"))  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sklearn")
    return photographs(tmp_path_factory.mktemp("photographs"), (160, 120), 8, lambda _: None)


def test_photographs_are_as_many_and_as_large_as_asked_for(folder: Path) -> None:
    files = sorted(folder.rglob("*.jpg"))
    assert len(files) == 8
    assert {f.parent.name for f in files} == {"china", "flower"}
    assert {read(f).size for f in files} == {(160, 120)}


def test_photographs_take_the_bits_of_photographs(folder: Path) -> None:
    bits = [8 * f.stat().st_size / (160 * 120) for f in folder.rglob("*.jpg")]
    assert 1.5 < np.mean(bits) < 6


@pytest.mark.parametrize("decoder", ["PIL", "tensors"])
def test_the_peer_crops_where_ours_does(folder: Path, decoder: Decoder) -> None:
    samples = open_data(str(folder), val=0, test=0).train
    ours, labels = next(islice(loading._ours(samples, HOW, range(HOW.batch)), 1))  # type: ignore[misc]
    theirs = SameCrops(samples, HOW.augmentation, HOW.side, decoder)
    for position in range(HOW.batch):
        image, label = theirs[position]
        assert label == labels[position]
        assert image.dtype == torch.uint8
        assert image.shape == (3, 32, 32)
        apart = (image.float() - ours[position].float()).abs().mean()
        elsewhere = (image.float() - ours[position - 1].float()).abs().mean()
        assert apart < 12 < elsewhere


def test_other_data_than_files_is_bad_input() -> None:
    array = Arrays("grey", np.zeros((4, 8, 8), np.uint8))
    samples = Samples.of(array, [0, 1, 0, 1], ["a", "b"])
    with pytest.raises(InputError, match="folder"):
        SameCrops(samples, HOW.augmentation, 8, "PIL")


def test_no_batches_are_bad_input(folder: Path) -> None:
    how = LoaderHow(side=32, batch=0, augmentation=HOW.augmentation)
    with pytest.raises(InputError, match="at least 1"):
        compare_loaders(folder, how, lambda _: None)


def test_a_case_tells_all_loaders_and_what_a_step_consumes(folder: Path) -> None:
    told: list[str] = []
    case = compare_loaders(folder, HOW, told.append, step=TINY, setting=SETTINGS[1],
                           device=torch.device("cpu"))  # fmt: skip
    assert len(told) == turns(HOW, step=True)
    assert [row.name for row in case.rows] == [loading.OURS, loading.LATER, *loading.PEERS]
    best = next(row for row in case.rows if row.name == case.best_peer)
    assert best.speed_ratio.median == 1
    assert case.picture_size == (160, 120)
    assert case.supply is not None and case.step_images_per_second is not None
    ours = case.rows[0].images_per_second.median
    assert case.supply.median == pytest.approx(ours / case.step_images_per_second.median)
    lines = summary.of_loading(case).lines()
    assert len(lines) == 2 + 5 + 1
    assert "times what the step consumes" in lines[-1]
    short = "short of the 1.5 that keep it fed" in lines[-1]
    assert short == (case.supply.median < summary.ENOUGH)
    picture = figures.of_loading([case])
    ElementTree.fromstring(picture)
    assert all(row.name in picture for row in case.rows)


@pytest.mark.slow
def test_workers_deliver_the_same_kind_of_case(folder: Path) -> None:
    how = LoaderHow(side=32, batch=2, workers=1, rounds=1, batches=2,
                    augmentation=HOW.augmentation)  # fmt: skip
    case = compare_loaders(folder, how, lambda _: None)
    assert all(row.images_per_second.median > 0 for row in case.rows)
    assert case.supply is None


def test_without_scikit_learn_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("effnetv2.bench.photographs.find_spec", lambda name: None)
    with pytest.raises(InputError, match="--data"):
        photographs(tmp_path, (8, 8), 1, lambda _: None)
