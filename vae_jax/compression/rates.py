"""The sizes of the same examples in other programs."""

import io

import numpy as np


def other_sizes(stored: np.ndarray, *, are_bits: bool) -> dict[str, int | None]:
    """The bytes of examples as one PNG picture, by zstd and as they are.

    Args:
      stored: [N, *event], uint8, or counts.
      are_bits: whether they are zeros and ones, which are stored as bits.

    Returns:
      name -> bytes; None where the program is not installed, or the examples are no images.
    """
    raw = np.packbits(stored.astype(bool)) if are_bits else _smallest(stored)
    return {
        "png": _png(stored, are_bits),
        "zstd": _zstd(raw.tobytes()),
        "raw": raw.nbytes,
    }


def _smallest(stored: np.ndarray) -> np.ndarray:
    """Whole numbers in the smallest type that holds them."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if stored.max(initial=0) <= np.iinfo(kind).max:
            return stored.astype(kind)
    return stored.astype(np.uint64)


def _png(stored: np.ndarray, are_bits: bool) -> int | None:
    """All images below one another in one picture, which is smaller than a file for each."""
    if stored.ndim != 4 or stored.shape[-1] not in (1, 3) or stored.max(initial=0) > 255:
        return None
    from PIL import Image

    pixels = stored.reshape(-1, *stored.shape[2:]).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if stored.shape[-1] == 1 else pixels)
    if are_bits:
        picture = Image.fromarray(pixels[..., 0] > 0)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.tell()


def _zstd(content: bytes) -> int | None:
    try:
        import zstandard
    except ImportError:
        return None
    return len(zstandard.ZstdCompressor(level=19).compress(content))
