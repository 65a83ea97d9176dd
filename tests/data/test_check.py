"""Broken files are found, named, and either skipped or refused, before training."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnetv2.data.check import broken, checked
from effnetv2.data.decode import PictureError, fault, read
from effnetv2.data.samples import Arrays, Data, Files, Samples
from effnetv2.errors import InputError

RNG = np.random.default_rng(0)


def encoded(format: str, **options: object) -> bytes:
    image = Image.fromarray(RNG.integers(0, 256, (120, 90, 3), dtype=np.uint8))
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def samples(root: Path, files: dict[str, bytes]) -> Samples:
    for name, content in files.items():
        (root / name).write_bytes(content)
    paths = tuple(files)
    return Samples.of(Files(root, paths), np.arange(len(paths)) % 2, ("a", "b"))


def good(n: int) -> dict[str, bytes]:
    return {f"{i:02d}.jpg": encoded("JPEG") for i in range(n)}


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("TIFF", {}),
        ("WEBP", {}), ("GIF", {}),
    ],
)  # fmt: skip
def test_a_truncated_file_is_found_wherever_it_is_cut(
    tmp_path: Path, format: str, options: dict[str, object]
) -> None:
    whole = encoded(format, **options)
    file = tmp_path / f"a.{format.lower()}"
    file.write_bytes(whole)
    assert fault(file) is None
    for keep in np.linspace(0, len(whole) - 30, 40).astype(int):
        file.write_bytes(whole[:keep])
        assert fault(file), f"{keep} of {len(whole)} bytes"


def test_a_fault_is_what_reading_fails_on(tmp_path: Path) -> None:
    """Cuts that cost no pixel, as of a checksum at the very end, pass, for they decode."""
    for format in ("JPEG", "PNG", "GIF", "WEBP"):
        file, whole = tmp_path / f"a.{format.lower()}", encoded(format)
        for cut in range(1, 25):
            file.write_bytes(whole[:-cut])
            if fault(file) is None:
                assert read(file).size == (90, 120)
            else:
                with pytest.raises(PictureError):
                    read(file)


def test_damage_inside_a_png_is_found(tmp_path: Path) -> None:
    file, whole = tmp_path / "a.png", encoded("PNG")
    for place in np.linspace(100, len(whole) - 100, 20).astype(int):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        file.write_bytes(damaged)
        assert fault(file)


def test_a_png_with_a_wrong_checksum_and_whole_pixels_is_good(tmp_path: Path) -> None:
    file, whole = tmp_path / "a.png", bytearray(encoded("PNG"))
    whole[-13] ^= 255  # the last byte before the closing chunk
    file.write_bytes(whole)
    assert fault(file) is None
    assert read(file).size == (90, 120)


def test_every_kind_of_broken_file_has_its_reason(tmp_path: Path) -> None:
    found = samples(tmp_path, {
        "good.jpg": encoded("JPEG"),
        "cut.jpg": encoded("JPEG")[:-100],
        "cut.png": encoded("PNG")[:-100],
        "empty.jpg": b"",
        "text.jpg": b"I am no picture",
        "fine.png": encoded("PNG"),
        "named wrongly.jpg": encoded("PNG"),
    })  # fmt: skip
    (tmp_path / "fine.png").unlink()
    reasons = {found.name(i): why for i, why in broken(found, workers=2)}
    assert reasons == {
        "cut.jpg": "truncated", "cut.png": "truncated", "empty.jpg": "empty file",
        "text.jpg": "not an image", "fine.png": "missing",
    }  # fmt: skip


def test_broken_counts_samples_not_pictures(tmp_path: Path) -> None:
    whole = samples(tmp_path, {**good(3), "bad.jpg": b""})
    assert broken(whole.subset([3, 1])) == [(0, "empty file")]


def test_progress_reaches_the_number_of_pictures(tmp_path: Path) -> None:
    whole = samples(tmp_path, good(5))
    seen: list[int] = []
    checked(Data("d", whole, val=whole.subset([0, 1])), progress=seen.append)
    assert seen == [5, 7]


def test_pictures_in_memory_are_not_looked_at() -> None:
    arrays = Arrays("x", np.zeros((2, 4, 4), np.uint8))
    assert broken(Samples.of(arrays, [0, 1], ("a", "b"))) == []


def test_skipping_drops_broken_files_from_every_part_and_names_them(tmp_path: Path) -> None:
    files = {**good(8), "bad.jpg": b"", "cut.jpg": encoded("JPEG")[:-9]}
    whole = samples(tmp_path, files)
    data = Data("d", whole.subset([0, 1, 2, 3, 8]), whole.subset([4, 5, 9]), notes=("first",))
    new = checked(data, "skip")
    assert list(new.train.names()) == ["00.jpg", "01.jpg", "02.jpg", "03.jpg"]
    assert new.val is not None
    assert list(new.val.names()) == ["04.jpg", "05.jpg"]
    assert new.notes == (
        "first", "2 broken files skipped: bad.jpg (empty file), cut.jpg (truncated)",
    )  # fmt: skip


def test_all_of_many_broken_files_are_named(tmp_path: Path) -> None:
    whole = samples(tmp_path, {**good(2), **{f"bad{i}.jpg": b"" for i in range(5)}})
    notes = checked(Data("d", whole), "skip").notes
    assert notes[0].startswith("5 broken files skipped: bad0.jpg (empty file), bad1.jpg")
    assert notes[0].endswith(", ...")
    assert notes[1:] == tuple(f"bad{i}.jpg (empty file)" for i in range(5))


def test_failing_names_the_first_and_says_how_to_go_on(tmp_path: Path) -> None:
    whole = samples(tmp_path, {**good(2), **{f"bad{i}.jpg": b"" for i in range(5)}})
    with pytest.raises(InputError) as error:
        checked(Data("d", whole), "fail")
    assert str(error.value) == (
        "d: 5 broken files: bad0.jpg (empty file), bad1.jpg (empty file), bad2.jpg (empty file), "
        "...; repair or remove them, or go on without them: --bad-files skip"
    )


def test_good_data_comes_back_itself(tmp_path: Path) -> None:
    data = Data("d", samples(tmp_path, good(4)))
    assert checked(data, "fail") is data


def test_a_class_that_was_all_broken_is_refused(tmp_path: Path) -> None:
    whole = samples(tmp_path, {"0.jpg": encoded("JPEG"), "1.jpg": b""})
    with pytest.raises(InputError, match="no training picture of 'b'"):
        checked(Data("d", whole), "skip")
