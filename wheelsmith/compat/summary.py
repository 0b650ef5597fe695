"""What decides where a wheel runs, small enough to be kept beside an index's record and to travel in an image.

In: values (`wheelsmith.compat.summarise` makes them), or the JSON that was made of a summary. Out: a `WheelSummary`,
which `wheelsmith.compat.judge` and everybody who asks it take. Alike translation units are counted, not listed. What
the serialised form leaves out (torch's symbols) is None after reading, so that nobody takes it for "needs none".
Imports the standard library and `wheelsmith.gpu` only, since it runs inside images. Fails with `ValueError` on JSON
that is not ours.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from wheelsmith.contract import Choice
from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.arch import Arch, ptx_runs_on, sass_runs_on
from wheelsmith.gpu.drivers import ptx_cuda

SCHEMA_VERSION = 3
_NAMED = 7  # one more than a sentence shows, so that it can say "and more"
_LOCAL = re.compile(r"(?:^|\.)cu(\d{2})(\d)(?:\.|$)")
_NAME = re.compile(r"(?:^|-)(?:cu|cuda)(\d{2})(?:\d|x)?(?:-|$)")
_REQUIRED = re.compile(r"\s*([A-Za-z0-9._-]*[A-Za-z0-9])\s*(?:\[[^]]*\])?([^;]*)(?:;(.*))?", re.DOTALL)
_OF_CUDA = frozenset({"nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "cuda-toolkit"})  # their versions are CUDA's own
_AT_LEAST = re.compile(r"(?:===?|~=|>=?)\s*(1\d)\b")


@dataclass(frozen=True, slots=True)
class Code:
    """One piece of GPU code in each of some translation units that are alike.

    Attributes:
        kind: `sass`: machine code; `ptx`: the driver compiles it.
        arch: the compute capability that it was compiled for, as the code itself says.
        label: what the fatbin around it says, if that is something else: the runtime chooses by it.
        isa: version of the PTX language; None unless `ptx`.
        cuda: the CUDA release of the compiler that wrote it, `13.0`; None: not known.
        size: bytes, over all the units.
        kernels: kernels of a unit that it holds with a body; None: not looked into.
        missing: kernels that another piece of the unit has a body for, and this one has not at all, though the program
            may launch them: it registers them with the runtime.
        stubs: kernels that another piece of the unit has a body for, and this one has with an empty or a trapping one;
            and those that it has not at all and of which nothing says that they are launched.
        lost: names of some of these.
        unread: whether nothing in it could be read: then only its label tells of it.
    """

    kind: Literal["sass", "ptx"]
    arch: Arch
    isa: str | None = None
    label: Arch | None = None
    cuda: str | None = None
    size: int = 0
    kernels: int | None = None
    missing: int = 0
    stubs: int = 0
    lost: tuple[str, ...] = ()
    unread: bool = False

    @property
    def major(self) -> int | None:
        """Major version of the CUDA release that wrote it."""
        return int(self.cuda.partition(".")[0]) if self.cuda else None

    @property
    def hollow(self) -> bool:
        """Whether it is known to hold none of the kernels of its unit with a body."""
        return self.kernels == 0

    def runs_on(self, gpu: Arch) -> bool:
        """Whether the runtime may choose it for a GPU, and the GPU (or for PTX, its driver) takes it."""
        runs = sass_runs_on if self.kind == "sass" else ptx_runs_on
        return runs(self.arch, gpu) and (self.label is None or runs(self.label, gpu))


@dataclass(frozen=True, slots=True)
class Units:
    """Translation units of one library that hold the same kinds of code.

    Attributes:
        count: how many they are.
        code: what each of them holds.
        kernels: names of some kernels.
        loose: it is no translation unit but all plain cubins and PTX of a library, or of a wheel's files of data: the
            program itself says which it loads. Each piece counts with what else runs where it does.
    """

    count: int
    code: tuple[Code, ...]
    kernels: tuple[str, ...] = ()
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Library:
    """One library.

    Attributes:
        path: inside the wheel.
        units: its GPU code.
        glibc: highest GLIBC version that it needs.
        glibcxx: highest GLIBCXX version, likewise; None: none, or not kept.
        cxxabi: highest CXXABI version, likewise.
        cudart: major version of the CUDA runtime that it needs as a library; None: none, or linked statically.
        torch_symbols: what torch's libraries must define; None: not kept.
        offered: the symbols in torch's namespaces that it defines for its neighbours.
        linked: translation units beside `units` that hold LTO IR alone: it runs only after another link.
    """

    path: str
    units: tuple[Units, ...] = ()
    glibc: str | None = None
    cudart: int | None = None
    torch_symbols: tuple[str, ...] | None = None
    offered: tuple[str, ...] = ()
    glibcxx: str | None = None
    cxxabi: str | None = None
    linked: int = 0

    @property
    def loose(self) -> bool:
        """Whether all its GPU code is plain cubins and PTX."""
        return bool(self.units) and all(group.loose for group in self.units)

    @property
    def cuda(self) -> int | None:
        """Major version of the newest CUDA release that it is of, its code or the runtime that it needs, as far as the
        library itself tells: a driver loads neither if it is of an older major release."""
        code = [item for group in self.units for item in group.code]
        written = [item.major for item in code if item.major]
        # PTX names the release that defined its version; a compiler may write an older one, so the least counts.
        defined = [int(text.partition(".")[0]) for item in code if (text := ptx_cuda(item.isa or "0.0"))]
        newest = max((*written, *([self.cudart] if self.cudart else [])), default=None)
        return newest or min(defined, default=None)


@dataclass(frozen=True, slots=True)
class WheelSummary:
    """One wheel, folder or library.

    Attributes:
        filename: of the wheel.
        sha256: of the file, hex; None for a folder.
        name: normalized project name; None outside a wheel.
        version: with its local part; None outside a wheel.
        requires: `Requires-Dist` as METADATA spells it.
        libraries: every library that can be loaded, by path.
        unjudged: path of everything that may hold GPU code and cannot be read, and why.
        problem: why nothing else is known, one sentence; None: it was read.
        choices: what it chooses among when it runs, as it says itself.
    """

    filename: str
    sha256: str | None = None
    name: str | None = None
    version: str | None = None
    requires: tuple[str, ...] = ()
    libraries: tuple[Library, ...] = ()
    unjudged: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    choices: tuple[Choice, ...] = ()

    @property
    def has_code(self) -> bool:
        """Whether any library holds GPU code with kernels."""
        return any(library.units for library in self.libraries)

    @property
    def sizes(self) -> dict[tuple[str, str], int]:
        """Bytes of GPU code by kind and arch, over all libraries, sorted."""
        found: dict[tuple[str, Arch], int] = {}
        for code in (code for library in self.libraries for group in library.units for code in group.code):
            found[code.kind, code.arch] = found.get((code.kind, code.arch), 0) + code.size
        ordered = sorted(found.items(), key=lambda item: (item[0][0] != "sass", item[0][1]))
        return {(kind, str(arch)): size for (kind, arch), size in ordered}

    @property
    def glibc(self) -> str | None:
        """Highest GLIBC version that a library needs."""
        needed = [library.glibc for library in self.libraries if library.glibc]
        return max(needed, key=lambda text: tuple(map(int, text.split("."))), default=None)

    @property
    def cuda(self) -> str | None:
        """The CUDA release (`12.8`) or major release (`12`) that it was built with, and None if nothing tells: its
        local version, else the runtime that it needs, else its own code, else its name, else its requirements."""
        if found := _LOCAL.search((self.version or "").partition("+")[2]):
            return f"{found[1]}.{found[2]}"
        told = max((library.cuda for library in self.libraries if library.cuda), default=None)
        if told is not None:
            return str(told)
        if found := _NAME.search(self.name or ""):
            return found[1]
        majors = [major for text in self.requires if (major := _required_cuda(text)) is not None]
        return str(max(majors)) if majors else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values; torch's symbols are left out."""
        return {
            "schema_version": SCHEMA_VERSION,
            "filename": self.filename,
            "sha256": self.sha256,
            "name": self.name,
            "version": self.version,
            "requires": list(self.requires),
            "libraries": [
                {
                    "path": library.path,
                    "glibc": library.glibc,
                    "glibcxx": library.glibcxx,
                    "cxxabi": library.cxxabi,
                    "cudart": library.cudart,
                    "linked": library.linked,
                    "units": [
                        {
                            "count": group.count,
                            "code": [_slim(code) for code in group.code],
                            "kernels": list(group.kernels[:_NAMED]),
                            "loose": group.loose,
                        }
                        for group in library.units
                    ],
                }
                for library in self.libraries
            ],
            "unjudged": [list(item) for item in self.unjudged],
            "problem": self.problem,
            "choices": [choice.to_dict() for choice in self.choices],
        }


