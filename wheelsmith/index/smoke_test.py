"""The last proof: a wheel installs from the index into an empty environment, and imports.

In: a requirement, the index's root, a Python and modules to import. Out: `TryoutResult`. The package comes
from the index through its pages; what it depends on comes from pip's own default index, except for names that
our index holds: those are nailed to our files by URL and hash, so pip never looks for them elsewhere. An environment
`over` that of the running interpreter takes what the wheel depends on from there. Fails with `InstallError`, which
carries the tool's own words. The environment is removed in every case.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from wheelsmith.errors import InstallError
from wheelsmith.events import Listener, Note, StageDone, StageStarted, ignore
from wheelsmith.index.client_process import clean_environment, client_environment, run_tool
from wheelsmith.index.constraints import Distribution, Environment, constraints, needed
from wheelsmith.index.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAGE = "index"
_PROBE = Path(__file__).with_name("smoke_probe.py")
_IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class TryoutResult:
    """What was proved.

    Attributes:
        python: version of the interpreter, `3.12.11`.
        installed: `name==version` of all that was installed, sorted; without pip and what came with it.
        imported: the modules that were imported, each in a process of its own.
        smoke: whether the recipe's smoke test ran, and ended well.
        seconds: the whole try-out.
    """

    python: str
    installed: tuple[str, ...]
    imported: tuple[str, ...]
    smoke: bool
    seconds: float


def try_install(
    requirement: str,
    index_root: Path,
    *,
    python: Path | None,
    imports: Sequence[str],
    smoke: str = "",
    listener: Listener = ignore,
) -> TryoutResult:
    """Install `requirement` from the directory index into an empty environment with pip, and import modules.

    The index is read as `file:` through its pages, which give the SHA-256 that pip checks. Dependencies come
    from the index that the caller's pip uses by itself (pip's settings and proxies are passed on), except for
    projects that our index holds.

    Args:
        requirement: PEP 508, such as `cuvec==6.0.1+cu130`.
        index_root: the index's directory, as given to `publish`.
        python: interpreter to make the environment with; None: the running one, whose packages are there already, so
            that only the wheel is installed, and they must meet its requirements.
        imports: names of modules.
        smoke: a program that is run after that, and fails with an exception; empty: none.
        listener: hears `StageStarted`, `ToolLine` and `StageDone` of the stage `index`.

    Raises:
        InstallError: no environment can be made, pip cannot install it, the installed set is inconsistent, or a module
            does not import.
    """
    started = time.monotonic()
    layout = Layout(index_root.absolute())
    wanted = _parse(requirement, layout)
    listener(StageStarted(_STAGE, f"try {requirement}"))
    with tempfile.TemporaryDirectory(prefix="wheelsmith-try-") as folder:
        room = _Room(Path(folder).absolute(), listener)
        if python is None:
            room.make_over()
        else:
            room.make(python.absolute())
        before = room.probe().installed
        room.pip(
            f"install {requirement} from the index",
            ["--isolated", "install", "--no-deps", "--only-binary=:all:", "--ignore-installed"],
            ["--index-url", layout.simple.as_uri(), requirement],
            environment={**clean_environment(), "PIP_CONFIG_FILE": os.devnull},
        )
        if python is None:
            room.require_dependencies(wanted)
        else:
            room.install_dependencies(layout, wanted)
            room.pip("find the installed packages consistent", ["check"])
        for module in imports:
            room.python(
                f"import {module}",
                [_IMPORT, module],
                "Read the traceback: a missing library or symbol is the wheel's own.",
            )
        if smoke:
            remedy = "Read the traceback: numbers differ, or there is no kernel."
            room.python("run the recipe's smoke test on the GPU", [smoke], remedy)
        after = room.probe()
    own = canonicalize_name(wanted.name)
    installed = {
        name: found.version for name, found in after.installed.items() if before.get(name) != found or name == own
    }
    seconds = time.monotonic() - started
    listener(StageDone(_STAGE, f"try {requirement}", seconds))
    return TryoutResult(
        python=after.markers["python_full_version"],
        installed=tuple(f"{name}=={version}" for name, version in sorted(installed.items())),
        imported=tuple(imports),
        smoke=bool(smoke),
        seconds=seconds,
    )


def _packages_here() -> list[str]:
    """Where the running interpreter's packages lie, best first."""
    return [entry for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]


def _parse(requirement: str, layout: Layout) -> Requirement:
    try:
        wanted = Requirement(requirement)
    except InvalidRequirement as error:
        raise InstallError(f"{requirement!r} is no requirement: {error}.", "Write name==version.") from error
    if not layout.entries(canonicalize_name(wanted.name)):
        raise InstallError(
            f"The index {layout.root} holds no file of {wanted.name!r}.", "Publish its wheel there first."
        )
    return wanted


