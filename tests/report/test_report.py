import ast
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from effnetv2.errors import InputError
from effnetv2.report import wording
from effnetv2.report.page import confused, write
from effnetv2.report.reading import Evaluation, read

SECTIONS = {
    "training", "results", "classes", "calibration", "pictures", "data", "recipe", "command",
}  # fmt: skip
CURVES = {"figure-loss", "figure-accuracy", "figure-learning_rate", "figure-throughput"}
HOSTILE = '<script>alert("1")</script>'
NAMES = ["cat", HOSTILE, "$5 & $10", "猫"]
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a page holds: its text, ids, the targets it names, and whether its tags balance."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.text, self.style = "", ""
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.images: list[dict[str, str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.attributes += found.items()
        self.ids += [found["id"]] if "id" in found else []
        self.targets += [v for k, v in found.items() if k.split(":")[-1] in ("src", "href")]
        if tag in ("svg", "img"):
            self.images.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.text += data


def evaluation(split: str, names: list[str]) -> dict[str, Any]:
    size = len(names)
    rows = [[8 if i == j else 2 if j == (i + 1) % size else 0 for j in range(size)]
            for i in range(size)]  # fmt: skip
    examples = {
        kind: [{"file": f"evaluation/{split}/{kind}-0.png", "name": f"{names[0]}/1.png",
                "truth": names[0], "guess": guess, "probability": 0.987}]
        for kind, guess in (("best", names[0]), ("worst", names[1]))
    }  # fmt: skip
    return {
        "split": split, "resolution": 224, "images": 10 * size, "classes": names,
        "top1": 0.913 if split == "test" else 0.87, "top1_interval": [0.85, 0.95], "top5": 0.99,
        "macro_f1": 0.9, "ece": 0.031, "loss": 0.3, "batch_norm": "as trained",
        "per_class": [{"label": name, "images": 10, "precision": 0.9, "recall": 0.8,
                       "f1": 0.5 + i / 1000} for i, name in enumerate(reversed(names))],
        "confusion": rows,
        "reliability": [{"confidence": 0.93, "accuracy": 0.91, "images": 40},
                        {"confidence": math.nan, "accuracy": math.nan, "images": 0}],
        "examples": examples,
    }  # fmt: skip


def dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def started(run: Path, names: list[str] = NAMES, **changes: Any) -> Path:
    """Make what a run folder holds at its first step."""
    stage = {"op": "fused", "expand": 1, "kernel": 3, "stride": 1, "width": 16, "depth": 1, "se": 0}
    dump(run / "recipe.json", {
        "network": {"name": "v2-b0", "stem": 32, "stages": [stage, stage], "head": 1280},
        "epochs": 20.0, "progression": {"resolution": [128, 224], "ends": {"dropout": 0.3}},
    })  # fmt: skip
    phase = {"dropout": 0.1, "drop_path": 0.2, "randaugment": 5.0, "mixup": 0.0, "cutmix": 0.0}
    phases = [{"start": 100 * i, "stop": 100 * i + 100, "resolution": 128 + 32 * i,
               "batch_size": 32, **phase} for i in range(4)]  # fmt: skip
    dump(run / "record.json", {
        "effnetv2": "0.1.0", "command": "effnetv2 train 'my photos/' --to runs/photos",
        "started": "2026-11-22T15:00:00+00:00", "finished": None, "seconds": None, "seed": 7,
        "versions": {"python": "3.11.2", "torch": "2.9.0"},
        "hardware": {"device": "cpu", "processor": "A processor", "memory_gib": 23.5},
        "data": {"source": "my photos/", "classes": len(names), "train": 900, "val": 100,
                 "test": 100, "digest": "ab12", "class_counts": dict.fromkeys(names, 90)},
        "notes": ["3 broken files skipped"], "steps": 400, "images_per_epoch": 900,
        "network": {"params": 7139704, "macs": 718000000, "resolution": 224}, "phases": phases,
        **changes,
    })  # fmt: skip
    return run


def finished(run: Path, names: list[str] = NAMES) -> Path:
    """Make all that a run folder holds at its end."""
    started(run, names, finished="2026-11-22T15:08:32+00:00", seconds=512.3)
    log(run, [train_line(step) for step in range(50, 401, 50)])
    log(run, [val_line(step) for step in (200, 400)])
    for split in ("val", "test"):
        dump(run / "evaluation" / f"{split}.json", evaluation(split, names))
        (run / "evaluation" / split).mkdir()
        for kind in ("best", "worst"):
            Image.new("RGB", (8, 8)).save(run / "evaluation" / split / f"{kind}-0.png")
    return run


def train_line(step: int, loss: float = 1.0) -> dict[str, Any]:
    return {"kind": "train", "step": step, "epoch": 1.0, "phase": 0, "loss": loss,
            "learning_rate": 0.001, "grad_norm": 2.0, "images_per_second": 210.0}  # fmt: skip


def val_line(step: int) -> dict[str, Any]:
    return {"kind": "val", "step": step, "loss": 0.9, "top1": 0.81, "macro_f1": 0.8}


def log(run: Path, lines: list[dict[str, Any]], tail: str = "") -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines) + tail)


