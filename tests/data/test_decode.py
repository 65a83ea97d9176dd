"""Every kind of picture file becomes the same upright 8-bit RGB."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from effnetv2.data.decode import PictureError, picture, read, rgb
from effnetv2.data.picture import FACTORS, Decoded, factor_leaving, factor_of

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_grey_becomes_three_equal_channels() -> None:
    assert (pixels(rgb(Image.fromarray(GREY))) == GREY[..., None]).all()


def test_black_and_white_keeps_its_two_values() -> None:
    assert set(pixels(rgb(Image.fromarray(GREY > 127))).flat) == {0, 255}


def test_rgb_stays_the_same_object() -> None:
    image = Image.fromarray(COLOUR)
    assert rgb(image) is image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "PA", "RGBa"])
def test_transparency_is_white(mode: str) -> None:
    image = Image.new("LA" if mode == "La" else "RGBA", (4, 4))
    assert (pixels(rgb(image.convert(mode))) == 255).all()


def test_half_transparent_black_is_mid_grey() -> None:
    assert pixels(rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))[0, 0, 0] in (127, 128)


def test_a_palette_with_a_transparent_entry_shows_white_there(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=0)
    image.save(tmp_path / "many.png", transparency=bytes([0, 255]))
    for name in ("p.png", "many.png"):
        assert pixels(read(tmp_path / name)).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_a_transparent_colour_shows_white(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", transparency=tuple(COLOUR[0, 0].tolist()))
    image = pixels(read(tmp_path / "a.png"))
    assert (image[0, 0] == 255).all()
    assert (image[1:] == COLOUR[1:]).all()


def test_cmyk_without_ink_is_white_and_with_all_black() -> None:
    assert (pixels(rgb(Image.new("CMYK", (2, 2)))) == 255).all()
    assert (pixels(rgb(Image.new("CMYK", (2, 2), (0, 0, 0, 255)))) == 0).all()


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    deep = [
        Image.fromarray(values),
        Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes()),
        Image.fromarray(values.astype(np.int32)),
    ]
    assert [image.mode for image in deep] == ["I;16", "I;16B", "I"]
    for image in deep:
        assert pixels(rgb(image))[..., 0].tolist() == [[0, 1, 128, 255]]
    deep[0].save(tmp_path / "a.png")
    assert pixels(read(tmp_path / "a.png"))[..., 0].tolist() == [[0, 1, 128, 255]]


def test_integers_outside_16_bits_are_clipped() -> None:
    image = Image.fromarray(np.array([[-5, 70_000]], np.int32))
    assert pixels(rgb(image))[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("values", "seen"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 128.0, 300.0], [0, 128, 255]), ([np.nan], [0])],
)
def test_floats_are_shares_or_levels(values: list[float], seen: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert pixels(rgb(image))[0, :, 0].tolist() == seen


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    corner = np.zeros((16, 32, 3), np.uint8)
    corner[:8, :8] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(corner).save(tmp_path / f"a.{suffix}", exif=exif)
    image = read(tmp_path / f"a.{suffix}")
    turned = pixels(image)
    assert turned.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    bottom, right = {
        1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)
    }[orientation]  # fmt: skip
    assert turned[-4 if bottom else 4, -4 if right else 4].min() > 200
    assert np.array_equal(pixels(rgb(image)), turned)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    for i, raw in enumerate([b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\x05\0"]):
        Image.fromarray(COLOUR).save(tmp_path / f"{i}.png", exif=raw)
        assert np.array_equal(pixels(read(tmp_path / f"{i}.png")), COLOUR)


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(read(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    for name in ("a b.png", "Größe 猫.png", "no suffix", "two.dots.PNG", "quote'.png"):
        Image.fromarray(COLOUR).save(tmp_path / name, "PNG")
        assert np.array_equal(pixels(read(tmp_path / name)), COLOUR)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (0, (640, 480)),
        (480, (640, 480)),
        (241, (640, 480)),
        (240, (320, 240)),
        (60, (80, 60)),
        (5, (80, 60)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_sufficient_scale(
    tmp_path: Path, mode: str, at_least: int, size: tuple[int, int]
) -> None:
    Image.new(mode, (640, 480)).save(tmp_path / "a.jpg")
    assert read(tmp_path / "a.jpg", at_least).size == size


def test_a_reduced_jpeg_is_the_picture_made_smaller(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).resize((320, 480)).save(tmp_path / "a.jpg")
    small = np.asarray(read(tmp_path / "a.jpg", 80), np.float32)
    exact = np.asarray(read(tmp_path / "a.jpg").reduce(4), np.float32)
    assert small.shape == exact.shape
    assert np.abs(small - exact).mean() < 2


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_picture_tells_its_upright_size_and_decodes_at_any_factor(
    tmp_path: Path, suffix: str, orientation: int | None
) -> None:
    """Against the mean of pixels; upright, the last column and row are parts of a block."""
    width, height = (320, 256) if orientation else (321, 251)
    file = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    smooth = Image.fromarray(COLOUR).resize((width, height), Image.Resampling.BICUBIC)
    smooth.save(file, quality=95, exif=exif)
    whole = read(file)
    found = picture(file)
    turned = orientation in (6, 8)
    assert found.size == whole.size == ((height, width) if turned else (width, height))
    assert found.scalable == (suffix == "jpg")
    for factor in FACTORS:
        small = picture(file).decode(factor)
        assert small.size == tuple(-(-side // factor) for side in whole.size)
        assert factor_of(whole.width, small) == factor
        exact = np.asarray(whole.reduce(factor), np.float32)
        assert np.abs(np.asarray(small, np.float32) - exact).mean() < 1.5
        assert small.tobytes() == found.decode(factor).tobytes()  # however often it is decoded


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_another_mode_is_rgb_at_any_factor(tmp_path: Path, mode: str) -> None:
    smooth = Image.fromarray(COLOUR).resize((120, 160), Image.Resampling.BICUBIC)
    smooth.convert(mode).save(tmp_path / "a.jpg", quality=95)
    whole = read(tmp_path / "a.jpg")
    for factor in FACTORS:
        small = pixels(picture(tmp_path / "a.jpg").decode(factor)).astype(np.float32)
        assert np.abs(small - np.asarray(whole.reduce(factor), np.float32)).mean() < 1.5


@pytest.mark.parametrize("factor", FACTORS)
def test_a_jpeg_cut_anywhere_is_an_error_at_any_factor(tmp_path: Path, factor: int) -> None:
    Image.fromarray(COLOUR).resize((400, 300)).save(tmp_path / "whole.jpg", quality=95)
    data = (tmp_path / "whole.jpg").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "cut.jpg").write_bytes(data[: int(share * len(data))])
        with pytest.raises(PictureError, match=r"cut.jpg: (truncated|not an image)"):
            picture(tmp_path / "cut.jpg").decode(factor)


def test_the_factor_is_the_largest_that_leaves_enough() -> None:
    found = [factor_leaving(side, 100) for side in (50, 100, 199.9, 200, 399, 400, 799, 800, 5000)]
    assert found == [1, 1, 1, 2, 2, 4, 4, 8, 32]
    assert factor_leaving(1000, 0) == 1


def test_a_decoded_picture_is_made_as_small_as_it_may() -> None:
    image = Image.fromarray(COLOUR).resize((33, 21))
    assert [Decoded(image).decode(f) for f in FACTORS] == [image] * 6
    assert [Decoded(image, coarsest=4).decode(f).size for f in FACTORS] == [
        (33, 21), (17, 11), (9, 6), (9, 6), (9, 6), (9, 6)
    ]  # fmt: skip


def test_other_formats_are_decoded_whole(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", 60).size == (640, 480)


def test_a_picture_outlives_its_file(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert image.resize((8, 8)).size == image.copy().rotate(90, expand=True).resize((8, 8)).size


def test_an_error_names_the_file_and_the_reason(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(COLOUR).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:-20])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in {
        "cut.jpg": "truncated", "text.jpg": "not an image", "empty.jpg": "empty file",
        "gone.jpg": "missing", "folder.jpg": "is a directory",
    }.items():  # fmt: skip
        with pytest.raises(PictureError, match=rf"{name}: {reason}$"):
            read(tmp_path / name)


def test_a_picture_of_too_many_pixels_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(PictureError, match="more than 0 million pixels"):
        read(tmp_path / "a.png")