@dataclass(frozen=True, slots=True)
class _Room:
    """The empty environment, `env` in a temporary folder."""

    folder: Path
    listener: Listener

    @property
    def interpreter(self) -> Path:
        return self.folder / "env" / "bin" / "python"

    def make_over(self) -> None:
        """Make the environment over that of the running interpreter, with its packages and its pip."""
        command = [sys.executable, "-I", "-m", "venv", "--without-pip", str(self.folder / "env")]
        remedy = "Give the path of a working Python interpreter."
        self._run("make an environment over the running interpreter's packages", command, remedy, client_environment())
        (site,) = (self.folder / "env" / "lib").glob("python*/site-packages")
        (site / "over.pth").write_text("".join(f"{entry}\n" for entry in _packages_here()))

    def make(self, python: Path) -> None:
        """Make the environment with pip in it: with the standard library, or with uv where that lacks pip."""
        target = str(self.folder / "env")
        remedy = "Give the path of a working Python interpreter."
        has_venv = run_tool(
            [str(python), "-Ic", "import importlib.util as u; print(bool(u.find_spec('ensurepip')))"],
            what=f"run {python}",
            remedy=remedy,
            environment=clean_environment(),
            cwd=self.folder,
        )
        if has_venv[-1:] == ["True"]:
            command = [str(python), "-I", "-m", "venv", target]
        else:
            command = [
                find_uv_bin(),
                "venv",
                "--quiet",
                "--seed",
                "--no-project",
                "--python",
                str(python),
                target,
            ]
        self._run("make an empty environment", command, remedy, client_environment())

    def pip(
        self,
        what: str,
        command: Sequence[str],
        arguments: Sequence[str] = (),
        *,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Run the environment's pip."""
        self._run(
            what,
            [
                str(self.interpreter),
                "-I",
                "-m",
                "pip",
                "--disable-pip-version-check",
                "--no-input",
                *command,
                *arguments,
            ],
            "Read what pip says; fix the wheel's metadata or the index, and try again.",
            client_environment() if environment is None else environment,
        )

    def python(self, what: str, arguments: Sequence[str], remedy: str) -> list[str]:
        """Run Python code in the environment, with nothing of the caller's."""
        return self._run(what, [str(self.interpreter), "-Ic", *arguments], remedy, clean_environment())

    def probe(self) -> Environment:
        """Ask the environment what it is and holds."""
        library = Path(packaging.__file__).parent.parent
        lines = run_tool(
            [str(self.interpreter), "-I", str(_PROBE), str(library)],
            what="ask the environment what it holds",
            remedy="Give the path of a working Python interpreter.",
            environment=clean_environment(),
            cwd=self.folder,
        )
        found: dict[str, Any] = json.loads(lines[-1])
        return Environment(
            markers=found["markers"],
            tags=tuple(found["tags"]),
            installed={
                canonicalize_name(name): Distribution(one["version"], tuple(one["requires"]))
                for name, one in found["installed"].items()
            },
        )

    def require_dependencies(self, wanted: Requirement) -> None:
        """Refuse an environment that does not have what the installed `wanted` needs."""
        environment = self.probe()
        requires = map(Requirement, environment.installed[canonicalize_name(wanted.name)].requires)
        missing = [
            str(requirement)
            for requirement in needed(requires, wanted.extras, environment)
            if (found := environment.installed.get(canonicalize_name(requirement.name))) is None
            or not requirement.specifier.contains(found.version, prereleases=True)
        ]
        if missing:
            raise InstallError(
                f"The running interpreter's packages lack what {wanted.name} depends on: {', '.join(missing)}.",
                "Install that there, or leave --env current away.",
            )

    def install_dependencies(self, layout: Layout, wanted: Requirement) -> None:
        """Install what the installed `wanted` needs: our projects from our files, others from elsewhere."""
        environment = self.probe()
        project = canonicalize_name(wanted.name)
        requires = map(Requirement, environment.installed[project].requires)
        dependencies = needed(requires, wanted.extras, environment)
        if not dependencies:
            return
        nailed = self.folder / "constraints.txt"
        nailed.write_text("\n".join(constraints(layout, project, dependencies, environment)) + "\n")
        self.pip(
            f"install what {wanted.name} depends on: {', '.join(map(str, dependencies))}",
            ["install", "--constraint", str(nailed)],
            [str(dependency) for dependency in dependencies],
        )

    def _run(self, what: str, command: Sequence[str], remedy: str, environment: dict[str, str]) -> list[str]:
        self.listener(Note(_STAGE, what))
        return run_tool(
            command,
            what=what,
            remedy=remedy,
            environment=environment,
            cwd=self.folder,
            listener=self.listener,
        )
