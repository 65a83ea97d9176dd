"""The command line, end to end: pictures in, answers out, and one line for what cannot be used."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from effnetv2 import api
from effnetv2.arch.cost import cost
from effnetv2.arch.presets import FAMILY, TINY, V2_S
from effnetv2.arch.spec import Network
from effnetv2.cli.main import VERBS, main
from effnetv2.config import from_json, to_json
from effnetv2.data.samples import Data
from effnetv2.train.budget import Budget
from effnetv2.train.costs import Costs, Pledge, SizeCost
from effnetv2.train.plan import Plan
from effnetv2.train.planner import choose
from effnetv2.train.recipe import Recipe

COLOURS = {"grüne Wiese": (40, 180, 60), "roter Ziegel": (190, 60, 50), "青空 2": (60, 90, 200)}
"""The classes, in their order, and about what their pictures look like."""

CUT = "roter Ziegel/ganz kaputt.png"
IMPORTED = """
import sys
from effnetv2.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print([m for m in ("torch", "torchvision", "numpy") if m in sys.modules], file=sys.stderr)
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


def effnetv2(*arguments: object) -> Said:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as e:
            code = int(e.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def picture(colour: tuple[int, int, int], seed: int, side: int = 40) -> Image.Image:
    """Return coloured noise."""
    noise = np.random.default_rng(seed).normal(colour, 30, (side, side, 3))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


class Place(NamedTuple):
    """What a module's tests share: pictures, a run trained on them, and what that said."""

    folder: Path
    photos: Path
    run: Path
    said: Said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("cli")
    photos, run = folder / "meine Fotos", folder / "runs" / "fotos"
    for name, colour in COLOURS.items():
        (photos / name).mkdir(parents=True)
        for i in range(12):
            suffix = ".jpg" if i % 2 else ".png"
            picture(colour, i).save(photos / name / f"Bild {i} ä{suffix}")
    picture((0, 0, 0), 0).save(photos / CUT)
    cut(photos / CUT)
    said = effnetv2(
        "train", photos, "--to", run, "--model", "tiny", "--epochs", "2", "--size", "32",
        "--device", "cpu", "--quiet",
    )  # fmt: skip
    return Place(folder, photos, run, said)


@pytest.fixture(scope="module")
def others(place: Place) -> Path:
    """Return labelled pictures of fewer classes in another order, a strange one, a broken one."""
    folder = place.folder / "others"
    for name in ("青空 2", "grüne Wiese", "Zebra"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            colour = COLOURS.get(name, (128, 128, 128))
            picture(colour, 100 + i, 30 + 20 * i).save(folder / name / f"{i}.png")
    cut(folder / "grüne Wiese" / "2.png")
    return folder


@pytest.mark.parametrize(
    "arguments", [[], *([verb] for verb in VERBS), ["bench", "family"]], ids=" ".join
)
def test_help_does_not_wait_for_torch(arguments: list[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments, "--help"], capture_output=True, text=True
    )
    assert found.returncode == 0
    assert found.stderr == "[]\n"
    assert found.stdout.startswith("usage: effnetv2")


def test_the_package_itself_does_not_wait_for_torch() -> None:
    code = "import sys, effnetv2; effnetv2.network('v2-s'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("False\n", "")


def test_help_names_every_verb() -> None:
    said = effnetv2("--help")
    assert (said.code, said.err) == (0, "")
    assert all(f"  {verb} " in said.out for verb in VERBS)


def test_models_tells_the_sixteen_networks_as_json() -> None:
    said = effnetv2("models", "--json")
    rows = json.loads(said.out)
    assert [row["name"] for row in rows] == [net.name for net, _ in FAMILY]
    assert len({row["name"] for row in rows}) == 16
    for row in rows:
        assert list(row) == ["name", "params", "macs", "train_resolution", "eval_resolution"]
        assert all(type(row[key]) is int for key in list(row)[1:])
    small = next(row for row in rows if row["name"] == "v2-s")
    assert small["params"] == 21_458_488
    assert small["macs"] == pytest.approx(8.366e9, rel=0.01)
    assert (small["train_resolution"], small["eval_resolution"]) == (300, 384)
    assert (said.code, said.err) == (0, "")


def test_models_is_a_table_too() -> None:
    lines = effnetv2("models").out.splitlines()
    assert len(lines) == 17
    assert "21,458,488" in next(line for line in lines if line.startswith("v2-s "))


def test_models_takes_a_network_from_a_file_or_a_package(tmp_path: Path) -> None:
    mine = replace(TINY, name="mein Netz", head=64)
    (tmp_path / "net.json").write_text(to_json(mine))
    said = effnetv2(
        "models", tmp_path / "net.json", "effnetv2.arch.presets:V2_S", "--classes", "10", "--json"
    )
    rows = json.loads(said.out)
    assert [row["name"] for row in rows] == ["mein Netz", "v2-s"]
    for row, net in zip(rows, (mine, V2_S), strict=True):
        spent = cost(net, classes=10, resolution=row["eval_resolution"])
        assert (row["params"], row["macs"]) == (spent.params, spent.macs)


def test_training_leaves_a_whole_run(place: Place) -> None:
    assert place.said.code == 0
    assert place.said.err == ""
    first, second, third, *_ = place.said.out.splitlines()
    assert first.startswith("accuracy ")
    assert second.split(maxsplit=1) == ["report", str(place.run / "report.html")]
    assert third.startswith("next ")
    for name in (
        "recipe.json", "record.json", "split.json", "metrics.jsonl", "report.html",
        "model/model.json", "model/weights.safetensors", "state/checkpoint.pt",
        "evaluation/val.json", "evaluation/test.json",
    ):  # fmt: skip
        assert (place.run / name).stat().st_size > 0
    assert not list(place.run.rglob("*.part"))


def test_the_broken_file_is_named_and_trained_without(place: Place) -> None:
    record = json.loads((place.run / "record.json").read_text())
    assert any(CUT in note for note in record["notes"])
    split = json.loads((place.run / "split.json").read_text())
    names = [name for part in split.values() for name in part]
    assert len(names) == len(set(names)) == 36
    assert CUT not in names


def test_classes_keep_their_names(place: Place) -> None:
    card = json.loads((place.run / "model" / "model.json").read_text())
    assert card["classes"] == list(COLOURS)


def answers(said: Said) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


def test_predict_tells_a_folder_as_json(place: Place) -> None:
    folder = place.photos / "青空 2"
    said = effnetv2(
        "predict", place.run, folder, place.photos / "grüne Wiese/Bild 0 ä.png", "--json"
    )
    assert (said.code, said.err) == (0, "")
    found = answers(said)
    assert [Path(row["path"]).parent.name for row in found] == ["青空 2"] * 12 + ["grüne Wiese"]
    assert {Path(row["path"]) for row in found[:12]} == set(folder.iterdir())
    for row in found:
        assert list(row) == ["path", "top"]
        assert all(list(guess) == ["label", "probability"] for guess in row["top"])
        odds = [guess["probability"] for guess in row["top"]]
        assert odds == sorted(odds, reverse=True)
        assert sum(odds) == pytest.approx(1)
        assert {guess["label"] for guess in row["top"]} == set(COLOURS)


def test_predict_names_a_broken_picture_and_answers_for_the_others(place: Place) -> None:
    pictures = [place.photos / CUT, place.photos / "roter Ziegel/Bild 1 ä.jpg"]
    said = effnetv2("predict", place.run, *pictures, "--top", "1", "--json")
    assert said.code == 2
    assert said.err == f"effnetv2 predict: {pictures[0]}: truncated; skipped\n"
    (found,) = answers(said)
    assert found["path"] == str(pictures[1])
    assert len(found["top"]) == 1
    plain = effnetv2("predict", place.run, *pictures, "--top", "1")
    assert (plain.code, plain.err) == (2, said.err)
    label, odds = found["top"][0].values()
    assert plain.out == f"{pictures[1]}  {label} {odds:.1%}\n"


def test_evaluate_matches_classes_by_name(place: Place, others: Path) -> None:
    said = effnetv2("evaluate", place.run, others, "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert list(found) == ["top1", "top5", "macro_f1", "ece", "images"]
    assert found["images"] == 5
    assert found["top5"] == 1
    notes = said.err.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert any("Zebra" in note and "3 pictures" in note for note in notes)
    assert any("grüne Wiese/2.png (truncated)" in note for note in notes)
    known = [p for name in ("青空 2", "grüne Wiese") for p in (others / name).iterdir()]
    guesses = answers(effnetv2("predict", place.run, *known, "--json"))
    right = [Path(row["path"]).parent.name == row["top"][0]["label"] for row in guesses]
    assert len(right) == 5
    assert found["top1"] == pytest.approx(sum(right) / 5)


def test_evaluate_speaks_to_people_too(place: Place, others: Path) -> None:
    said = effnetv2("evaluate", place.run, others, "--classes", "--batch-size", "2")
    assert said.code == 0
    lines = said.out.splitlines()
    names = ["top-1", "top-5", "macro-F1", "ECE", "images"]
    assert [line.split()[0] for line in lines[:5]] == names
    assert [any(name in line for line in lines[5:]) for name in COLOURS] == [True] * 3


def test_report_is_written_again(place: Place) -> None:
    page = place.run / "report.html"
    page.unlink()
    assert effnetv2("report", place.run) == Said(0, f"{page}\n", "")
    assert "青空 2" in page.read_text(encoding="utf-8")


def test_the_recipe_that_a_run_leaves_makes_the_run_again(place: Place) -> None:
    again = place.folder / "again"
    said = effnetv2(
        "train", place.photos, "--recipe", place.run / "recipe.json", "--to", again,
        "--device", "cpu", "--quiet", "--json",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    for name in ("recipe.json", "split.json", "model/model.json", "model/weights.safetensors"):
        assert (again / name).read_bytes() == (place.run / name).read_bytes()
    told = json.loads(said.out)
    kept = json.loads((place.run / "evaluation" / "test.json").read_text())
    assert told["run"] == str(again)
    assert told["split"] == "test"
    assert {key: told[key] for key in ("top1", "macro_f1", "ece", "loss")} == {
        key: kept[key] for key in ("top1", "macro_f1", "ece", "loss")
    }


def test_a_finished_run_is_not_trained_further(place: Place) -> None:
    before = (place.run / "metrics.jsonl").read_bytes()
    said = effnetv2("train", "--resume", place.run, "--quiet")
    assert said.out == place.said.out
    assert (said.code, said.err) == (0, "")
    assert (place.run / "metrics.jsonl").read_bytes() == before


BAD = {
    "no verb": ("", "VERB"),
    "unknown verb": ("trian PHOTOS", "trian"),
    "unknown flag": ("train PHOTOS --bogus", "--bogus"),
    "unknown flag of predict": ("predict RUN PICTURE --bogus", "--bogus"),
    "flag of another type": ("train PHOTOS --epochs many", "--epochs"),
    "flag without value": ("train PHOTOS --to", "--to"),
    "neither data nor resume": ("train", "--resume"),
    "both data and resume": ("train PHOTOS --resume RUN", "--resume"),
    "no such data": ("train NONE --to NEW", "NONE"),
    "data that is a picture": ("train PICTURE --to NEW", "PICTURE"),
    "data without classes": ("train PHOTOS/CLASS --to NEW", "no class folders"),
    "shares of more than all": ("train PHOTOS --val 0.6 --test 0.6 --to NEW", "0.6"),
    "broken files refused": ("train PHOTOS --bad-files fail --to NEW", "kaputt"),
    "bad model": ("train PHOTOS --model v2-z --to NEW", "v2-z"),
    "no such model file": ("train PHOTOS --model NONE.json --to NEW", "NONE.json"),
    "bad recipe": ("train PHOTOS --recipe imagnet --to NEW", "imagnet"),
    "no such recipe file": ("train PHOTOS --recipe NONE.json --to NEW", "NONE.json"),
    "recipe that is none": ("train PHOTOS --recipe RUN/split.json --to NEW", "split.json"),
    "bad augmentation": ("train PHOTOS --augment fotos --to NEW", "fotos"),
    "set without value": ("train PHOTOS --set epochs --to NEW", "PATH=VALUE"),
    "set of no field": ("train PHOTOS --set optimizer.nam=sgd --to NEW", "optimizer.name"),
    "set of a bad value": ("train PHOTOS --set optimizer.name=sdg --to NEW", "optimizer.name"),
    "set of an area of none": ("train PHOTOS --set augmentation.area=[0,1] --to NEW", "area is"),
    "set of no crop": ("train PHOTOS --set preprocessing.fraction=0 --to NEW", "fraction is"),
    "size too small": ("train PHOTOS --model tiny --size 4 --to NEW", "resolution is"),
    "bad device": ("train PHOTOS --device warp --to NEW", "warp"),
    "bad cache": ("train PHOTOS --cache much --to NEW", "cache 'much'"),
    "a run that is there": ("train PHOTOS --model tiny --to RUN", "holds a run already"),
    "no run to resume": ("train --resume NONE", "NONE"),
    "a budget of no time": ("train PHOTOS --budget soon --to NEW", "1h30m"),
    "a budget and epochs": ("train PHOTOS --budget 5m --epochs 3 --to NEW", "leave out --epochs"),
    "a budget for a run that began": ("train --resume RUN --budget 5m", "leave out --budget"),
    "a plan without a budget": ("plan PHOTOS", "--budget"),
    "a plan of no time": ("plan PHOTOS --budget 20", "20m"),
    "a plan too short": (
        "plan PHOTOS --model tiny --size 32 --budget 0.1s --quiet",
        "is too short",
    ),
    "a plan of nothing": ("plan NONE --budget 5m", "NONE"),
    "no run to evaluate": ("evaluate NONE PHOTOS", "NONE"),
    "no data to evaluate on": ("evaluate RUN NONE", "NONE"),
    "no known class": ("evaluate RUN STRANGE", "Zebra"),
    "no batch": ("evaluate RUN PHOTOS --batch-size 0", "batch size"),
    "no workers": ("evaluate RUN PHOTOS --workers -1", "workers"),
    "no run to predict with": ("predict NONE PICTURE", "NONE"),
    "missing picture": ("predict RUN NONE.jpg", "NONE.jpg"),
    "folder without pictures": ("predict RUN RUN/state", "no pictures"),
    "no answers": ("predict RUN PICTURE --top 0", "--top"),
    "bad device of predict": ("predict RUN PICTURE --device warp", "warp"),
    "no run to report": ("report NONE", "NONE"),
    "no such network": ("models v2-z", "v2-z"),
    "no bench": ("bench", "BENCH"),
    "unknown bench": ("bench stap", "stap"),
    "bench of no network": ("bench step --model v2-z", "v2-z"),
    "bench of no rounds": ("bench step --model tiny --rounds 0", "rounds 0"),
    "bench on no device": ("bench infer --device warp", "warp"),
    "bench of no data": ("bench loader --data NONE", "NONE"),
    "bench of no pictures": ("bench loader --pictures 0", "--pictures"),
    "bench of a strange family": ("bench family --model v2-z", "v2-z"),
    "picture that is none": ("bench step --picture NEW.png", ".svg"),
    "result into no folder": ("bench step --json NONE/step.json", "NONE"),
}
"""What was typed, with names for paths, and what the complaint must hold."""


@pytest.mark.parametrize(("typed", "complaint"), BAD.values(), ids=BAD)
def test_bad_input_ends_in_one_line_and_2(
    place: Place, others: Path, tmp_path: Path, typed: str, complaint: str
) -> None:
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "Zebra").symlink_to(others / "Zebra")
    paths = {
        "PHOTOS": place.photos,
        "CLASS": "青空 2",
        "PICTURE": place.photos / "青空 2" / "Bild 0 ä.png",
        "RUN": place.run,
        "NEW": tmp_path / "new",
        "NONE": tmp_path / "none",
        "STRANGE": tmp_path / "strange",
    }

    def meant(text: str) -> str:
        for name, path in paths.items():
            text = text.replace(name, str(path))
        return text

    said = effnetv2(*map(meant, typed.split()))
    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("effnetv2")
    assert meant(complaint) in said.err
    assert not (tmp_path / "new").exists()


def test_bench_prints_json_and_draws(tmp_path: Path) -> None:
    said = effnetv2(
        "bench", "infer", "--model", "tiny", "--side", "32", "--batch", "1", "--rounds", "1",
        "--warmup", "1", "--together", "--precision", "fp32", "--device", "cpu", "--json",
        "--picture", tmp_path / "infer.svg",
    )  # fmt: skip
    assert said.code == 0
    found = json.loads(said.out)
    assert found["bench"] == "infer"
    assert [row["setting"] for row in found["cases"][0]["rows"]] == ["fp32", "fp32 channels_last"]
    assert (tmp_path / "infer.svg").read_text().startswith("<svg ")


def test_bench_writes_json_and_prints_a_table(tmp_path: Path) -> None:
    said = effnetv2(
        "bench", "family", "--model", "v2-b0", "--quick", "--batch", "1", "--step-batch", "1",
        "--device", "cpu", "--json", tmp_path / "family.json",
    )  # fmt: skip
    assert said.code == 0
    assert "v2-b0" in said.out
    assert said.out.endswith(f"written  {tmp_path / 'family.json'}\n")
    (row,) = json.loads((tmp_path / "family.json").read_text())["rows"]
    assert row["top1"] == 78.7


def test_a_networks_file_trains(place: Place, tmp_path: Path) -> None:
    mine = replace(TINY, name="mine", stages=TINY.stages[:2], head=32)
    (tmp_path / "net.json").write_text(to_json(mine))
    said = effnetv2(
        "train", place.photos, "--model", tmp_path / "net.json", "--to", tmp_path / "run",
        "--epochs", "1", "--size", "32", "--val", "0", "--test", "0", "--device", "cpu", "--quiet",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert from_json(Network, json.dumps(card["network"]), "") == mine


def test_a_plan_is_a_table_whose_parts_fit_the_budget() -> None:
    pytest.importorskip("sklearn")
    said = effnetv2("plan", "digits", "--model", "tiny", "--size", "32", "--budget", "10m",
                    "--device", "cpu", "--quiet")  # fmt: skip
    assert (said.code, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines() if line.strip()]
    assert rows[0][1] == "steps,"
    assert rows[0][-2:] == ["10:00", "min"]
    assert ["phase", "1"] in [row[:2] for row in rows]
    assert all(len(line) <= 100 for line in said.out.splitlines())
    assert "assumed: " in said.out


def test_a_plan_is_json_too() -> None:
    pytest.importorskip("sklearn")
    said = effnetv2("plan", "digits", "--model", "tiny", "--size", "32", "--budget", "1h30m",
                    "--batch-size", "64", "--device", "cpu", "--quiet", "--json")  # fmt: skip
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["budget_seconds"] == 5400
    assert found["expected_seconds"] <= 5400
    assert sum(row["steps"] for row in found["rows"]) == found["steps"]
    assert {row["batch_size"] for row in found["rows"]} == {64}
    assert found["recipe"]["epochs"] == pytest.approx(found["epochs"], rel=0.02)
    assert found["recipe"]["progression"]["resolution"][1] == 32
    for row in found["rows"]:
        assert row["compute_seconds_per_step"] > 0
        assert row["loading_seconds_per_step"] > 0
    parts = [value for name, value in found.items() if name.endswith("_seconds")
             and name not in ("budget_seconds", "expected_seconds")]  # fmt: skip
    total = sum(parts) + sum(row["seconds"] for row in found["rows"])
    assert total == pytest.approx(found["expected_seconds"])
    assert found["assumed"]


def test_training_with_a_budget_prints_its_plan(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(recipe: Recipe, data: Data, asked: frozenset[str], *, budget: Budget, **_: Any) -> Plan:
        """Plan without measuring, with an hour to keep it."""
        costs = Costs(
            sizes=(SizeCost(resolution=32, gradient=0.1, loading=0.0, memory=0.0),),
            update=0.1, forward=0.0, viewing=0.0, evaluated_at=64, train=len(data.train),
        )  # fmt: skip
        found = choose(recipe, costs, budget, asked)
        return replace(found, pledge=Pledge(seconds=3600.0, most_epochs=found.epochs, costs=costs))

    monkeypatch.setattr(api, "fitted", fit)
    said = effnetv2("train", place.photos, "--to", tmp_path / "run", "--model", "tiny", "--size",
                    "32", "--batch-size", "8", "--budget", "40s", "--device", "cpu")  # fmt: skip
    assert said.code == 0
    assert "steps," in said.err
    assert "assumed: " in said.err
    assert " of 1:00 h\n" in said.err.splitlines(keepends=True)[-1]
    kept = json.loads((tmp_path / "run" / "record.json").read_text())
    assert kept["budget"]["seconds"] == 3600
    assert (tmp_path / "run" / "report.html").exists()
