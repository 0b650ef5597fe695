"""The tables of facts as typed models: every key that gpus.toml, toolkits.toml, drivers.toml and torch.toml may have.

In: the values of a TOML file. Out: a model, or an error, which `wheelsmith.tomlfile` turns into file and line.
A user's table holds only what is to be added or changed. Imported only where a table must be checked: the preflight
of images runs without msgspec.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from wheelsmith.schema import Table, matching


def _check_gpu_name(text: str) -> None:
    from wheelsmith.gpu.words import words

    if not words(text) or "," in text or ";" in text:
        raise ValueError(f"{text!r} is not a name of a GPU")


Capability = Annotated[str, matching(r"(?:[1-9][0-9]?)\.[0-9]", "compute capability as major.minor, as in 8.6")]
Release = Annotated[str, matching(r"[0-9]+\.[0-9]+", "major.minor")]
Major = Annotated[str, matching("[0-9]+", "major version of CUDA")]
DriverVersion = Annotated[str, matching(r"[0-9]{3,4}(\.[0-9]+){0,2}", "Linux driver as nvidia-smi prints it")]
Phrase = Annotated[str, Meta(min_length=1)]
Branch = Annotated[int, Meta(gt=0)]
Machine = Literal["x86_64", "aarch64"]


class GpuTable(Table, frozen=True, kw_only=True):
    """One GPU, where its name alone does not tell all."""

    name: str
    machine: Annotated[Machine | None, Meta(description="the only processor architecture of machines that have it")] = (
        None
    )
    aliases: Annotated[tuple[str, ...], Meta(description="other names that nvidia-smi prints for it")] = ()

    def __post_init__(self) -> None:
        for text in (self.name, *self.aliases):
            _check_gpu_name(text)


class ArchTable(Table, frozen=True, kw_only=True):
    """A compute capability."""

    family: Annotated[Phrase | None, Meta(description="one phrase, used in explanations")] = None
    cuda: Annotated[Release | None, Meta(description="first CUDA release whose nvcc generates code for it")] = None
    last_cuda: Annotated[
        Release | None, Meta(description="last CUDA release that does; absent: the newest still does")
    ] = None
    last_driver: Annotated[
        Branch | None, Meta(description="last driver branch that knows it; absent: the newest does")
    ] = None
    machine: Annotated[Machine | None, Meta(description="the only processor architecture of machines that have it")] = (
        None
    )
    gpus: Annotated[tuple[str | GpuTable, ...], Meta(description="names as nvidia-smi prints them")] = ()

    def __post_init__(self) -> None:
        for item in self.gpus:
            if isinstance(item, str):
                _check_gpu_name(item)


class ToolkitTable(Table, frozen=True, kw_only=True):
    """A CUDA toolkit release."""

    driver: Annotated[
        DriverVersion | None, Meta(description="first Linux driver that ships with it; absent: not known")
    ] = None
    ptx: Annotated[Release, Meta(description="newest PTX version that its compiler writes")]


class Gpus(Table, frozen=True, kw_only=True):
    """gpus.toml."""

    schema_version: Literal[1]
    arch: dict[Capability, ArchTable] = field(default_factory=dict)


class Toolkits(Table, frozen=True, kw_only=True):
    """toolkits.toml."""

    schema_version: Literal[1]
    toolkit: dict[Release, ToolkitTable] = field(default_factory=dict)


class Drivers(Table, frozen=True, kw_only=True):
    """drivers.toml."""

    schema_version: Literal[1]
    minor_version_compatibility: dict[Major, DriverVersion] = field(default_factory=dict)
    first_cuda: dict[Release, Release] = field(default_factory=dict)


class Torch(Table, frozen=True, kw_only=True):
    """torch.toml."""

    schema_version: Literal[1]
    cuda: dict[Release, Release] = field(default_factory=dict)


#: The model of each table, by the name of its file without `.toml`.
TABLES: dict[str, type[Gpus] | type[Toolkits] | type[Drivers] | type[Torch]] = {
    "gpus": Gpus,
    "toolkits": Toolkits,
    "drivers": Drivers,
    "torch": Torch,
}
