"""The metrics of a run, read into TensorBoard's format."""

from pathlib import Path

from effnetv2.errors import InputError
from effnetv2.report.reading import read


def write(run: Path, to: Path) -> Path:
    """Write the curves of the run folder `run` as event files into `to`, and return it."""
    try:
        from tensorboard.summary import Writer  # noqa: PLC0415 - an extra
    except ImportError as e:
        raise InputError("TensorBoard is not installed: pip install 'effnetv2[track]'") from e
    found = read(run)
    writer = Writer(str(to))
    for line in found.training:
        for name in ("loss", "learning_rate", "images_per_second"):
            if (value := getattr(line, name)) is not None:
                writer.add_scalar(f"train/{name}", value, line.step)
    for seen in found.validation:
        for name in ("loss", "top1", "macro_f1"):
            if (value := getattr(seen, name)) is not None:
                writer.add_scalar(f"val/{name}", value, seen.step)
    writer.close()
    return to
