"""Folders and CSVs as people really keep them become samples, and what is odd is noted."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnetv2.data.folder import csv, flat, folder
from effnetv2.data.source import open_data
from effnetv2.errors import InputError

RNG = np.random.default_rng(0)
IMAGENETTE = Path(__file__).parents[3] / "shared" / "data" / "imagenette-160"


def put(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8))
        image.save(file, "JPEG" if file.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    return root


def many(root: Path, *classes: str, n: int = 20) -> Path:
    return put(root, *(f"{c}/{i}.png" for c in classes for i in range(n)))


def test_class_folders_give_classes_in_natural_order(tmp_path: Path) -> None:
    put(tmp_path, "c10/a.png", "c2/10.png", "c2/9.png", "C1/a.jpg")
    parts, notes = folder(tmp_path)
    assert list(parts) == ["all"]
    assert parts["all"].classes == ("C1", "c2", "c10")
    assert list(parts["all"].names()) == ["C1/a.jpg", "c2/9.png", "c2/10.png", "c10/a.png"]
    assert parts["all"].labels.tolist() == [0, 1, 1, 2]
    assert notes == ()
    assert parts["all"].open(0).size == (4, 5)


def test_spaces_accents_and_capital_suffixes_are_fine(tmp_path: Path) -> None:
    put(tmp_path, "red fox/my photo.JPG", "Bär/a.Png", "猫/x.y.z.jpeg")
    assert folder(tmp_path)[0]["all"].counts().tolist() == [1, 1, 1]


def test_two_spellings_of_an_accent_are_one_class(tmp_path: Path) -> None:
    put(tmp_path, "train/Ba\u0308r/a.png", "train/b/a.png", "test/B\u00e4r/a.png", "test/b/a.png")
    parts, notes = folder(tmp_path)
    assert len(parts["test"]) == 2
    assert notes == ()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "val", "test"), ["train", "val", "test"]),
        (("Training", "validation", "testing"), ["train", "val", "test"]),
        (("train", "valid"), ["train", "val"]),
        (("train", "eval"), ["train", "val"]),
        (("train", "test"), ["train", "test"]),
    ],
)
def test_parts_have_the_names_people_use(
    tmp_path: Path, names: tuple[str, ...], parts: list[str]
) -> None:
    put(tmp_path, *(f"{part}/{c}/1.png" for part in names for c in "ab"))
    found, _ = folder(tmp_path)
    assert list(found) == parts
    assert list(found["train"].names()) == [f"{names[0]}/a/1.png", f"{names[0]}/b/1.png"]
    assert len({id(part.pictures) for part in found.values()}) == 1


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(InputError, match="val and valid are both val"):
        folder(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "bus/1.png")
    assert folder(tmp_path)[0]["all"].classes == ("bus", "train")


def test_parts_without_class_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "test/1.png")
    with pytest.raises(InputError, match="test and train hold no class folders"):
        folder(tmp_path)


def test_a_part_without_train_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "val/a/1.png", "test/a/1.png")
    with pytest.raises(InputError, match="has a val part but no train part"):
        folder(tmp_path)


def test_the_training_part_alone_decides_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/b/1.png", "train/c/1.png", "test/a/1.png", "test/a/2.png", "test/c/1.png")
    parts, notes = folder(tmp_path)
    assert parts["test"].classes == parts["train"].classes == ("b", "c")
    assert parts["test"].labels.tolist() == [1]
    assert notes == ("2 test pictures of classes not in train left out: a",)


def test_nested_files_count_for_their_class_folder(tmp_path: Path) -> None:
    put(tmp_path, "a/2024/may/1.png", "a/2.png", "b/1.png")
    assert folder(tmp_path)[0]["all"].counts().tolist() == [2, 1]


def test_links_are_followed_and_circles_left(tmp_path: Path) -> None:
    put(tmp_path, "store/1.png", "data/b/1.png", "data/a/1.png")
    root = tmp_path / "data"
    (root / "c").symlink_to(tmp_path / "store")
    (root / "a" / "more").symlink_to(tmp_path / "store")
    (root / "b" / "circle").symlink_to(root)
    (root / "b" / "2.png").symlink_to(tmp_path / "store" / "1.png")
    samples = folder(root)[0]["all"]
    names = ["a/1.png", "a/more/1.png", "b/1.png", "b/2.png", "c/1.png"]
    assert list(samples.names()) == names


def test_hidden_and_other_files_are_left_out_and_the_others_noted(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "a/._1.png", ".cache/1.png", "b/.trash/1.png", "loose.png")
    for name in ("a/Thumbs.db", "a/1.HEIC", "b/2.heic"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    parts, notes = folder(tmp_path)
    assert list(parts["all"].names()) == ["a/1.png", "b/1.png"]
    assert notes == (
        "empty class folder ignored: empty",
        f"1 pictures outside any class folder ignored in {tmp_path}",
        f"3 files that are no pictures ignored in {tmp_path}: 2 .heic, 1 .db",
    )


def test_folders_beside_parts_are_noted(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "raw/1.png")
    assert folder(tmp_path)[1] == ("folders that are no part are ignored: raw",)


def test_a_folder_without_class_folders_says_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    with pytest.raises(InputError, match="2 pictures but no class folders with pictures; put each"):
        folder(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        folder(tmp_path / "gone")


def test_a_csv_lists_paths_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "x/1.png", "x/2.png", "ü ü.png")
    (tmp_path / "l.csv").write_text("id,Path,Label\n1,x/1.png,b\n2, ü ü.png ,a\n3,x/2.png,b\n")
    parts, notes = csv(tmp_path / "l.csv")
    samples = parts["all"]
    assert notes == ()
    assert samples.classes == ("a", "b")
    assert list(samples.names()) == ["x/1.png", "ü ü.png", "x/2.png"]
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.open(1).size == (4, 5)


def test_a_spreadsheets_csv_with_parts_is_read(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png", "3.png")
    text = 'filename;class;split\n1.png;"a;b";Train\n2.png;c;training\n3.png;"a;b";valid\n'
    (tmp_path / "l.csv").write_text(text, encoding="utf-8-sig")
    parts, _ = csv(tmp_path / "l.csv")
    assert {part: len(samples) for part, samples in parts.items()} == {"train": 2, "val": 1}
    assert parts["val"].classes == ("a;b", "c")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,label\n1.png,a\n2.png,a\n9.png,b\n8.png,b\n", r"line 4: no file '9.png' \(and 1 mo"),
        ("path,label\n1.png,\n", "line 2: path or label is empty"),
        ("path,label\n1.png,a\n\n1.png,b\n", "line 4: '1.png' stands on line 2 already"),
        (
            "path,label,split\n1.png,a,holdout\n",
            "line 2: split 'holdout' is not train, val or test",
        ),
        ("name,label\n1.png,a\n", "line 1: the header 'name,label' needs one column path"),
        ("path,label,image\n1.png,a,b\n", "line 1: .* needs one column"),
        ("path,label\n", "no rows below the header"),
        ("", "line 1: the header ''"),
    ],
)
def test_a_csv_that_cannot_be_used_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    put(tmp_path, "1.png", "2.png")
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        csv(tmp_path / "l.csv")


def test_a_csv_that_is_missing_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        csv(tmp_path / "gone.csv")
    (tmp_path / "l.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        csv(tmp_path / "l.csv")


def test_an_evaluation_folder_keeps_its_own_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "val/c/1.png", "val/d/1.png")
    assert flat(tmp_path)[0].classes == ("c", "d")
    put(tmp_path, "test/e/1.png")
    assert list(flat(tmp_path)[0].names()) == ["test/e/1.png"]
    assert flat(tmp_path / "train")[0].classes == ("a", "b")


def test_a_folder_to_evaluate_on_needs_more_than_train(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png")
    with pytest.raises(InputError, match="to evaluate on train, give"):
        flat(tmp_path)


def test_an_undivided_folder_is_split_three_ways(tmp_path: Path) -> None:
    data = open_data(str(many(tmp_path / "my set", "a", "b")), val=0.1, test=0.25)
    assert data.name == "my set"
    assert {part: s.counts().tolist() for part, s in data.parts.items()} == {
        "train": [13, 13], "val": [2, 2], "test": [5, 5],
    }  # fmt: skip
    names = [name for part in data.parts.values() for name in part.names()]
    assert len(set(names)) == len(names) == 40


def test_val_is_drawn_from_train_where_it_is_missing(tmp_path: Path) -> None:
    many(tmp_path / "train", "a", "b")
    many(tmp_path / "test", "a", "b", n=3)
    data = open_data(str(tmp_path))
    assert [len(part) for part in data.parts.values()] == [36, 4, 6]
    assert list(open_data(str(tmp_path), val=0).parts) == ["train", "test"]


def test_parts_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    many(tmp_path / "train", "a", "b")
    many(tmp_path / "val", "a", "b", n=3)
    data = open_data(str(tmp_path))
    assert {part: len(s) for part, s in data.parts.items()} == {"train": 40, "val": 6}


def test_too_few_pictures_to_split_are_noted(tmp_path: Path) -> None:
    data = open_data(str(many(tmp_path, "a", "b", n=2)))
    assert list(data.parts) == ["train"]
    assert data.notes == (
        "too few pictures (4) to draw a test part", "too few pictures (4) to draw a val part",
    )  # fmt: skip


def test_a_csv_is_a_source(tmp_path: Path) -> None:
    many(tmp_path, "a", "b", n=10)
    rows = [f"{c}/{i}.png,{c}" for c in "ab" for i in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    data = open_data(str(tmp_path / "labels.csv"))
    assert (data.name, [len(p) for p in data.parts.values()]) == ("labels", [16, 2, 2])


def test_a_function_of_the_users_is_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_pictures.py").write_text(
        "import numpy as np\n"
        "from effnetv2.data.samples import Arrays, Data, Samples\n"
        "def mine():\n"
        "    images = np.zeros((20, 4, 4), np.uint8)\n"
        "    samples = Samples.of(Arrays('mine', images), np.arange(20) % 2, ('a', 'b'))\n"
        "    return Data('mine', samples, augmentation='glyph', notes=('hello',))\n"
        "def other():\n"
        "    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    data = open_data("my_pictures:mine")
    assert (data.name, data.augmentation, data.notes) == ("mine", "glyph", ("hello",))
    assert [len(part) for part in data.parts.values()] == [18, 2]
    for source, complaint in {
        "my_pictures:other": "returned a int",
        "my_pictures:gone": "no attribute 'gone'",
        "no_such_module:f": "No module named 'no_such_module'",
    }.items():
        with pytest.raises(InputError, match=complaint):
            open_data(source)


def test_an_unknown_source_gets_a_guess(tmp_path: Path) -> None:
    many(tmp_path / "flowers", "a", "b")
    (tmp_path / "flowers.zip").touch()
    for source, complaint in {
        "elvp": "no folder, CSV or named set 'elvp'; did you mean 'elpv'?",
        str(tmp_path / "flowrs"): f"did you mean '{tmp_path}/flowers'?",
        "qqqqqqq": "named are elpv, mnist5k",
        str(tmp_path / "flowers.zip"): "is a file but no CSV; give a folder of pictures, unpacked",
    }.items():
        with pytest.raises(InputError) as error:
            open_data(source)
        assert complaint in str(error.value)


def test_one_class_is_not_enough_and_a_folder_too_high_is_guessed(tmp_path: Path) -> None:
    many(tmp_path / "pictures", "a", "b", n=3)
    with pytest.raises(InputError, match=r"one class only, 'pictures'; did you mean .*/pictures\?"):
        open_data(str(tmp_path))
    with pytest.raises(InputError, match=r"1 class \('a'\); give 2 or more"):
        open_data(str(many(tmp_path / "lone", "a")))


def test_a_folder_comes_before_a_named_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path / "digits", "a", "b")
    monkeypatch.chdir(tmp_path)
    data = open_data("digits")
    assert data.train.classes == ("a", "b")
    assert data.notes == ("digits is the folder of this name, not the named set",)


@pytest.mark.parametrize("shares", [{"val": -0.1}, {"val": 0.5, "test": 0.5}, {"seed": -1}])
def test_shares_and_seeds_out_of_range_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be shares from 0"):
        open_data("digits", **shares)  # type: ignore[arg-type]


@pytest.mark.skipif(not IMAGENETTE.is_dir(), reason="needs ../shared/data/imagenette-160")
def test_imagenette_is_ten_classes_with_train_and_val() -> None:
    data = open_data(str(IMAGENETTE))
    assert list(data.parts) == ["train", "val"]
    assert len(data.train.classes) == 10
    assert data.notes == ()
    assert min(data.train.open(0, 64).size) >= 64