def test_a_finished_run_fills_every_section(tmp_path: Path) -> None:
    path = write(finished(tmp_path))
    page = Page(path)
    assert path == tmp_path / "report.html"
    assert set(page.ids) >= {*SECTIONS, *CURVES, "figure-schedule", "figure-confusion",
                             "figure-reliability"}  # fmt: skip
    for said in ("v2-b0", "91.3%", "85.0–95.0%", "0.900", "0.031", "8 min 32 s", "7.14 M", "210",
                 "test split: 40 images", "3 broken files skipped", "progression.ends.dropout",
                 "effnetv2 train 'my photos/' --to runs/photos", "2.9.0", "98.7%",
                 "224 px"):  # fmt: skip
        assert said in page.text, said
    assert "Not in this run folder" not in page.text
    assert page.tags.count("details") == 2


def test_the_page_requests_nothing(tmp_path: Path) -> None:
    page = Page(write(finished(tmp_path)))
    assert "script" not in page.tags
    assert {"iframe", "object", "embed", "base", "form"}.isdisjoint(page.tags)
    assert all(target.startswith(("#", "data:")) for target in page.targets), page.targets
    assert "url(" not in page.style and "@import" not in page.style
    assert "://" not in page.source
    for _, value in page.attributes:
        assert all(used.startswith("#") for used in re.findall(r"url\(([^)]*)", value))


def test_every_anchor_leads_to_one_element(tmp_path: Path) -> None:
    page = Page(write(finished(tmp_path)))
    assert len(page.ids) == len(set(page.ids))
    used = {value for key, value in page.attributes if key in ("clip-path", "href")}
    named = {name for value in used for name in re.findall(r"^#(.+)$|url\(#(.+)\)", value)}
    assert {a or b for a, b in named} <= set(page.ids)


def test_every_picture_says_what_it_shows(tmp_path: Path) -> None:
    images = Page(write(finished(tmp_path))).images
    assert len(images) == 9  # 7 figures, 2 photographs
    assert all(image.get("aria-label") or image.get("alt") for image in images)


def test_names_of_classes_are_text_and_never_markup(tmp_path: Path) -> None:
    names = [*NAMES, "#fa0001", 'font: x; id="y"', "undecodable \udcff"]
    page = Page(write(finished(tmp_path, names)))
    assert "script" not in page.tags
    for name in (*names[:-1], "undecodable ?"):
        assert name in page.text, name


def test_figures_take_their_colours_from_the_page(tmp_path: Path) -> None:
    page = Page(write(finished(tmp_path)))
    assert "prefers-color-scheme: dark" in page.style
    drawn = [value for key, value in page.attributes if key == "style"]
    used = {name for value in drawn for name in re.findall(r"var\((--[\w-]+)\)", value)}
    assert {"--ink", "--first", "--heat"} <= used
    assert all(f"{name}:" in page.style for name in used)
    assert not [value for value in drawn if re.search(r"#[0-9a-f]{6}|font-family", value)]


@pytest.mark.parametrize("lost", ["test.json", "val.json", "metrics.jsonl"])
def test_a_missing_file_is_named_and_the_rest_is_shown(tmp_path: Path, lost: str) -> None:
    run = finished(tmp_path)
    next(run.rglob(lost)).unlink()
    page = Page(write(run))
    assert set(page.ids) >= SECTIONS
    assert lost in page.text
    assert CURVES.isdisjoint(page.ids) == (lost == "metrics.jsonl")


def test_without_a_test_split_the_headline_is_the_validation_split(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (run / "evaluation" / "test.json").unlink()
    page = Page(write(run))
    assert "from the validation split (40 images)" in page.text
    assert "87.0%" in page.text and "91.3%" not in page.text


def test_a_run_that_was_just_started_has_a_page(tmp_path: Path) -> None:
    page = Page(write(started(tmp_path)))
    assert set(page.ids) >= SECTIONS
    assert "Nothing is evaluated yet" in page.text and "was cut off" in page.text
    assert "figure-schedule" in page.ids


def test_a_record_of_little_more_than_a_command_has_a_page(tmp_path: Path) -> None:
    dump(tmp_path / "recipe.json", {"network": "v2-b0"})
    dump(tmp_path / "record.json", {"command": "effnetv2 train photos/"})
    page = Page(write(tmp_path))
    assert set(page.ids) >= SECTIONS and "v2-b0" in page.text


def test_a_running_run_shows_its_last_validation(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [train_line(50), val_line(100)])
    assert "from the last validation, at step 100" in Page(write(run)).text


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [train_line(50), val_line(100)], tail='{"kind": "train", "st')
    found = read(run)
    assert [line.step for line in found.training] == [50]
    assert found.broken_lines == 0


def test_a_line_torn_before_a_resume_is_noted(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [train_line(50)], tail='{"kind": "train", "st\n')
    log(run, [train_line(100)])
    assert "could not be read: 1" in Page(write(run)).text


