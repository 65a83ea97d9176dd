"""A cache remembers decoded pictures, within its bounds, and changes no sample."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import Tensor

from effnetv2.data.augment import GROWING, Augmentation
from effnetv2.data.cache import Cached, Store, cached
from effnetv2.data.decode import PictureError
from effnetv2.data.loader import Request, evaluation_batches, training_batches
from effnetv2.data.picture import FACTORS
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Arrays, Data, Files, Samples, Wrapped
from effnetv2.errors import InputError

HOW = Augmentation(area=(0.1, 1.0), operations=GROWING)
ROOM = 2**24
RNG = np.random.default_rng(0)


def photo(width: int, height: int) -> Image.Image:
    coarse = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return twelve pictures of every kind."""
    root = tmp_path_factory.mktemp("photos")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    deep = Image.fromarray(RNG.integers(0, 2**16, (90, 70), dtype=np.uint16))
    for name, image, more in (
        ("a.jpg", photo(201, 133), {}),
        ("b.jpg", photo(160, 240), {}),
        ("turned.jpg", photo(220, 150), {"exif": turned}),
        ("cmyk.jpg", photo(150, 150).convert("CMYK"), {}),
        ("grey.jpg", photo(99, 180).convert("L"), {}),
        ("small.jpg", photo(13, 9), {}),
        ("a.png", photo(151, 120), {}),
        ("clear.png", photo(80, 80).convert("RGBA"), {}),
        ("deep.png", deep, {}),
        ("turned.png", photo(120, 60), {"exif": turned}),
        ("a.webp", photo(140, 99), {}),
        ("a.tif", photo(64, 100), {}),
    ):
        image.save(root / name, **more)
    return Files(root, tuple(sorted(p.name for p in root.iterdir())))


def samples(files: Files) -> Samples:
    return Samples.of(files, [i % 2 for i in range(len(files))], ("a", "b"))


def kept(files: Files, size: int = ROOM, folder: Path | None = None) -> tuple[Samples, Store]:
    part = cached(Data("photos", samples(files)), size, folder).train
    assert isinstance(part.pictures, Cached)
    return part, part.pictures.store


