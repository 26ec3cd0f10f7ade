"""Paths of the user as text for a message of one line."""

import os


def named(path: str | os.PathLike) -> str:
    """The path as it is, or in quotes with escapes if a line of text cannot hold it.

    A file name may hold line breaks, and bytes that are no text, which no terminal can print.
    """
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)
