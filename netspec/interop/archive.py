"""Zip archives that may be damaged or hostile: .npz files, and what `torch.save` writes.

Entries that are stored are mapped, not read. Before anything is used: every entry lies inside the file and
over no other one, no name comes twice, nothing is encrypted, and what is compressed may grow only so far.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

from netspec.diagnostics import WeightsError, escape

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
_GROWTH = 64
_ALWAYS_FINE = 1 << 30


def growth_limit(size: int) -> int:
    """Bytes that a file of this size may hold once it is unpacked."""
    return max(_ALWAYS_FINE, _GROWTH * size)


def map_file(path: Path) -> mmap.mmap:
    """The whole file, read-only, in memory as it is touched. Raises `WeightsError` if it is empty."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise WeightsError(f"{path}: the file is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Archive:
    """The entries of a zip file by name; raises `WeightsError` for an archive that is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = map_file(path)
        try:
            with zipfile.ZipFile(path) as file:
                entries = file.infolist()
                self._directory = file.start_dir
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            EOFError,
            struct.error,
            IndexError,
        ) as error:
            raise WeightsError(
                f"{path}: not a whole zip archive, it is truncated or damaged ({error})"
            ) from None
        self._entries: dict[str, tuple[zipfile.ZipInfo, int]] = {}
        self._check(entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """Names of the entries, in the archive's order."""
        return list(self._entries)

    def _check(self, entries: list[zipfile.ZipInfo]) -> None:
        unpacked = 0
        for info in entries:
            if info.filename in self._entries:
                self._refuse(f"has two entries {escape(info.filename)}")
            self._entries[info.filename] = (info, self._start(info))
            if info.compress_type != zipfile.ZIP_STORED:
                unpacked += info.file_size
        if unpacked > growth_limit(len(self.data)):
            self._refuse(f"would grow from {len(self.data):,} to {unpacked:,} bytes (a zip bomb)")
        end = 0
        for info, start in sorted(self._entries.values(), key=lambda entry: entry[1]):
            if info.header_offset < end:
                self._refuse(f"entry {escape(info.filename)} overlaps another one")
            end = start + info.compress_size
        if end > self._directory:
            self._refuse("an entry reaches beyond the data")

    def _start(self, info: zipfile.ZipInfo) -> int:
        """Where the entry's data begins, by its own header, which must agree with the directory."""
        name, at = escape(info.filename), info.header_offset
        if info.flag_bits & _ENCRYPTED:
            self._refuse(f"entry {name} is encrypted")
        if at < 0 or at + _LOCAL_HEADER.size > len(self.data):
            self._refuse(f"entry {name} lies outside the file")
        header = _LOCAL_HEADER.unpack_from(self.data, at)
        if header[0] != b"PK\x03\x04" or header[3] != info.compress_type:
            self._refuse(f"entry {name} has no header of its own")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._refuse(f"entry {name} is compressed by method {info.compress_type}; only deflate is read")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            self._refuse(f"entry {name} has two sizes, {info.compress_size} and {info.file_size} bytes")
        return int(at + _LOCAL_HEADER.size + header[9] + header[10])

    def size(self, name: str) -> int:
        """Bytes of an entry, unpacked."""
        return self._entries[name][0].file_size

    def place(self, name: str) -> int | None:
        """The first byte of an entry in `data`, None for one that is compressed."""
        info, start = self._entries[name]
        return start if info.compress_type == zipfile.ZIP_STORED else None

    def view(self, name: str, checksum: bool = False) -> Any:
        """An entry's bytes, mapped if they are stored.

        checksum: compare the CRC-32 too; `torch.save` can be told not to write one, so it is not for `.pt`.
        """
        info, start = self._entries[name]
        packed = memoryview(self.data)[start : start + info.compress_size]
        plain = packed if info.compress_type == zipfile.ZIP_STORED else self._inflate(info, packed)
        if checksum and zlib.crc32(plain) != info.CRC:
            self._refuse(f"entry {escape(name)} is damaged (its checksum differs)")
        return plain

    def _inflate(self, info: zipfile.ZipInfo, packed: memoryview) -> bytes:
        inflater = zlib.decompressobj(-15)
        try:
            plain = inflater.decompress(packed, info.file_size + 1)
        except zlib.error as error:
            self._refuse(f"entry {escape(info.filename)} is damaged ({error})")
        if len(plain) != info.file_size:
            self._refuse(
                f"entry {escape(info.filename)} does not unpack to the {info.file_size} bytes it claims"
            )
        return plain

    def _refuse(self, what: str) -> NoReturn:
        raise WeightsError(f"{self.path}: the archive is not safe to read: {what}")
