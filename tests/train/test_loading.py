"""How a machine loads: processes by its cores, room by its memory, and a run that is the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from effnetv2.data.cache import Cached
from effnetv2.data.samples import Data, Files, Samples
from effnetv2.errors import InputError
from effnetv2.train import loading
from effnetv2.train.loading import MEMORY_SHARE, Room, processes
from effnetv2.train.machine import Machine
from effnetv2.train.memory import available_memory
from effnetv2.train.world import World

CPU = Machine(torch.device("cpu"), torch.float32)
GPU = Machine(torch.device("cuda"), torch.bfloat16)


@pytest.mark.parametrize(
    ("machine", "cores", "threads", "local_ranks", "found"),
    [
        (CPU, 2, 2, 1, 0),  # the step uses both
        (CPU, 1, 1, 1, 0),
        (CPU, 2, 1, 1, 1),  # the step leaves one idle
        (CPU, 64, 8, 1, 2),
        (CPU, 4, 1, 4, 0),  # under torchrun
        (CPU, 4, 1, 2, 1),
        (GPU, 2, 2, 1, 1),
        (GPU, 1, 1, 1, 1),
        (GPU, 16, 16, 1, 15),
        (GPU, 64, 64, 8, 7),
        (GPU, 256, 256, 1, 16),
    ],
)
def test_loader_processes_take_the_cores_that_the_step_leaves(
    monkeypatch: pytest.MonkeyPatch,
    machine: Machine,
    cores: int,
    threads: int,
    local_ranks: int,
    found: int,
) -> None:
    monkeypatch.setattr(loading, "available_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    world = World(ranks=local_ranks, local_ranks=local_ranks)
    assert processes(None, machine, world) == found
    assert processes(5, machine, world) == 5


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("123", 123), ("4G", 2**32), ("1.5 MiB", 3 * 2**19), ("2kb", 2048), ("7b", 7)],
)
def test_a_size_is_written_as_people_do(text: str, size: int) -> None:
    assert Room.named(text) == Room(size)
    assert Room.named(text).bytes(World()) == size
    assert Room.named(text).bytes(World(ranks=2, local_ranks=2)) == size // 2


def test_a_folder_or_the_memory_decides_where_no_size_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Room.named(str(tmp_path)) == Room(folder=tmp_path)
    assert Room.named(str(tmp_path)).bytes(World()) > 0
    monkeypatch.setattr(loading, "available_memory", lambda: 1000)
    assert Room.named("auto").bytes(World()) == 1000 * MEMORY_SHARE


@pytest.mark.parametrize("text", ["4 parsecs", "-1", "", "no/such/folder"])
def test_what_is_neither_size_nor_folder_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="neither auto, nor a size"):
        Room.named(text or "nothing")


def test_room_is_given_to_pictures_in_files_and_told_of(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = Data("one", Samples.of(Files(tmp_path, ("a.png",)), np.zeros(1, int), ("a",)))
    told: list[str] = []
    assert Room(0).keep(data, World(), told.append) is data
    assert not told
    kept = Room(2**30).keep(data, World(), told.append)
    assert isinstance(kept.train.pictures, Cached)
    assert told == ["decoded pictures are kept in memory, up to 1.0 GiB"]


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 2000 kB\n"}


def test_without_containers_the_system_says_what_is_left(tmp_path: Path) -> None:
    assert available_memory(written(tmp_path, MEMINFO)) == 2000 * 1024


@pytest.mark.parametrize(
    ("group", "folder"),
    [("/", ""), ("/shop/job", ""), ("/shop/job", "shop"), ("/shop/job", "shop/job")],
)
def test_the_limit_of_any_group_around_it_binds(tmp_path: Path, group: str, folder: str) -> None:
    root = written(
        tmp_path,
        MEMINFO
        | {
            "proc/self/cgroup": f"0::{group}\n",
            f"sys/fs/cgroup/{folder}/memory.max": "900000\n",
            f"sys/fs/cgroup/{folder}/memory.current": "600000\n",
            f"sys/fs/cgroup/{folder}/memory.stat": "anon 500000\ninactive_file 50000\n",
        },
    )
    assert available_memory(root) == 350_000


def test_a_group_without_a_limit_does_not_bind(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        MEMINFO
        | {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.current": "600000\n",
        },
    )
    assert available_memory(root) == 2000 * 1024


def test_the_first_version_of_groups_is_understood(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        MEMINFO
        | {
            "proc/self/cgroup": "12:cpu,cpuacct:/job\n4:memory:/job\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "5000",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "7000",
        },
    )
    assert available_memory(root) == 0


def test_this_machine_has_memory_left() -> None:
    assert available_memory() > 2**20
