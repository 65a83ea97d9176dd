"""A broken picture is found before training, not by it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np

from effnetv2.data.decode import fault
from effnetv2.data.samples import Data, Files, Samples
from effnetv2.errors import InputError

Progress = Callable[[int], None]
"""Called with the number of pictures looked at so far, now and then."""


def broken(
    samples: Samples, workers: int | None = None, progress: Progress | None = None
) -> list[tuple[int, str]]:
    """Return (sample, reason in a few words) for every file that cannot be decoded.

    `workers` threads (all cores when None), as Pillow decodes outside the interpreter's lock.
    Pictures that are not files are not looked at.
    """
    pictures = samples.pictures
    if not isinstance(pictures, Files):
        return []
    files = [pictures.file(i) for i in samples.index.tolist()]
    found: list[tuple[int, str]] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(0, len(files), _BLOCK):
            faults = pool.map(fault, files[start : start + _BLOCK])
            found += [(start + i, why) for i, why in enumerate(faults) if why]
            if progress:
                progress(min(start + _BLOCK, len(files)))
    return found


def checked(
    data: Data,
    mode: Literal["skip", "fail"] = "fail",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Data:
    """Return `data` without its broken files, which its notes name.

    InputError when `mode` is "fail" and there are any, or when what is left cannot be trained on.
    """
    parts: dict[str, Samples] = {}
    names: list[str] = []
    looked_at = 0
    for part, samples in data.parts.items():
        faults = broken(samples, workers, _onward(progress, looked_at))
        looked_at += len(samples)
        names += [f"{samples.name(i)} ({why})" for i, why in faults]
        parts[part] = samples.subset(np.delete(np.arange(len(samples)), [i for i, _ in faults]))
    if not names:
        return data
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    count = f"{len(names)} broken file{'s' if len(names) > 1 else ''}"
    if mode == "fail":
        raise InputError(
            f"{data.name}: {count}: {first}; repair or remove them, or go on without "
            "them: --bad-files skip"
        )
    notes = (f"{count} skipped: {first}", *(names if len(names) > 3 else ()))
    left = {part: samples for part, samples in parts.items() if len(samples) or part == "train"}
    train, val, test = left["train"], left.get("val"), left.get("test")
    new = replace(data, train=train, val=val, test=test, notes=data.notes + notes)
    return new.usable()


_BLOCK = 256


def _onward(progress: Progress | None, before: int) -> Progress | None:
    """Count on from the parts looked at `before`."""
    return None if progress is None else lambda n: progress(before + n)
