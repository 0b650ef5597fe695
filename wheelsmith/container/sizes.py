"""How large an image is, by layer and by package.

In: an image that the engine holds. Out: `ImageSizes`. Fails with `EngineError`. Python packages are measured by walking
what their RECORD names, with the bytecode beside it; the distribution's as it says itself (dpkg: Installed-Size).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wheelsmith.container.process import ask
from wheelsmith.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wheelsmith.container.engines import Engine
    from wheelsmith.container.process import Ask
    from wheelsmith.documents.machines import ImageSizesDocument

_PYTHON = """
import importlib.metadata as m, json, os, sys
def size(path):
    cache = os.path.join(os.path.dirname(path), "__pycache__")
    stem = os.path.basename(path)[:-2] + sys.implementation.cache_tag
    names = [path] + ([os.path.join(cache, stem + ".pyc")] if path.endswith(".py") else [])
    return sum(os.lstat(name).st_size for name in names if os.path.lexists(name))
rows = []
for d in m.distributions():
    rows.append([d.name, d.version, sum(size(str(f.locate())) for f in d.files or () if not str(f).endswith(".pyc"))])
print(json.dumps(rows))
"""
# podman writes sizes in bytes in JSON only; docker's JSON has them as text.
_HISTORY = {
    "docker": ("--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}"),
    "podman": ("--format", "json"),
}
_SYSTEM = "dpkg-query --show --showformat='${Package}\\t${Version}\\t${Installed-Size}\\n' 2>/dev/null || true"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the bytes it adds, uncompressed, and the instruction that made it."""

    size: int
    made_by: str


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package: bytes on disk."""

    kind: Literal["python", "system"]
    name: str
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """An image: bytes in all (uncompressed), its layers (the first is the lowest), its packages (largest first)."""

    image: str
    size: int
    layers: tuple[Layer, ...]
    packages: tuple[Package, ...]

    def to_dict(self) -> ImageSizesDocument:
        """JSON values."""
        return {
            "schema_version": 1,
            "image": self.image,
            "size": self.size,
            "layers": [{"size": item.size, "made_by": item.made_by} for item in self.layers],
            "packages": [
                {"kind": item.kind, "name": item.name, "version": item.version, "size": item.size}
                for item in self.packages
            ],
        }


def measure(engine: Engine, image: str, query: Ask = ask) -> ImageSizes:
    """Measure an image.

    Raises:
        EngineError: the engine has no such image, or cannot say (buildah cannot).
    """
    if engine.name == "buildah":
        raise EngineError("buildah does not tell sizes of layers.", "Use podman, which reads the same storage.")
    total = _told(query, [engine.name, "image", "inspect", image, "--format", "{{.Size}}"])
    layers = _layers(engine, _told(query, [engine.name, "history", "--no-trunc", *_HISTORY[engine.name], image]))
    start = [engine.name, "run", "--rm", "--network=none", "--entrypoint=", image]
    python = _told(query, [*start, "python3", "-c", _PYTHON], optional=True)
    packages = [*_python(python), *_system(_told(query, [*start, "sh", "-c", _SYSTEM], optional=True))]
    packages.sort(key=lambda item: (-item.size, item.name))
    return ImageSizes(image, int(total), tuple(reversed(layers)), tuple(packages))


def _told(query: Ask, command: list[str], *, optional: bool = False) -> str:
    answer = query(command)
    if answer.code != 0 and not optional:
        raise EngineError(f"`{' '.join(command[:3])}` failed.", "Name an image that is here.", detail=answer.err)
    return answer.out if answer.code == 0 else ""


def _layers(engine: Engine, text: str) -> list[Layer]:
    if engine.name == "podman":
        rows = [(item["size"], item["CreatedBy"]) for item in json.loads(text)]
    else:
        rows = [(int(size), made_by) for size, _, made_by in (line.partition("\t") for line in text.splitlines())]
    return [Layer(size, " ".join(made_by.split())) for size, made_by in rows]


def _python(text: str) -> Iterator[Package]:
    for name, version, size in json.loads(text or "[]"):
        yield Package("python", name, version, size)


def _system(text: str) -> Iterator[Package]:
    for line in text.splitlines():
        name, version, kilobytes = line.split("\t")
        yield Package("system", name, version, int(kilobytes or 0) * 1024)
