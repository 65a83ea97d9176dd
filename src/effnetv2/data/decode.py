"""Any picture file becomes upright 8-bit RGB, decoded no larger than needed.

Whatever is wrong with a file, one exception says so: `PictureError`.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from effnetv2.data.picture import BLOCK, FACTORS, Decoded, Picture, decoded

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".avif", ".jp2", ".ppm", ".pgm", ".pbm",
))
# fmt: on
"""File suffixes that count as pictures, in lower case."""


class PictureError(OSError):
    """A file that cannot be decoded; the message is `file: reason`."""


def rgb(image: Image.Image) -> Image.Image:
    """Return `image` (its first frame) as 8-bit RGB, turned upright; itself if it is that already.

    Transparency is laid on white. 16- and 32-bit integers are taken as 0..65535, floats as 0..1
    when none is larger than 1 and else as 0..255; values outside are clipped.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data or image.mode == "La":
        image = _on_white(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn is not None:
        image = image.transpose(turn)
        image.info = {}  # its orientation is spent: a second call must not turn it again
    return image


def picture(file: Path) -> Picture:
    """Return the picture in `file`; PictureError, here or when it is decoded, if it cannot be.

    Of a JPEG only the header is read yet, and it is decoded at the scale that is asked for, which
    costs a fraction of decoding all of it.
    """
    with _explained(file):
        image = _opened(file)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            return _Jpeg(file, image)
        return Decoded(rgb(image), coarsest=max(FACTORS))


def read(file: Path, at_least: int = 0) -> Image.Image:
    """Return the picture in `file` as RGB; PictureError when it cannot be decoded.

    A JPEG is decoded at the smallest of 1/1, 1/2, 1/4, 1/8 that leaves its short side
    `at_least` pixels (0: at 1/1).
    """
    return decoded(picture(file), at_least)


def fault(file: Path) -> str | None:
    """Return why `read` would fail on `file`, in a few words, or None when it would not.

    Finds what is missing or cut short. A JPEG damaged inside decodes, with grey or shifted blocks,
    and passes.
    """
    # Measured on 1600x1200 pictures, each cut at nine places. JPEG: decoding at 1/8 of the size
    # found every cut, as libjpeg must still read all of the coefficients, in 4.5 ms (at full size:
    # 7.9 ms); `verify` found none. PNG: `verify` compares every chunk with its checksum and found
    # every cut that costs pixels in 1.1 ms (decoding: 57 ms). `verify` misses GIF, BMP and TIFF.
    if file.suffix.lower() == ".png" and _checksums_hold(file):
        return None
    try:
        read(file, at_least=1)
    except PictureError as error:
        return str(error).removeprefix(f"{file}: ")
    return None


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


class _Jpeg:
    """A JPEG whose header has been read."""

    scalable = True

    def __init__(self, file: Path, image: Image.Image) -> None:
        self._file = file
        self._image: Image.Image | None = image
        width, height = image.size
        self.size = (height, width) if _orientation(image) in _SIDEWAYS else (width, height)

    def decode(self, factor: int = 1) -> Image.Image:
        with _explained(self._file):
            image = self._image or _opened(self._file)
            self._image = None  # it decodes once
            width, height = image.size
            scale = min(factor, BLOCK)
            if scale > 1 and image.draft("RGB", (width // scale, height // scale)):
                factor //= scale
            return rgb(image).reduce(factor) if factor > 1 else rgb(image)


def _opened(file: Path) -> Image.Image:
    # From bytes, so that a picture whose size alone is asked for leaves no file open.
    image = Image.open(io.BytesIO(file.read_bytes()))
    _check_size(image)
    return image


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # besides OSError, plugins let SyntaxError, struct.error... escape
        raise PictureError(f"{file}: {_reason(file, error)}") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises anything; the pixels are still good
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=255.0)
    scale = 255 / 65535
    if image.mode == "F":
        scale = 255.0 if values.max() <= 1 else 1.0
    return Image.fromarray((values * scale + 0.5).clip(0, 255).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _checksums_hold(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            _check_size(image)
            image.verify()
            return image.format == "PNG"
    except Exception:  # whatever it is, decoding will tell whether it matters
        return False


def _check_size(image: Image.Image) -> None:
    """Make an error of what Pillow only warns of: pictures of more pixels than it trusts."""
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


def _reason(file: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:  # it could not even be opened
        return "missing" if isinstance(error, FileNotFoundError) else error.strerror.lower()
    if file.stat().st_size == 0:
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {(Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels"
    if "truncated" in text.lower():
        return "truncated"
    return text or type(error).__name__