def test_steps_logged_again_after_a_resume_count_once(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [train_line(50), train_line(100, loss=1.5), train_line(100, loss=1.25)])
    assert [(line.step, line.loss) for line in read(run).training] == [(50, 1.0), (100, 1.25)]


def test_numbers_that_are_not_finite_never_reach_the_page(tmp_path: Path) -> None:
    run = finished(tmp_path)
    scores = evaluation("test", NAMES) | {"macro_f1": math.nan, "ece": math.inf}
    scores["per_class"][0]["f1"] = math.nan
    dump(run / "evaluation" / "test.json", scores)
    log(run, [train_line(450, loss=math.nan)])
    page = Page(write(run))
    assert not re.search(r"\b(nan|inf|infinity|none)\b", page.text, re.IGNORECASE)
    assert not [v for k, v in page.attributes if k in ("d", "x", "y") and "nan" in v]
    assert "not finite at 1 logged steps, first at 450" in page.text


def test_a_run_whose_losses_all_are_nan_has_a_page(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [{"kind": "train", "step": 50, "loss": math.nan}])
    assert "figure-loss" not in Page(write(run)).ids


def test_a_long_log_is_drawn_with_few_points(tmp_path: Path) -> None:
    run = started(tmp_path)
    log(run, [train_line(step) for step in range(20_000)])
    page = write(run)
    assert page.stat().st_size < 200_000
    assert "mean of several logged steps" in Page(page).text


def test_many_classes_get_a_list_of_confused_pairs_and_a_folded_table(tmp_path: Path) -> None:
    names = [f"class {i:03d}" for i in range(41)]
    page = Page(write(finished(tmp_path, names)))
    assert "Most confused pairs" in page.text and "All 41 classes" in page.text
    assert "image" in page.tags  # the heat map without numbers


def test_the_most_confused_pair_comes_first() -> None:
    scores = Evaluation("test", 12, ("a", "b", "c"), confusion=((3, 1, 0), (0, 2, 2), (0, 0, 4)))
    pairs = [(pair.truth, pair.guess, pair.images, pair.share) for pair in confused(scores)]
    assert pairs == [("b", "c", 2, 0.5), ("a", "b", 1, 0.25)]


def test_the_hardest_class_comes_first(tmp_path: Path) -> None:
    text = Page(write(finished(tmp_path))).text
    table = text[text.index("Classes, the hardest first") :]
    assert table.index("0.500") < table.index("0.501") < table.index("0.503")


def test_a_class_without_pictures_is_not_called_hard(tmp_path: Path) -> None:
    run = finished(tmp_path)
    scores = evaluation("test", NAMES)
    scores["per_class"][0] |= {"images": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0}
    dump(run / "evaluation" / "test.json", scores)
    text = Page(write(run)).text
    table = text[text.index("Classes, the hardest first") :]
    assert table.index("0.503") < table.index("猫") and "0.000" not in table


def test_a_picture_outside_of_the_run_folder_is_not_shown(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    scores = evaluation("test", NAMES)
    scores["examples"]["best"][0]["file"] = "../private.png"
    dump(run / "evaluation" / "test.json", scores)
    page = Page(write(run))
    assert page.tags.count("img") == 1 and "no thumbnail" in page.text


def test_equal_runs_write_equal_pages_and_leave_nothing_else(tmp_path: Path) -> None:
    run = finished(tmp_path)
    first = write(run).read_bytes()
    assert write(run).read_bytes() == first
    assert sorted(path.name for path in run.iterdir()) == [
        "evaluation", "metrics.jsonl", "recipe.json", "record.json", "report.html",
    ]  # fmt: skip


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run folder: it has no recipe\.json") as raised:
        write(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    run = finished(tmp_path)
    (run / "evaluation" / "test.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.json is not JSON"):
        write(run)
    dump(run / "evaluation" / "test.json", evaluation("test", NAMES) | {"confusion": [[1, 2]]})
    with pytest.raises(InputError, match="not 4 by 4"):
        write(run)
    dump(run / "record.json", {"command": "x", "steps": "many"})
    with pytest.raises(InputError, match=r"record\.json: steps: "):
        write(run)


def test_times_and_counts_read_as_a_person_says_them() -> None:
    spoken = [wording.duration(s) for s in (0.42, 59, 512.3, 3600, 200_000)]
    assert spoken == ["0.4 s", "59 s", "8 min 32 s", "1 h 0 min", "2 d 7 h"]
    assert [wording.short(n) for n in (999, 7139704, 8.4e9)] == ["999", "7.14 M", "8.4 G"]
    assert wording.count(7139704) == "7,139,704"
    assert wording.percent(None) == "–"


def test_the_room_knows_neither_torch_nor_the_trainer() -> None:
    room = Path(wording.__file__).parent
    for path in room.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"torch", "torchvision", "pandas"}, path
                assert "pyplot" not in name, path
                assert not name.startswith("effnetv2.") or name.split(".")[1] in {
                    "report", "errors",
                }, path  # fmt: skip
