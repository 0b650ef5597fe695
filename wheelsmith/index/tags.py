"""Whether a wheel keeps what its file name promises: the tags in it, and what its libraries are made for.

In: an opened wheel. Out: nothing. Fails with `InvalidWheelError` on a wheel that lies. Rules: the binary distribution
format (the tags in WHEEL are those of the file name, expanded; platform `any` is for wheels without machine code) and
PEP 600 (manylinux_X_Y: no symbol newer than glibc X.Y; the architecture is the last part of the platform tag).

Root-Is-Purelib is not held against the tags. It says into which of two folders a wheel is unpacked, which are the same
one on all but a few systems: pip and uv install a wheel with a platform tag that states `true`, and such wheels exist.
A value that is neither true nor false is refused, because installers then differ.
"""

from __future__ import annotations

import re
from email.parser import BytesParser
from typing import TYPE_CHECKING, Literal

from packaging.tags import parse_tag

from wheelsmith.binary.elf import ELF_MAGIC, read_elf
from wheelsmith.errors import InvalidWheelError
from wheelsmith.wheel.archive import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zipfile import ZipInfo

    from wheelsmith.wheel.archive import Archive

_MANYLINUX = re.compile(r"-manylinux_(\d+)_(\d+)_\w+$")
_LEGACY = {"-manylinux1_": (2, 5), "-manylinux2010_": (2, 12), "-manylinux2014_": (2, 17)}  # PEP 600
_LINUX = re.compile(r"-(?:linux|(?:many|musl)linux(?:\d+|_\d+_\d+))_(\w+)$")
_LIBRARY = re.compile(r"\.so(?:\.\d+)*$")
# Names that platform tags use, by e_machine of the ELF header (System V ABI and each processor's supplement to it)
_MACHINES = {
    3: frozenset({"i386", "i486", "i586", "i686"}),
    20: frozenset({"ppc"}),
    21: frozenset({"ppc64", "ppc64le"}),
    22: frozenset({"s390x"}),
    40: frozenset({"armv6l", "armv7l", "armv8l"}),
    62: frozenset({"x86_64"}),
    183: frozenset({"aarch64"}),
    243: frozenset({"riscv64"}),
    258: frozenset({"loongarch64"}),
}
_DEVICES = frozenset({190, 224, 247})  # CUDA, AMD GPU, BPF: code for no host, so it may lie beside any host's
_HEAD = 20  # bytes of an ELF file up to the end of e_machine


def check_tags(archive: Archive) -> None:
    """Compare the tags of the file name with those in WHEEL.

    Raises:
        InvalidWheelError: they are not the same, or Root-Is-Purelib is neither true nor false.
    """
    wheel = BytesParser().parsebytes(archive.text("WHEEL"), headersonly=True)
    inside = {str(tag) for line in wheel.get_all("Tag", []) for tag in parse_tag(line.strip())}
    if inside != set(archive.tags):
        raise invalid(
            archive.path.name,
            f"its WHEEL states the tags {', '.join(sorted(inside)) or 'none'}, its name {', '.join(archive.tags)}",
        )
    pure = wheel.get_all("Root-Is-Purelib", [])
    if [str(value).strip().lower() for value in pure] not in (["true"], ["false"]):
        raise invalid(archive.path.name, f"its WHEEL states Root-Is-Purelib {', '.join(map(str, pure)) or 'nowhere'}")


def check_members(archive: Archive) -> None:
    """Unpack every member once, and hold libraries against what the wheel's tags promise.

    Raises:
        InvalidWheelError: a member is damaged; a library lies in a wheel for any platform, is of another processor
            than the tag says, or needs a newer glibc.
    """
    promised = _promised_glibc(archive.tags)
    processors = _processors(archive.tags)
    for member in archive.members:
        chunks = archive.chunks(member)
        head = b""
        while len(head) < _HEAD and (chunk := next(chunks, b"")):
            head += chunk
        machine = _machine(head) if head.startswith(ELF_MAGIC) else None
        is_library = machine is not None or (head and _LIBRARY.search(member.filename))
        if is_library and machine not in _DEVICES:
            _check_platform(archive, member, machine, processors)
        if machine is not None and machine not in _DEVICES and promised:
            _check_glibc(archive, member, promised)
        else:
            for _ in chunks:
                pass


def _machine(head: bytes) -> int:
    """`e_machine` of the ELF file that starts with `head`."""
    order: Literal["big", "little"] = "big" if head[5:6] == b"\2" else "little"
    return int.from_bytes(head[18:_HEAD], order)


def _check_platform(archive: Archive, member: ZipInfo, machine: int | None, processors: frozenset[str]) -> None:
    """Refuse a library whose processor the tags do not name; `machine` is None for what is no ELF file."""
    if any(tag.endswith("-any") for tag in archive.tags):
        raise invalid(archive.path.name, f"it is for any platform, and {member.filename} is a library of one")
    known = _MACHINES.get(machine or 0, frozenset())
    if machine is not None and processors and not processors & known:
        made = " or ".join(sorted(known)) or f"the unknown processor {machine}"
        raise invalid(
            archive.path.name, f"{member.filename} is for {made}, and its tag says {', '.join(sorted(processors))}"
        )


def _check_glibc(archive: Archive, member: ZipInfo, promised: tuple[int, int]) -> None:
    with archive.opened(member) as (window, _):
        try:
            facts = read_elf(window)
        except InvalidWheelError as error:
            raise invalid(archive.path.name, f"{member.filename} cannot be read ({error.cause.rstrip('.')})") from error
    needed = tuple(map(int, facts.glibc.split("."))) if facts and facts.glibc else ()
    if facts and needed > promised:
        major, minor = promised
        raise invalid(
            archive.path.name, f"{member.filename} needs glibc {facts.glibc}, and its tag promises {major}.{minor}"
        )


def _processors(tags: Iterable[str]) -> frozenset[str]:
    """The processors that Linux platform tags name; empty if there is no such tag."""
    return frozenset(match[1] for tag in tags if (match := _LINUX.search(tag)))


def _promised_glibc(tags: Iterable[str]) -> tuple[int, int] | None:
    """The oldest glibc of all manylinux tags, or None if there is none."""
    found: list[tuple[int, int]] = []
    for tag in tags:
        if match := _MANYLINUX.search(tag):
            found.append((int(match[1]), int(match[2])))
        found += [glibc for name, glibc in _LEGACY.items() if name in tag]
    return min(found, default=None)
