"""The one file of a backup: a tar whose first member is the manifest, and which says where it is damaged."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, Final

from energymarket.archive import manifest as manifests
from energymarket.archive.manifest import HOMES, MANIFEST, BackupDamaged, Manifest, Member
from energymarket.exits import Failure, NoSuchObject
from energymarket.scenario import cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from energymarket.archive.progress import Told

CHUNK_BYTES: Final = 1 << 20
NAMES: Final = re.compile(
    r"configuration\.toml|scenario/[\w-][\w.-]*|homes/(?:shard-\d+-\d+|home-\d+)\.state|market/ledger\.db"
)
"""What a member may be called: nothing in a backup ends outside the directory that it is unpacked into."""

_BROKEN: Final = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, OverflowError)
_GZIP: Final = b"\x1f\x8b"


def member_of(root: Path, name: str) -> Member:
    """What the manifest says of a file."""
    path = root / name
    with path.open("rb") as file:
        return Member(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write(path: Path, manifest: Manifest, root: Path, made_s: int, told: Told) -> None:
    """Write the members below `root` into a new file, for its owner only; durable when this returns."""
    total, done = sum(member.bytes for member in manifest.members), 0
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            packed = manifest.pack()
            tar.addfile(_head(MANIFEST, len(packed), made_s), io.BytesIO(packed))
            for member in manifest.members:
                with (root / member.name).open("rb") as file:
                    tar.addfile(_head(member.name, member.bytes, made_s), file)
                done += member.bytes
                told("writing", done, total)
        out.flush()
        os.fsync(out.fileno())


def _head(name: str, size_bytes: int, made_s: int) -> tarfile.TarInfo:
    """The same files give the same bytes, whoever packs them."""
    head = tarfile.TarInfo(name)
    head.size, head.mtime, head.mode = size_bytes, made_s, 0o600
    return head


def _strange(manifest: Manifest) -> Iterator[str]:
    """Every name in a manifest that could lead out of the backup's own directories, or that lies."""
    names: set[str] = set()
    for member in manifest.members:
        if not NAMES.fullmatch(member.name) or member.name in names or member.bytes < 0:
            yield member.name
        names.add(member.name)
    for each in manifest.ranges:
        if each.file not in names or not each.file.startswith(f"{HOMES}/") or each.first < 1:
            yield each.file
    if not cache.NAME.fullmatch(manifest.compiled_name):
        yield manifest.compiled_name


class Tarball:
    """A backup to be read, also one that was packed by gzip since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest

    def open(self) -> Tarball:
        """Read the manifest. Raises NoSuchObject, BackupDamaged, Failure (a newer format)."""
        if not self.path.is_file():
            raise NoSuchObject(f"{self.path}: no backup here", "energyctl ledger backup makes one")
        try:
            with self._tar() as tar:
                head = tar.next()
                if head is None or head.name != MANIFEST or not 0 < head.size <= manifests.BYTES_MAX:
                    raise BackupDamaged(f"{self.path} is no backup: it does not begin with a manifest")
                data = _stream(tar, head).read()
        except _BROKEN as error:
            raise BackupDamaged(f"{self.path} is no backup that can be read: {error}") from error
        self.manifest = manifests.unpack(data, str(self.path))
        for name in _strange(self.manifest):
            raise Failure(f"{self.path}: what is {name!r} in it?", "nothing was changed")
        return self

    def _tar(self) -> tarfile.TarFile:
        with self.path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        return tarfile.open(self.path, "r:gz") if packed else tarfile.open(self.path, "r:")

    def unpack(self, directory: Path, told: Told) -> None:
        """Unpack every member and compare it with the manifest; durable when this returns.

        Raises BackupDamaged at the first that differs.
        """
        total, done = sum(member.bytes for member in self.manifest.members), 0
        try:
            with self._tar() as tar:
                tar.next()
                for member in self.manifest.members:
                    self._unpack(tar, member, directory)
                    done += member.bytes
                    told("unpacking", done, total)
                if tar.next() is not None:
                    raise BackupDamaged(f"{self.path} holds more than its manifest says")
        except _BROKEN as error:
            raise BackupDamaged(f"{self.path} is damaged: {error}") from error

    def _unpack(self, tar: tarfile.TarFile, member: Member, directory: Path) -> None:
        head = tar.next()
        if head is None or (head.name, head.size) != (member.name, member.bytes):
            found = "nothing" if head is None else f"{head.name} of {head.size} bytes"
            raise BackupDamaged(f"{self.path}: {found} where {member.name} of {member.bytes} bytes should be")
        path = directory / member.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            source = _stream(tar, head)
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != member.sha256:
            raise BackupDamaged(f"{self.path}: {member.name} is not what was written")


def _stream(tar: tarfile.TarFile, head: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(head) if head.isreg() else None
    if source is None:
        raise BackupDamaged(f"{tar.name!s}: {head.name} is no file")
    return source


def room_for(members: Sequence[Member]) -> int:
    """Bytes that unpacked members take."""
    return sum(member.bytes for member in members)
