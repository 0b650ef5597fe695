"""Runs inside the sandbox: call the project's PEP 517 backend through `build`.

In: a request file (JSON: source, out, python, environment, config_settings), the name of a result file, and directories
that hold `build` and what it needs. Out: the result file (JSON: `wheel`, or `unmet`, or `failed`) and the backend's
output on stdout. It is a program of its own (`python -IS`), so that everything a build starts has the build's
environment and none of the caller's.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from build import ProjectBuilder


_MEMORY = 4 << 30  # bytes of address space in which the backend's answer is read


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Build the wheel of `request` and say what came of it."""
    from build import BuildBackendException, BuildException, ProjectBuilder

    environment: dict[str, str] = request["environment"]

    # The parameter names are those of build's SubprocessRunner.
    def runner(cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        try:
            subprocess.run(cmd, cwd=cwd, env=environment | dict(extra_environ or {}), check=True)
        finally:  # what the backend answered may have any size
            bound = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))

    try:
        builder = ProjectBuilder(request["source"], python_executable=request["python"], runner=runner)
        settings: dict[str, str] = request["config_settings"]
        if request["check"]:
            unmet = _unmet(builder, settings, request["python"], environment, request["decided"])
            if unmet:
                return {"unmet": unmet}
        wheel = Path(builder.build("wheel", request["out"], config_settings=settings))
    except (BuildBackendException, BuildException, subprocess.CalledProcessError) as error:
        return {"failed": str(error)}
    except (MemoryError, OSError, TypeError, ValueError) as error:
        return {"failed": f"the backend's answer cannot be read: {type(error).__name__} {str(error)[:200]}".rstrip()}
    return {"wheel": wheel.name}


_CHECK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
names = json.loads(sys.argv[1])
found = {}
for name in names:
    try: found[name] = version(name)
    except PackageNotFoundError: found[name] = None
print(json.dumps(found))
"""


def _unmet(
    builder: ProjectBuilder, settings: dict[str, str], python: str, environment: dict[str, str], decided: list[str]
) -> list[str]:
    """What the project itself says that its build requires, and the build environment lacks.

    Of the packages in `decided` any version will do: the plan has chosen it, and said so where the project disagrees.
    """
    from packaging.requirements import Requirement

    wanted = [
        Requirement(text) for text in builder.build_system_requires | builder.get_requires_for_build("wheel", settings)
    ]
    wanted = [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]
    question = [python, "-c", _CHECK, json.dumps([requirement.name for requirement in wanted])]
    answer = subprocess.run(question, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(answer)
    return sorted(
        f"{requirement} (found {found[requirement.name] or 'none'})"
        for requirement in wanted
        if found[requirement.name] is None
        or (
            requirement.name not in decided
            and not requirement.specifier.contains(found[requirement.name], prereleases=True)
        )
    )


if __name__ == "__main__":
    sys.path += sys.argv[3:]
    result_file = Path(sys.argv[2])
    result_file.write_text(json.dumps(build(json.loads(Path(sys.argv[1]).read_text("utf-8")))), "utf-8")
