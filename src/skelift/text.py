"""Text as other programs write it: files in any encoding, and what exceptions say."""

import codecs
from pathlib import Path

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """A text file in whatever encoding it has, its lines ended by a line feed.

    Without a byte order mark it is UTF-16 where every other byte of its beginning is 0, else UTF-8,
    else Latin-1, which admits every byte.

    Raises:
        UnicodeDecodeError: it does not keep to the encoding of its byte order mark.
        OSError: it cannot be opened.
    """
    content = path.read_bytes()
    text = content.decode(_encoding(content))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    start = content[:64]
    if len(start) >= 4 and not any(start[1::2]):
        return "utf-16-le"
    if len(start) >= 4 and not any(start[::2]):
        return "utf-16-be"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def reason(error: Exception) -> str:
    """What an exception says, as a part of a line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 200 else f"{said[:200]} ..."
