"""How much memory a process may still take, containers' limits included."""

import contextlib
import os
from pathlib import Path


def available_memory(root: Path = Path("/")) -> int:
    """Return the bytes that are left for this process: the system's, within its containers' limits.

    What the system can free at once (files it holds in memory) counts as left. `root` is where
    `proc` and `sys` lie. On systems without them: half of the memory there is.
    """
    system = _numbers(root / "proc/meminfo").get("MemAvailable:")
    left = _half() if system is None else system * 1024
    return max(0, min([left, *_containers(root)]))


def _containers(root: Path) -> list[int]:
    """Return what each control group, the process's own and those around it, has left."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2: one tree for everything
                tree, limit, usage = root / "sys/fs/cgroup", "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                tree = root / "sys/fs/cgroup/memory"
                limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
            else:
                continue
            # Inside a container the path may be that outside of it; its own group is the tree then.
            group = Path(path.lstrip("/"))
            for folder in {tree / g for g in (group, *group.parents)}:
                with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
                    freeable = _numbers(folder / "memory.stat").get("inactive_file", 0)
                    bound = int((folder / limit).read_text())
                    found.append(bound - int((folder / usage).read_text()) + freeable)
    return found


def _numbers(file: Path) -> dict[str, int]:
    """Return the second word of each line, by the first."""
    with contextlib.suppress(OSError):
        rows = (line.split() for line in file.read_text().splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    return {}


def _half() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 0
