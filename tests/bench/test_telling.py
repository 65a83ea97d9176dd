"""Tables, progress and what a result says of itself, without a terminal."""

import subprocess
from pathlib import Path

import pytest

from effnetv2.bench import watch
from effnetv2.bench.about import about, commit
from effnetv2.bench.table import Table, number
from effnetv2.bench.watch import watching
from effnetv2.train.machine import Machine


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "0.00"), (0.1234, "0.12"),
                         (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"),
                         (12345.6, "12,346")])  # fmt: skip
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_plain_tables_align_words_left_and_numbers_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Table("title", ("name", "s"), (("a", "1.5"), ("long", "10.5"), ("b", "–")), ("note",)).show()
    assert capsys.readouterr().out.splitlines() == [
        "title", "name     s", "a      1.5", "long  10.5", "b        –", "note", "",
    ]  # fmt: skip


def test_a_table_without_rows_is_its_header() -> None:
    assert Table("title", ("a", "b"), ()).lines() == ["title", "a  b"]


def test_without_a_terminal_lines_come_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(3) as tell:
        tell("first")
        tell("second")
        monkeypatch.setattr(watch, "LINE_SECONDS", -1.0)
        tell("third")
    assert capsys.readouterr().err.splitlines() == ["[1/3] first", "[3/3] third"]


def test_a_result_names_its_commit_inside_a_checkout_only(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=n", "-c", "user.email=e")
        done = subprocess.run(["git", "-C", str(tmp_path), *who, *arguments],
                              capture_output=True, text=True, check=True)  # fmt: skip
        return done.stdout.strip()

    file = tmp_path / "a.py"
    file.write_text("1")
    assert commit(file) is None
    git("init", "-q")
    assert commit(file) is None  # another project's checkout
    git("add", "a.py")
    git("commit", "-qm", "a")
    assert commit(file) == git("rev-parse", "--short", "HEAD")
    file.write_text("2")
    assert commit(file) == git("rev-parse", "--short", "HEAD") + "+"


def test_a_result_says_where_it_was_measured() -> None:
    found = about("step", Machine.choose("cpu"))
    assert found["bench"] == "step"
    assert {"torch", "torchvision", "python"} <= found["versions"].keys()
    assert found["machine"]["device"] == "cpu"
