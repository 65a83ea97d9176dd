"""The device that computes, and the settings that make it fast."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from effnetv2.data.preprocessing import Preprocessing, normalise
from effnetv2.errors import InputError
from effnetv2.nn.kernels import kernels
from effnetv2.train.memory import available_memory


@dataclass(frozen=True, slots=True)
class Machine:
    """A device and the precision in which its convolutions run."""

    device: torch.device
    precision: torch.dtype

    @classmethod
    def choose(
        cls,
        device: str = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        local_rank: int = 0,
    ) -> "Machine":
        """Return the machine to use; `auto` takes a GPU where there is one, bfloat16 if it gains.

        Raises InputError when the named device is not there.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(f"cuda:{local_rank}" if device == "cuda" else device)
            torch.empty(0, device=chosen).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            reason = str(e).splitlines()[0]
            raise InputError(f"device {device!r} cannot be used ({reason}); try cpu") from e
        if precision == "auto":
            precision = "bfloat16" if _gains_from_bfloat16(chosen) else "float32"
        return cls(chosen, torch.bfloat16 if precision == "bfloat16" else torch.float32)

    def autocast(self) -> torch.autocast:
        """Return the context in which a forward pass runs."""
        mixed = self.precision == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)

    def logits(self, model: nn.Module, images: Tensor, how: Preprocessing) -> Tensor:
        """Return float32 logits `(n, classes)` of uint8 images `(n, 3, h, w)`."""
        x = normalise(images.to(self.device, non_blocking=True), how.mean, how.std)
        with self.autocast():
            y: Tensor = model(x)
        return y.float()

    @contextlib.contextmanager
    def explained(self, where: str) -> Iterator[None]:
        """Turn running out of memory into one line that says `where` and what to lower."""
        try:
            yield
        except RuntimeError as e:
            if out_of_memory(e):
                raise InputError(
                    f"out of memory in {where}: lower --batch-size, or raise --accumulate "
                    "(same batch in smaller parts), or lower --size"
                ) from e
            raise

    def wait(self) -> None:
        """Return when everything that was started on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget_peak(self) -> None:
        """Begin to look for the peak of memory anew, where the system lets one."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return bytes at the peak: on a GPU torch's, else the whole process's; 0 if unknown."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_reserved(self.device)
        return _kib("/proc/self/status", "VmHWM:")

    def held(self) -> int:
        """Return bytes held now, counted as `peak` does."""
        if self.device.type == "cuda":
            return torch.cuda.memory_reserved(self.device)
        return _kib("/proc/self/status", "VmRSS:")

    def room(self) -> int:
        """Return bytes that a step may hold in all: on a CPU, pictures are kept beside it."""
        if self.device.type == "cuda":
            return self.held() + int(0.9 * torch.cuda.mem_get_info(self.device)[0])
        return self.held() + int(0.65 * available_memory())

    def describe(self) -> dict[str, Any]:
        """Return what the run's record says of this machine."""
        cuda = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if cuda else str(self.device),
            "processor": _processor(),
            "cores": available_cores(),
            "memory_gib": round(_memory() / 2**30, 1),
            "precision": str(self.precision).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "kernels": "fused" if not cuda and kernels() is not None else "layers",
        }


def out_of_memory(e: RuntimeError) -> bool:
    """Say whether torch raised `e` because there was too little memory."""
    return isinstance(e, torch.OutOfMemoryError) or "can't allocate memory" in str(e)


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gains_from_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions a CPU converts to float32 and back: slower than float32 alone.
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _kib(file: str, name: str) -> int:
    """Return the bytes of a line such as `VmRSS:  1234 kB`; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0
