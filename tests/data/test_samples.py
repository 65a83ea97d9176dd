"""Samples are indices into shared pictures, known by name."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnetv2.data.samples import Arrays, Data, Files, Samples, Wrapped
from effnetv2.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 0, 1, 1, 1, 2]


def samples(classes: tuple[str, ...] = ("ant", "bee", "cat")) -> Samples:
    return Samples.of(Arrays("six", IMAGES), LABELS, classes)


def files(root: Path, names: tuple[str, ...]) -> Files:
    for name, image in zip(names, IMAGES, strict=False):
        Image.fromarray(image).save(root / name, "PNG")
    return Files(root, names)


def test_arrays_grey_or_colour_open_as_rgb() -> None:
    assert np.array_equal(np.asarray(Arrays("six", IMAGES).picture(3).decode()), IMAGES[3])
    assert np.asarray(Arrays("six", IMAGES[..., 0]).picture(3).decode()).shape == (5, 4, 3)
    assert Arrays("six", IMAGES).name(3) == "six/00003"


@pytest.mark.parametrize("array", [IMAGES / 255, IMAGES[0, 0], IMAGES.transpose(0, 3, 1, 2)])
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"six: .*give uint8"):
        Arrays("six", array)


def test_files_open_by_relative_path_and_have_printable_names(tmp_path: Path) -> None:
    names = ("a.png", "b c.png", "Größe 猫.png", "new\nline.png", os.fsdecode(b"\xff.png"))
    pictures = files(tmp_path, names)
    shown = [pictures.name(i) for i in range(len(pictures))]
    assert shown == ["a.png", "b c.png", "Größe 猫.png", r"new\nline.png", r"\udcff.png"]
    for i in range(len(pictures)):
        assert np.array_equal(np.asarray(pictures.picture(i).decode()), IMAGES[i])
    "\n".join(shown).encode()


def test_a_wrapped_data_set_opens_its_first_item() -> None:
    dataset = [(Image.fromarray(image), label) for image, label in zip(IMAGES, LABELS, strict=True)]
    wrapped = Wrapped("w", dataset)
    assert len(wrapped) == 6
    assert wrapped.name(2) == "w/00002"
    assert np.array_equal(np.asarray(wrapped.picture(2).decode()), IMAGES[2])


def test_a_subset_shares_the_pictures() -> None:
    whole = samples()
    part = whole.subset([5, 2]).subset([1, 0])
    assert part.pictures is whole.pictures
    assert [part.name(i) for i in range(2)] == ["six/00002", "six/00005"]
    assert part.labels.tolist() == [1, 2]
    assert part.counts().tolist() == [0, 1, 1]
    assert np.array_equal(np.asarray(part.open(1)), IMAGES[5])


def test_labels_outside_the_classes_are_refused() -> None:
    for labels in ([0, 1, 2, 3, 0, 0], [-1, 0, 0, 0, 0, 0]):
        with pytest.raises(InputError, match="3 classes count from 0"):
            Samples.of(Arrays("six", IMAGES), labels, ("a", "b", "c"))
    with pytest.raises(InputError, match="5 labels for 6 pictures"):
        Samples.of(Arrays("six", IMAGES), [0] * 5, ("a", "b", "c"))


def test_aligned_relabels_by_name() -> None:
    found, unknown = samples().aligned(("cat", "dog", "ant"))
    assert unknown == ("bee",)
    assert found.classes == ("cat", "dog", "ant")
    assert found.labels.tolist() == [2, 2, 0]
    assert list(found.names()) == ["six/00000", "six/00001", "six/00005"]


def test_aligned_to_the_same_classes_changes_nothing() -> None:
    found, unknown = samples().aligned(("ant", "bee", "cat"))
    assert (unknown, found.digest()) == ((), samples().digest())


def test_aligned_with_nothing_left_is_an_error() -> None:
    with pytest.raises(InputError, match=r"here are 'ant', 'bee', 'cat'; known are 'x'"):
        samples().aligned(("x",))


def test_the_digest_sees_names_labels_classes_and_file_sizes(tmp_path: Path) -> None:
    pictures = files(tmp_path, ("a.png", "b.png"))
    one = Samples.of(pictures, [0, 1], ("x", "y")).digest()
    assert one == Samples.of(pictures, [0, 1], ("x", "y")).digest()
    others = {
        Samples.of(pictures, [1, 0], ("x", "y")).digest(),
        Samples.of(pictures, [0, 1], ("x", "z")).digest(),
        Samples.of(Files(tmp_path, ("b.png", "a.png")), [0, 1], ("x", "y")).digest(),
        Samples.of(pictures, [0, 1], ("x", "y")).subset([0]).digest(),
    }
    Image.new("RGB", (50, 50)).save(tmp_path / "b.png")
    others.add(Samples.of(pictures, [0, 1], ("x", "y")).digest())
    (tmp_path / "b.png").unlink()
    others.add(Samples.of(pictures, [0, 1], ("x", "y")).digest())
    assert len(others | {one}) == 7


def test_the_digest_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    found = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        pictures = files(tmp_path / place, ("a.png", "b.png"))
        found.add(Samples.of(pictures, [0, 1], ("x", "y")).digest())
    assert len(found) == 1


def test_files_pickle_cheaply(tmp_path: Path) -> None:
    paths = tuple(f"class{i % 10}/{i:06d}.jpg" for i in range(10_000))
    whole = Samples.of(Files(tmp_path, paths), np.arange(10_000) % 2, ("a", "b"))
    crossed = pickle.dumps(whole)
    assert len(crossed) < 60 * 10_000
    assert pickle.loads(crossed).digest() == whole.digest()


def test_data_lists_the_parts_that_there_are() -> None:
    assert list(Data("d", samples()).parts) == ["train"]
    assert list(Data("d", samples(), test=samples()).parts) == ["train", "test"]


def test_data_that_no_classifier_can_be_trained_on_is_refused() -> None:
    whole = samples()
    one = Samples.of(Arrays("six", IMAGES), [0] * 6, ("only",))
    for data, complaint in [
        (Data("d", one), r"d: 1 class \('only'\)"),
        (Data("d", whole.subset([0, 2])), "d: no training picture of 'cat'"),
        (Data("d", whole, val=whole.subset([])), "the val part is empty"),
        (Data("d", whole, test=samples(("ant", "bee", "dog"))), "different classes"),
        (Data("d", samples(("ant", "ant", "cat"))), "two classes have one name"),
    ]:
        with pytest.raises(InputError, match=complaint):
            data.usable()
    assert Data("d", whole, val=whole.subset([0])).usable().train is whole
