"""A process of its own: it works when asked, says what went wrong, and its end is told."""

import sys
from dataclasses import replace

import pytest

from effnetv2.arch.presets import TINY
from effnetv2.bench.apart import Apart
from effnetv2.bench.contenders import Contender
from effnetv2.bench.memory import Task
from effnetv2.bench.settings import SETTINGS
from effnetv2.config import from_data, to_data
from effnetv2.errors import InputError

TASK = Task(Contender("effnetv2", "tiny", SETTINGS[1], TINY), "infer", 2, 32)


def test_a_task_reaches_the_other_process_unchanged() -> None:
    assert from_data(Task, to_data(TASK), "task") == TASK


def test_the_end_of_a_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with (
        pytest.raises(InputError, match="effnetv2 tiny, fp32 channels_last has ended"),
        Apart(TASK),
    ):
        pass


@pytest.mark.slow
def test_a_process_works_as_often_as_it_is_asked() -> None:
    with Apart(TASK) as process:
        assert process.peak_mib is None
        assert all(process.once() > 0 for _ in range(3))
        assert process.peak_mib is not None and process.peak_mib > 0


@pytest.mark.slow
def test_what_goes_wrong_there_is_raised_here() -> None:
    wrong = "more than 1 value per channel"
    task = replace(TASK, kind="step", batch=1, side=16)
    with Apart(task) as process, pytest.raises(RuntimeError, match=wrong):
        process.once()
