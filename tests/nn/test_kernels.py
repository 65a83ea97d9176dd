"""Where the kernels come from, and what happens where they cannot be had."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from effnetv2.arch.presets import TINY
from effnetv2.nn.kernels import kernels
from effnetv2.nn.network import EfficientNet


@pytest.fixture
def no_kernels_yet() -> Iterator[None]:
    kernels.cache_clear()
    yield
    kernels.cache_clear()


@pytest.mark.usefixtures("no_kernels_yet")
@pytest.mark.parametrize("compiler", ["/nowhere/g++", "false"])
def test_without_a_compiler_the_layers_do_the_work(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    assert kernels() is None
    model = EfficientNet(TINY, 2).train()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 2)


@pytest.mark.usefixtures("no_kernels_yet")
@pytest.mark.skipif(kernels() is None, reason="no C++ compiler with OpenMP here")
def test_they_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels() is not None
    kernels.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert kernels() is not None
    assert [p.suffix for p in (tmp_path / "effnetv2").iterdir()] == [".so"]