def from_dict(data: dict[str, Any]) -> WheelSummary:
    """Read what `WheelSummary.to_dict` made.

    Raises:
        ValueError: it is something else, or of another schema version.
    """
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"a wheel's summary of another schema version than {SCHEMA_VERSION}")
    try:
        return WheelSummary(
            filename=data["filename"],
            sha256=data["sha256"],
            name=data["name"],
            version=data["version"],
            requires=tuple(data["requires"]),
            libraries=tuple(_library(item) for item in data["libraries"]),
            unjudged=tuple((path, why) for path, why in data["unjudged"]),
            problem=data["problem"],
            choices=tuple(Choice.from_dict(item) for item in data.get("choices", ())),
        )
    except (KeyError, TypeError, AttributeError, UnknownGpuError) as error:
        raise ValueError(f"no wheel's summary: {error}") from error


def _required_cuda(requirement: str) -> int | None:
    """The major CUDA release that a requirement without an extra names, or the oldest that it admits."""
    found = _REQUIRED.match(requirement)
    if found is None or "extra" in (found[3] or ""):
        return None
    name = re.sub(r"[-_.]+", "-", found[1]).lower()
    told = _NAME.search(name) or (_AT_LEAST.search(found[2]) if name in _OF_CUDA else None)
    return int(told[1]) if told else None


def _slim(code: Code) -> dict[str, Any]:
    """The fields that are not as by default."""
    plain = {field.name: getattr(code, field.name) for field in dataclasses.fields(code)}
    kept = {name: value for name, value in plain.items() if value not in (None, 0, (), False) or name == "kernels"}
    if code.lost:
        kept["lost"] = list(code.lost[:_NAMED])
    return {**kept, "arch": str(code.arch)} | ({"label": str(code.label)} if code.label else {})


def _library(data: dict[str, Any]) -> Library:
    return Library(
        data["path"],
        tuple(_units(data["units"])),
        data["glibc"],
        data["cudart"],
        glibcxx=data.get("glibcxx"),
        cxxabi=data.get("cxxabi"),
        linked=data.get("linked", 0),
    )


def _units(groups: Iterable[dict[str, Any]]) -> Iterator[Units]:
    for group in groups:
        code = tuple(_code_of(item) for item in group["code"])
        yield Units(int(group["count"]), code, tuple(group["kernels"]), bool(group["loose"]))


def _code_of(item: dict[str, Any]) -> Code:
    label = Arch.parse(item["label"]) if "label" in item else None
    return Code(**{**item, "arch": Arch.parse(item["arch"]), "label": label, "lost": tuple(item.get("lost", ()))})
