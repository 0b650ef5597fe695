"""A whole build without a compiler: a project whose backend is Python, and a CUDA toolkit that only says its release.

The backend does what a test tells it to: it is text that runs inside the build, with `files` (what goes into the wheel)
and `settings` (the recipe's) in scope.
"""

from __future__ import annotations

from pathlib import Path

from tests.support import toyproject
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import SASS, entry, region

RECIPE = """
schema_version = 1
name = "toycuda"
summary = "made without a compiler"
versions = "==1.0"

[defaults]
archs = "8.6;12.0"
cuda = "13.0"

[build]
requires = []
[build.config_settings]
SETTINGS

[expect]
memory_gb = 0.1
disk_gb = 0.1
cpu_minutes = 0.1

[[library]]
path = "toycuda/lib.so"

[releases."1.0".source.archive]
url = "URL"
sha256 = "SHA256"
"""

BACKEND = """
import base64, hashlib, json, os, pathlib, socket, sys, time, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    settings = config_settings or {}
    files = {"toycuda/__init__.py": b"", "toycuda/lib.so": base64.b64decode(pathlib.Path("lib.b64").read_text())}
    exec(pathlib.Path("inside.py").read_text(), {**globals(), "files": files, "settings": settings})
    info = "toycuda-1.0.dist-info"
    files[f"{info}/METADATA"] = b"Metadata-Version: 2.1\\nName: toycuda\\nVersion: 1.0\\n"
    wheel = b"Wheel-Version: 1.0\\nGenerator: toy\\nRoot-Is-Purelib: false\\nTag: py3-none-linux_x86_64\\n"
    files[f"{info}/WHEEL"] = wheel
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    name = "toycuda-1.0-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return name
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toycuda"
version = "1.0"
"""


def project(directory: Path, inside: str = "", *, archs: tuple[int, ...] = (86, 120), **settings: str) -> Path:
    """Write the project's archive and recipe; the directory of the recipe.

    Args:
        directory: where.
        inside: Python that the backend runs.
        archs: compute capabilities for which its one library says that it has machine code.
        **settings: the recipe's config settings.
    """
    import base64

    directory.mkdir(parents=True, exist_ok=True)
    library = shared_object(region(*(entry(SASS, arch) for arch in archs)))
    content = {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "inside.py": inside,
        "lib.b64": base64.b64encode(library).decode(),
    }
    lines = "\n".join(f'{key} = "{value}"' for key, value in settings.items())
    return toyproject.make(directory, content, RECIPE.replace("SETTINGS", lines))


def toolkit(directory: Path, release: str = "13.0.88") -> Path:
    """A toolkit that can say its release, and nothing else."""
    for name in ("bin", "include", "lib64", "nvvm/bin"):
        (directory / name).mkdir(parents=True)
    for name in ("bin/ptxas", "bin/fatbinary", "bin/cudafe++", "nvvm/bin/cicc"):
        (directory / name).write_text("#!/bin/sh\nexit 1\n")
        (directory / name).chmod(0o755)
    (directory / "include" / "cuda_runtime.h").write_text("")
    nvcc = directory / "bin" / "nvcc"
    short = release.rpartition(".")[0]
    made = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done\n'  # it takes every program
    nvcc.write_text(f'#!/bin/sh\necho "Cuda compilation tools, release {short}, V{release}"\n{made}')
    nvcc.chmod(0o755)
    return directory
