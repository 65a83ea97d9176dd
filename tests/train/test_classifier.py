"""A saved classifier answers alike wherever it is loaded, and says what it cannot read."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import nn

from effnetv2.arch.presets import TINY
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.train.classifier import CARD, WEIGHTS, Card, Classifier
from effnetv2.train.machine import Machine

CPU = Machine(torch.device("cpu"), torch.float32)
CLASSES = ("猫 cat", "hot dog", "Bär")
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 40, 48, 3), dtype=np.uint8)
ELSEWHERE = """
import json, sys, torch
from effnetv2.train.classifier import Classifier
from effnetv2.train.machine import Machine

torch.set_num_threads(int(sys.argv[1]))
classifier = Classifier.load(sys.argv[2], Machine(torch.device("cpu"), torch.float32))
print(json.dumps([p.data() for p in classifier.stream(sys.argv[3:])]))
"""


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    model = EfficientNet(TINY, len(CLASSES)).to(memory_format=torch.channels_last)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 2.0)
    nn.init.normal_(model.classifier.weight, std=0.5)
    how = Preprocessing(resolution=32, crop="squash", interpolation="bicubic", mean=(0.4, 0.5, 0.6))
    return Classifier(Card(network=TINY, classes=CLASSES, preprocessing=how), model, CPU)


@pytest.fixture(scope="module")
def run(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's folder with the classifier in it, and nothing else."""
    folder = tmp_path_factory.mktemp("runs") / "meine Läufe"
    classifier.save(folder / "model")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return good pictures with broken ones between them."""
    folder = tmp_path_factory.mktemp("pictures")
    names = ["a.png", "cut.png", "none.png", "猫.png", "b.jpg", "empty.png", "text.jpg", "c.png"]
    for name, pixels in zip(names, PIXELS, strict=False):
        if name != "none.png":
            Image.fromarray(pixels).save(folder / name)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:1500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    return [folder / name for name in names]


def test_a_fresh_process_gives_the_very_same_probabilities(
    classifier: Classifier, run: Path, files: list[Path]
) -> None:
    command = [sys.executable, "-c", ELSEWHERE, str(torch.get_num_threads()), run, *files]
    found = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert json.loads(found.stdout) == [p.data() for p in classifier.stream(files)]
    assert found.stderr == ""


def test_labels_and_preprocessing_travel(classifier: Classifier, run: Path) -> None:
    for folder in (run, run / "model", str(run)):
        found = Classifier.load(folder, CPU)
        assert found.card == classifier.card
        assert found.classes == CLASSES
        assert not found.model.training
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value)
    assert {p.name for p in (run / "model").iterdir()} == {CARD, WEIGHTS}


def without_card(model: Path) -> None:
    (model / CARD).unlink()


def without_weights(model: Path) -> None:
    (model / WEIGHTS).unlink()


def cut_weights(model: Path) -> None:
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes()[:-1000])


def no_weights(model: Path) -> None:
    (model / WEIGHTS).write_bytes(b"not safetensors")


def another_head(model: Path) -> None:
    card = json.loads((model / CARD).read_text())
    (model / CARD).write_text(json.dumps(card | {"classes": ["one", "two"]}))


def another_network(model: Path) -> None:
    card = json.loads((model / CARD).read_text())
    card["network"]["stages"].pop()
    (model / CARD).write_text(json.dumps(card))


def torn_card(model: Path) -> None:
    (model / CARD).write_text((model / CARD).read_text()[:100])


def newer_card(model: Path) -> None:
    card = json.loads((model / CARD).read_text())
    (model / CARD).write_text(json.dumps(card | {"quantised": True}))


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (without_card, "holds no trained model"),
        (without_weights, WEIGHTS),
        (cut_weights, WEIGHTS),
        (no_weights, WEIGHTS),
        (another_head, "classifier.weight"),
        (another_network, WEIGHTS),
        (torn_card, f"{CARD}: not JSON"),
        (newer_card, "no field 'quantised'"),
    ],
)
def test_a_harmed_model_is_refused_in_one_line(
    classifier: Classifier, tmp_path: Path, harm: Callable[[Path], None], complaint: str
) -> None:
    classifier.save(tmp_path)
    harm(tmp_path)
    with pytest.raises(InputError) as caught:
        Classifier.load(tmp_path, CPU)
    assert complaint in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "a file"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(InputError, match="holds no trained model"):
        Classifier.load(tmp_path / name, CPU)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_broken_pictures_are_told_in_their_place(
    classifier: Classifier, files: list[Path], batch_size: int
) -> None:
    found = list(classifier.stream(map(str, files), batch_size=batch_size))
    assert [p.path for p in found] == list(map(str, files))
    assert [p.error for p in found] == [
        "", "truncated", "missing", "", "", "empty file", "not an image", ""
    ]  # fmt: skip
    for p in found:
        if p.error:
            assert p.top == ()
            assert p.data() == {"path": p.path, "top": [], "error": p.error}
            continue
        alone = classifier.predict(p.path)
        assert [g.label for g in p.top] == [g.label for g in alone.top]
        assert [g.probability for g in p.top] == pytest.approx(
            [g.probability for g in alone.top], abs=1e-5
        )


def test_a_broken_picture_alone_is_an_error(classifier: Classifier, files: list[Path]) -> None:
    with pytest.raises(InputError, match=r"cut\.png: truncated$"):
        classifier.predict(files[1])


def test_an_opened_image_that_turns_out_cut_is_told_too(
    classifier: Classifier, files: list[Path]
) -> None:
    with Image.open(files[1]) as cut:
        (found,) = classifier.stream([cut])
    assert found.path == "48 x 40 px"
    assert "truncated" in found.error


def test_labels_come_likeliest_first_and_sum_to_one(classifier: Classifier) -> None:
    image = Image.fromarray(PIXELS[0])
    found = classifier.predict(image, top=9)
    odds = [g.probability for g in found.top]
    assert {g.label for g in found.top} == set(CLASSES)
    assert odds == sorted(odds, reverse=True)
    assert sum(odds) == pytest.approx(1)
    assert found.label == found.top[0].label
    assert classifier.predict(image, top=1).top == found.top[:1]
    assert found.data() == {
        "path": "48 x 40 px",
        "top": [{"label": g.label, "probability": g.probability} for g in found.top],
    }


def upright(folder: Path) -> tuple[Image.Image, Path]:
    """Return a picture and a file of it that lies on its side, and says so."""
    image = Image.fromarray(PIXELS[0])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "phone.png", exif=exif)
    return image, folder / "phone.png"


def grey(folder: Path) -> tuple[Image.Image, Path]:
    image = Image.fromarray(PIXELS[0, ..., 0])
    image.save(folder / "grey.png")
    return image.convert("RGB"), folder / "grey.png"


def inked(folder: Path) -> tuple[Image.Image, Path]:
    image = Image.fromarray(PIXELS[0]).convert("CMYK")
    image.save(folder / "print.tif")
    return image.convert("RGB"), folder / "print.tif"


@pytest.mark.parametrize("kind", [upright, grey, inked])
def test_every_kind_of_picture_is_seen_as_a_person_sees_it(
    classifier: Classifier,
    tmp_path: Path,
    kind: Callable[[Path], tuple[Image.Image, Path]],
) -> None:
    image, file = kind(tmp_path)
    expected = classifier.predict(image)
    assert classifier.predict(file).top == expected.top
    with Image.open(file) as opened:
        assert classifier.predict(opened).top == expected.top


def test_one_batch_at_a_time_is_in_memory(classifier: Classifier) -> None:
    taken = []

    def pictures() -> Iterator[Image.Image]:
        for i, pixels in enumerate(PIXELS[:10]):
            taken.append(i)
            yield Image.fromarray(pixels)

    answers = classifier.stream(pictures(), batch_size=4)
    assert taken == []
    next(answers)
    assert len(taken) == 4
    assert len(list(islice(answers, 3))) == 3
    assert len(taken) == 4
    next(answers)
    assert len(taken) == 8
    assert len(list(answers)) == 5
    assert list(classifier.stream([])) == []
