"""The file of a compression: what it holds, and the model that reads it."""

import json
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import BadInputError

_MAGIC = b"vae_jax compressed 1\n"
_LENGTH = struct.Struct("<IQ")  # of the header and of the words


class Archive(NamedTuple):
    """A compressed array.

    Attributes:
      header: facts, as JSON takes them: the model, the shape and the kind of the examples, and how
        they were coded.
      words: uint32, the stack of bits.
    """

    header: dict[str, Any]
    words: np.ndarray

    def to_bytes(self) -> bytes:
        """The content of the file, with a checksum at its end."""
        header = json.dumps(self.header, separators=(",", ":")).encode()
        words = np.asarray(self.words, "<u4").tobytes()
        content = _MAGIC + _LENGTH.pack(len(header), len(words)) + header + words
        return content + struct.pack("<I", zlib.crc32(content))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The file") -> "Archive":
        """The archive of a file's content. name: the file in messages.

        Raises:
          BadInputError: it is no such file, or is cut off or damaged.
        """
        if not data.startswith(_MAGIC):
            raise BadInputError(f"{name} is no compressed file of vae_jax.")
        start = len(_MAGIC) + _LENGTH.size
        if len(data) < start:
            raise BadInputError(f"{name} is cut off: it ends within its first bytes.")
        num_header, num_words = _LENGTH.unpack(data[len(_MAGIC) : start])
        wanted = start + num_header + num_words + 4
        if len(data) != wanted:
            what = "is cut off" if len(data) < wanted else "is damaged"
            raise BadInputError(f"{name} {what}: it has {len(data):,} bytes instead of {wanted:,}.")
        content, (checksum,) = data[:-4], struct.unpack("<I", data[-4:])
        if zlib.crc32(content) != checksum:
            raise BadInputError(f"{name} is damaged: its checksum is another one.")
        header = json.loads(data[start : start + num_header])
        return cls(header, np.frombuffer(content[start + num_header :], "<u4").astype(np.uint32))
