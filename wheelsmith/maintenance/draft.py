"""A recipe's first draft: what a project's files tell, and a mark in place where they do not.

In: a `Project` and where its source comes from. Out: a `Draft`, whose text plans. Nothing fails. A line that ends in
`# undecided: …` is a guess that somebody must look at; `wheelsmith recipes check` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelsmith.gpu.facts import torch_cuda
from wheelsmith.maintenance.lock import quoted
from wheelsmith.maintenance.project import Project
from wheelsmith.sources.switches import Switch, read_script

#: What stands before a mark.
UNDECIDED = "# undecided: "
_ARCHS = "8.6;12.0"
_CUDA, _TORCH = "13.0", "2.11.0"
_FIRST_CUDA = "12.8"  # that compiles for 12.0
_TORCH_LIBRARIES = (
    "libtorch*",
    "libc10*",
    "libcudart.so*",
    "libcublas*",
    "libcusparse*",
    "libcusolver*",
    "libcurand*",
    "libcufft*",
    "libcudnn*",
    "libnvrtc*",
    "libcuda.so.1",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted recipe.

    Attributes:
        name: of the recipe, and of its file.
        version: the release that it pins.
        text: TOML.
        notes: what was found out, one sentence each.
    """

    name: str
    version: str
    text: str
    notes: tuple[str, ...]

    @property
    def undecided(self) -> tuple[tuple[int, str], ...]:
        """Line numbers and texts of what is left to a person."""
        return marks(self.text)


def marks(text: str) -> tuple[tuple[int, str], ...]:
    """Where a recipe's text says that something is undecided, and what."""
    found = enumerate(text.splitlines(), start=1)
    return tuple((number, line.partition(UNDECIDED)[2].strip()) for number, line in found if UNDECIDED in line)


def make_draft(project: Project, *, source: str, name: str = "", version: str = "") -> Draft:
    """Write a recipe for a project.

    Args:
        project: what its files say.
        source: the table of the release's source as TOML, behind `[releases."1.0".source.`.
        name: of the package, where the project does not say it.
        version: of the release, where the project does not say it.
    """
    name = canonicalize_name(project.name or name)
    version = _version(version or project.version)
    blocks = [
        "\n".join(_head(project, name, version)),
        "\n".join(_defaults(project)),
        "\n".join(_build(project, name)),
        *_patches(project, version),
        "\n".join(_wheel(project)),
        *_libraries(project),
        f'[releases."{version}".source.{source}',
    ]
    if project.missing:
        mark = f"{UNDECIDED}setup.py names {project.missing[0]}, which is not in this source: take the git repository"
        blocks.insert(-1, mark)
    text = "\n\n".join(block.strip() for block in blocks if block) + "\n"
    return Draft(name, version, text, tuple(_notes(project)))


def _version(text: str) -> str:
    try:
        return Version(text).public
    except InvalidVersion:
        return "0"


def _head(project: Project, name: str, version: str) -> Iterator[str]:
    kinds = {
        "torch": "a torch.utils.cpp_extension project",
        "cmake": "built with CMake",
        "other": "a build of its own",
        "none": "no compiled code was found",
    }
    yield f"# {name}: drafted by `wheelsmith recipes new`; {kinds[project.kind]}, backend {project.backend}."
    yield "schema_version = 1"
    yield f"name = {quoted(name)}"
    yield f"summary = {quoted(project.summary or name)}"
    release = Version(version)
    yield f'versions = ">={release.public},<{release.release[0] + 1}"'
    if project.python:
        try:
            yield f"python = {quoted(str(SpecifierSet(project.python)))}"
        except InvalidSpecifier:
            yield f'python = ">=3.9" {UNDECIDED}the project says {project.python!r}, which is no specifier'


def _defaults(project: Project) -> Iterator[str]:
    yield "[defaults]"
    yield f'archs = "{_ARCHS}"'
    torch, mark = _torch(project)
    cuda = (torch_cuda(torch) if torch else None) or _CUDA
    # The extension's toolkit may be newer than torch's, of the same major version.
    yield f'cuda = "{max(cuda, _FIRST_CUDA, key=Version) if cuda.startswith("12.") else cuda}"'
    if torch:
        yield f'torch = "{torch}"{mark}'


def _torch(project: Project) -> tuple[str, str]:
    """The torch to build with: what the project pins, else the newest that this was written for."""
    if not project.torch:
        return "", ""
    pin = project.torch_pin
    if not pin:
        return _TORCH, ""
    exact = [item.version for item in SpecifierSet(pin) if item.operator == "==" and not item.version.endswith("*")]
    if exact:
        return exact[0].partition("+")[0], ""
    if SpecifierSet(pin).contains(_TORCH):
        return _TORCH, ""
    for minor in range(20, -1, -1):
        if SpecifierSet(pin).contains(f"2.{minor}.0"):
            return f"2.{minor}.0", f" {UNDECIDED}the newest that the project's torch{pin} takes, as far as is known"
    return _TORCH, f" {UNDECIDED}the project asks for torch{pin}"


def _build(project: Project, name: str) -> Iterator[str]:
    yield "[build]"
    items = ", ".join(quoted(text) for text in project.requires)
    yield f"requires = [{items}]"
    if project.cuda_libraries and not project.torch:
        yield "cuda_libraries = true # its sources include cuBLAS, cuRAND or their like"
    if project.backend.startswith("scikit_build_core"):
        yield ""
        yield "[build.config_settings]"
        yield "# A fixed build directory lets ninja continue after an interruption."
        yield 'build-dir = "build"'
        yield '"cmake.define.CMAKE_CUDA_ARCHITECTURES" = "{archs_cmake}"'
    variables = list(_variables(project))
    if variables:
        yield ""
        yield "[build.env]"
        yield from variables


