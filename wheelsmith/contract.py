"""What a build promises of its wheel: the words that a recipe, a plan and the judge share.

In: nothing. Out: frozen values. Nothing can fail. A recipe's tables (`wheelsmith.recipe.schema`) have the same keys, in
the spelling of TOML; a plan holds these values; `wheelsmith.compat.contract` holds a wheel against them. What a wheel
chooses among at run time travels in it, in a file that fails with `ValueError` if somebody else wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet

if TYPE_CHECKING:
    from wheelsmith.documents.plans import ChoiceFacts

#: Below a wheel's `.dist-info`: what a wheel chooses among when it runs, where its recipe says that it does.
CHOICES_FILE = "wheelsmith.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Lack:
    """Kernels that a library may lack for some of the archs that were asked for.

    Attributes:
        kernels: patterns (fnmatch) of their names, without template arguments, such as `cutlass::*`.
        why: why the package does not call them there; one sentence.
        archs: those archs; None: any.
    """

    kernels: tuple[str, ...]
    why: str
    archs: tuple[Arch, ...] | None = None


@dataclass(frozen=True, slots=True)
class LibraryRule:
    """What a library must hold.

    Attributes:
        path: pattern (fnmatch) of its path inside the wheel; `*` crosses folders. The first rule that matches counts.
        code: `native`: machine code for every arch; `jit`: machine code or PTX; `none`: no GPU code at all.
        optional: whether the wheel may lack such a library.
        archs: the requested archs that it is for; None: all of them.
        lacks: kernels that it may lack.
    """

    path: str
    code: Literal["native", "jit", "none"]
    optional: bool = False
    archs: tuple[Arch, ...] | None = None
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """One library that may be chosen when a program runs.

    Attributes:
        path: its path inside the wheel (fnmatch); `{cuda}` stands for a CUDA release without the dot, `128`.
        archs: the GPUs on which it is taken, as in `9.0;10.0`; None: on those that are left.
    """

    path: str
    archs: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Libraries of a package of which one is taken when a program runs.

    Attributes:
        package: normalized name.
        by: `gpu`: the first whose `archs` name the GPU, and none if no one's do; `torch-cuda`: the release of torch's
            CUDA, else the nearest below it of the same major release, else the nearest above.
        why: where the package's own code says so.
        library: the alternatives.
        unused: libraries (fnmatch) that are never taken with an NVIDIA GPU.
    """

    package: str
    by: Literal["gpu", "torch-cuda"]
    why: str
    library: tuple[Alternative, ...]
    unused: tuple[str, ...] = ()

    def to_dict(self) -> ChoiceFacts:
        """JSON values."""
        return {
            "package": self.package,
            "by": self.by,
            "why": self.why,
            "library": [{"path": item.path, "archs": item.archs} for item in self.library],
            "unused": list(self.unused),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """Read what `to_dict` made."""
        library = tuple(Alternative(**item) for item in data["library"])
        return cls(data["package"], data["by"], data["why"], library, tuple(data["unused"]))


def choices_to_bytes(choices: tuple[Choice, ...]) -> bytes:
    """What `CHOICES_FILE` holds."""
    data = {"schema_version": _SCHEMA_VERSION, "choice": [choice.to_dict() for choice in choices]}
    return f"{json.dumps(data, indent=1, sort_keys=True)}\n".encode()


def choices_from_bytes(data: bytes) -> tuple[Choice, ...]:
    """Read what `choices_to_bytes` made.

    Raises:
        ValueError: it is something else, or of another schema version.
    """
    try:
        raw = json.loads(data)
        if raw["schema_version"] != _SCHEMA_VERSION:
            raise ValueError(f"schema version {raw['schema_version']}")
        found = tuple(Choice.from_dict(item) for item in raw["choice"])
        texts = [text for item in found for text in (item.package, item.why, *item.unused)]
        texts += [alternative.path for item in found for alternative in item.library]
        if not all(isinstance(text, str) for text in texts) or any(i.by not in ("gpu", "torch-cuda") for i in found):
            raise ValueError("a value of another type")
        for alternative in (one for item in found for one in item.library if one.archs is not None):
            ArchSet.parse(alternative.archs or "")
    except (LookupError, TypeError, AttributeError, RecursionError, UnknownGpuError) as error:
        raise ValueError(f"no choices: {error!r}") from error
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for the whole wheel.

    Attributes:
        forbidden: archs for which it must hold no code, as machine code or PTX (empty code included).
        max_size: bytes that it may have; None: any.
        needed: patterns of the libraries that its own may need; None: any. What the wheel brings is always allowed.
        manylinux: the newest platform that its symbol versions may need, such as `manylinux_2_31`; None: any.
        unjudged: patterns of files that may hold GPU code that cannot be judged.
        choice: libraries of which the package takes one when it runs: what is not taken on an arch owes it nothing.
        present: patterns of files that the wheel must hold.
    """

    forbidden: tuple[Arch, ...] = ()
    max_size: int | None = None
    needed: tuple[str, ...] | None = None
    manylinux: str | None = None
    unjudged: tuple[str, ...] = ()
    choice: tuple[Choice, ...] = ()
    present: tuple[str, ...] = ()