def stream(part: Samples, workers: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Make five epochs whose pictures grow, from step `start` on."""
    requests = [Request(range(4 * s, 4 * s + 4), 8 + 4 * s, 5) for s in range(15)]
    return training_batches(part, HOW, requests[start:], seed=1, workers=workers)


def same(a: Iterator[tuple[Tensor, Tensor]], b: Iterator[tuple[Tensor, Tensor]]) -> bool:
    one, other = list(chain.from_iterable(a)), list(chain.from_iterable(b))
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


def test_samples_are_the_same_with_a_cache_without_and_with_a_full_one(files: Files) -> None:
    plain = list(stream(samples(files)))
    for size in (ROOM, 100_000, 1):
        part, store = kept(files, size)
        assert same(stream(part), iter(plain))
        assert same(stream(part), iter(plain))
        assert store.used <= size
    assert store.used == 0


def test_a_run_resumed_with_an_empty_cache_makes_the_rest_of_the_whole_one(files: Files) -> None:
    whole = list(stream(kept(files)[0]))
    assert same(stream(kept(files)[0], start=7), iter(whole[7:]))


# One core is enough for the test, whatever torch thinks of it.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_fill_one_cache_and_make_the_same_bytes(files: Files) -> None:
    part, store = kept(files)
    plain = list(stream(samples(files)))
    assert same(stream(part, workers=2), iter(plain))
    filled = store.used
    assert filled > 0
    assert same(stream(part, workers=2), iter(plain))
    assert same(stream(part), iter(plain))
    assert store.used == filled


def test_evaluation_sees_the_same_pictures(files: Files) -> None:
    part, store = kept(files)
    for resolution in (8, 40, 8):
        how = Preprocessing(resolution=resolution)
        once, again = (
            [x for x, _, _ in evaluation_batches(s, how, batch_size=5, rank=0, ranks=1, workers=0)]
            for s in (samples(files), part)
        )
        assert all(map(torch.equal, once, again))
    assert store.used > 0


def test_what_is_kept_needs_no_file_any_more(tmp_path: Path) -> None:
    photo(64, 48).save(tmp_path / "a.jpg")
    pictures = Cached(Files(tmp_path, ("a.jpg",)), Store(1, ROOM))
    before = [pictures.picture(0).decode(factor).tobytes() for factor in (1, 4)]
    (tmp_path / "a.jpg").unlink()
    picture = pictures.picture(0)
    assert (picture.size, picture.scalable) == ((64, 48), True)
    assert [picture.decode(factor).tobytes() for factor in (1, 4)] == before
    with pytest.raises(PictureError, match="missing"):
        picture.decode(2)


def test_a_broken_picture_is_told_each_time_and_never_kept(tmp_path: Path) -> None:
    photo(640, 480).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    pictures = Cached(Files(tmp_path, ("cut.jpg", "text.png")), Store(2, ROOM))
    for i, why in ((0, "cut.jpg: truncated"), (1, "text.png: not an image")) * 2:
        for factor in FACTORS:
            with pytest.raises(PictureError, match=why):
                pictures.picture(i).decode(factor)
    assert pictures.store.used == 0


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_store_gives_back_what_it_was_given(tmp_path: Path, where: str) -> None:
    store = Store(3, ROOM, tmp_path if where == "disk" else None)
    assert store.header(1) is None
    store.keep_header(1, 70_000, 3, True)
    store.keep_header(2, 5, 70_000, False)
    assert store.header(1) == (70_000, 3, True)
    assert store.header(2) == (5, 70_000, False)
    images = {(row, f): photo(67 // f, 17) for row in (0, 2) for f in FACTORS}
    assert store.image(0, 1) is None
    for (row, factor), image in images.items():
        store.keep(row, factor, image)
    used = store.used
    for (row, factor), image in images.items():
        store.keep(row, factor, photo(8, 8))  # there is one already
        found = store.image(row, factor)
        assert found is not None
        assert (found.size, found.tobytes()) == (image.size, image.tobytes())
    assert store.used == used
    assert list(tmp_path.iterdir()) == []  # nothing to be left behind


def test_a_full_store_keeps_what_it_has_and_takes_what_fits() -> None:
    store = Store(3, 2000)
    first, small = photo(20, 20), photo(9, 9)
    store.keep(0, 1, first)
    store.keep(1, 1, photo(30, 30))
    store.keep(2, 1, small)
    assert store.image(1, 1) is None
    found = [store.image(row, 1) for row in (0, 2)]
    assert [f.tobytes() for f in found if f] == [first.tobytes(), small.tobytes()]
    assert store.used <= 2000


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_a_store_however_they_are_started(method: str) -> None:
    images = [photo(20 + i, 30) for i in range(4)]
    store = Store(len(images), ROOM)
    context = multiprocessing.get_context(method)
    for row, image in enumerate(images[:2]):
        worker = context.Process(target=store.keep, args=(row, 2, image))
        worker.start()
        worker.join()
        store.keep(row + 2, 2, images[row + 2])
    for row, image in enumerate(images):
        found = store.image(row, 2)
        assert found is not None
        assert found.tobytes() == image.tobytes()


def write(store: Store, images: list[Image.Image]) -> None:
    for row, image in enumerate(images):
        store.keep(row, 1, image)


def test_processes_that_write_at_once_keep_each_picture_once() -> None:
    images = [photo(20 + i, 30) for i in range(100)]
    store = Store(len(images), ROOM)
    crew = [
        multiprocessing.get_context("fork").Process(target=write, args=(store, images))
        for _ in range(3)
    ]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    found = [store.image(row, 1) for row in range(len(images))]
    assert [f.tobytes() for f in found if f] == [image.tobytes() for image in images]
    assert store.used == sum(8 + -(-i.width * i.height * 3 // 8) * 8 for i in images)


def test_only_what_must_be_decoded_is_kept(files: Files) -> None:
    arrays = Samples.of(Arrays("a", np.zeros((4, 8, 8), np.uint8)), [0, 1, 0, 1], ("a", "b"))
    assert cached(Data("arrays", arrays), ROOM).train.pictures is arrays.pictures
    photos = Data("photos", samples(files), arrays, samples(files))
    for data in (cached(photos, 0), replace(cached(photos, ROOM), train=photos.train)):
        assert data.train.pictures is files
        assert data.val is not None
        assert data.val.pictures is arrays.pictures
        assert data.test is photos.test
    wrapped = Wrapped("w", [(photo(40, 30), 0)] * 2)
    both = Data("both", samples(files), Samples.of(wrapped, [0, 1], ("a", "b")))
    kept = cached(both, ROOM)
    assert kept.val is not None
    assert isinstance(kept.train.pictures, Cached)
    assert isinstance(kept.val.pictures, Cached)
    assert kept.val.pictures.first == len(files)
    assert kept.train.pictures.store is kept.val.pictures.store
    assert kept.val.pictures.picture(1).decode(2).size == (20, 15)
    assert list(kept.train.names()) == list(both.train.names())


def test_parts_that_share_pictures_share_what_is_kept(files: Files) -> None:
    whole = samples(files)
    data = cached(Data("photos", whole.subset(range(6)), whole.subset(range(6, 12))), ROOM)
    assert data.val is not None
    assert data.train.pictures is data.val.pictures


def test_a_folder_that_cannot_keep_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: pictures cannot be kept there"):
        cached(Data("photos", samples(files)), ROOM, tmp_path / "gone")