def _variables(project: Project) -> Iterator[str]:
    for switch in project.switches:
        where = f"{switch.where} reads it"
        match switch.meaning:
            case "force":
                yield from _forced(switch, where)
            case "archs" if switch.name not in {"TORCH_CUDA_ARCH_LIST", "CUDAARCHS"}:
                yield f'{switch.name} = "{_as_switch(switch)}" {UNDECIDED}{where}: in which form?'
            case "skip" if re.search(r"['\"](?:1|ON|TRUE|True)['\"]\s*\)", switch.line):
                yield f'{switch.name} = "0" {UNDECIDED}{where}, and takes it as on if it is not set'
            case "skip":
                yield f"# {switch.name}: {where}; not set"
            case "jobs" if "THREADS" in switch.name:
                yield f'{switch.name} = "1" # {where}: the number of jobs alone shall decide'


def _forced(switch: Switch, where: str) -> Iterator[str]:
    if re.search(r"FORCE_ONLY|_SKIP_|CXX11", switch.name):
        yield f"# {switch.name}: {where}; not set"
        return
    value = "TRUE" if re.search(r"['\"](?:TRUE|FALSE)['\"]", switch.line) else "1"
    yield f'{switch.name} = "{value}" # {where}: without it, what is built depends on the machine'


def _as_switch(switch: Switch) -> str:
    return "{archs_cmake}" if "CMAKE" in switch.name else "{archs_torch}"


def _patches(project: Project, version: str) -> Iterator[str]:
    """Edits that take archs out of setup.py which torch would else take from TORCH_CUDA_ARCH_LIST."""
    setup = read_script(project.directory / "setup.py")
    lines = [item for item in project.gencodes if item.where.startswith("setup.py:")]
    yield from _asks_for_a_gpu(project)
    yield from _one_after_another(project, setup, version)
    if project.kind != "torch" or not lines:
        return
    archs = ", ".join(dict.fromkeys(arch for item in lines for arch in item.archs))
    holder = re.search(r"(\w+)\.append\(\s*f?['\"]-gencode", setup)
    uses = re.findall(rf"\s*\+\s*{holder[1]}\b", setup) if holder else []
    if holder and uses:
        yield f"""\
[[patch]]
why = "setup.py names archs itself ({archs}); without them torch takes those that are asked for"
versions = "=={version}"
file = "setup.py"
find = '''+ {holder[1]}'''
replace = ""
count = {setup.count(f"+ {holder[1]}")}"""
        return
    yield f"{UNDECIDED}archs {archs} are written into {lines[0].where} ({lines[0].line}): patch them out"


def _one_after_another(project: Project, setup: str, version: str) -> Iterator[str]:
    """An edit where setup.py turns off ninja: setuptools starts one compiler at a time, whatever the machine has."""
    found = re.findall(r"use_ninja\s*=\s*False", setup)
    if project.kind == "torch" and found:
        yield f"""\
[[patch]]
why = "without ninja one unit is compiled after the other"
versions = "=={version}"
file = "setup.py"
find = '''{found[0]}'''
replace = '''{found[0].replace("False", "True")}'''
count = {setup.count(found[0])}
"""


def _asks_for_a_gpu(project: Project) -> Iterator[str]:
    """A mark where setup.py builds for what the machine has, and no variable says otherwise."""
    if any(switch.meaning == "force" for switch in project.switches) or project.kind != "torch":
        return
    setup = read_script(project.directory / "setup.py")
    for number, line in enumerate(setup.splitlines(), start=1):
        if "cuda.is_available()" in line.partition("#")[0]:
            what = f"setup.py:{number} asks for a GPU, which compiling does not need ({line.strip()})"
            yield f"{UNDECIDED}{what}: patch it out"
            return


def _wheel(project: Project) -> Iterator[str]:
    yield "[wheel]"
    if project.torch:
        yield "strip = true # Python's own CFLAGS say -g: megabytes of debug information"
    names = _TORCH_LIBRARIES if project.torch else ("libcuda.so.1",)
    yield f"exclude = [{', '.join(map(quoted, names))}]"
    shown = ", ".join(map(quoted, project.packages[:1]))
    yield f"imports = [{shown}]" + ("" if project.packages else f" {UNDECIDED}no package was found in the source")
    if project.torch and project.torch_pin.startswith("=="):
        yield f"torch = {quoted(project.torch_pin)}"


def _libraries(project: Project) -> Iterator[str]:
    if project.kind == "none" or (not project.cuda_files and project.kind != "cmake"):
        doubt = f"{UNDECIDED}no CUDA source was found: is there GPU code?"
        code = "# no compiled code" if project.kind == "none" else doubt
        yield f'[[library]]\npath = "*"\ncode = "none" {code}\noptional = true'


def _notes(project: Project) -> Iterator[str]:
    count = len(project.cuda_files)
    yield f"{count} CUDA file{'' if count == 1 else 's'}; backend {project.backend}"
    if project.gencodes:
        archs = ", ".join(sorted({arch for item in project.gencodes for arch in item.archs}))
        yield f"archs are written into the build scripts: {archs} (first at {project.gencodes[0].where})"
    for switch in project.switches:
        yield f"{switch.name} ({switch.meaning}) is read at {switch.where}"
    yield from (f"further sources would be fetched: {place}" for place in project.clones[:8])
    yield from (f"something would be downloaded: {place}" for place in project.downloads[:4])
    yield from (f"the submodule {path} is empty here" for path in project.empty)
    for text in project.depends:
        if text.startswith("torch") and Requirement(text).specifier:
            yield f"its metadata require {text}"
