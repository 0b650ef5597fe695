"""The tables of facts as typed models: every key that gpus.toml, toolkits.toml, drivers.toml and torch.toml may have.

In: the values of a TOML file. Out: a model, or pydantic's error, which `wheelsmith.tomlfile` turns into file and line.
A user's table holds only what is to be added or changed. Imported only where a table must be checked: pydantic takes
its time, and the preflight of images runs without it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.arch import Arch


def _capability(text: str) -> str:
    try:
        arch = Arch.parse(text)
    except UnknownGpuError as error:
        raise ValueError(f"{error.cause} {error.remedy}".rstrip(".")) from error
    if str(arch) != text or arch.suffix:
        raise ValueError(f"write the compute capability as major.minor: {str(arch.base)!r}")
    return text


def _gpu_name(text: str) -> str:
    from wheelsmith.gpu.words import words

    if not words(text) or "," in text or ";" in text:
        raise ValueError(f"{text!r} is not a name of a GPU")
    return text


Capability = Annotated[str, AfterValidator(_capability)]
GpuName = Annotated[str, AfterValidator(_gpu_name)]
Release = Annotated[str, Field(pattern=r"^\d+\.\d+$", description="major.minor")]
Major = Annotated[str, Field(pattern=r"^\d+$", description="major version of CUDA")]
DriverVersion = Annotated[
    str, Field(pattern=r"^\d{3,4}(\.\d+){0,2}$", description="Linux driver as nvidia-smi prints it")
]
Machine = Literal["x86_64", "aarch64"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GpuTable(_Table):
    """One GPU, where its name alone does not tell all."""

    name: GpuName
    machine: Machine | None = Field(None, description="the only processor architecture of machines that have it")
    aliases: tuple[GpuName, ...] = Field((), strict=False, description="other names that nvidia-smi prints for it")


class ArchTable(_Table):
    """A compute capability."""

    family: str | None = Field(None, min_length=1, description="one phrase, used in explanations")
    cuda: Release | None = Field(None, description="first CUDA release whose nvcc generates code for it")
    last_cuda: Release | None = Field(None, description="last CUDA release that does; absent: the newest still does")
    last_driver: int | None = Field(None, gt=0, description="last driver branch that knows it; absent: the newest does")
    machine: Machine | None = Field(None, description="the only processor architecture of machines that have it")
    gpus: tuple[GpuName | GpuTable, ...] = Field((), strict=False, description="names as nvidia-smi prints them")


class ToolkitTable(_Table):
    """A CUDA toolkit release."""

    driver: DriverVersion | None = Field(None, description="first Linux driver that ships with it; absent: not known")
    ptx: Release = Field(description="newest PTX version that its compiler writes")


class Gpus(_Table):
    """gpus.toml."""

    schema_version: Literal[1]
    arch: dict[Capability, ArchTable] = {}


class Toolkits(_Table):
    """toolkits.toml."""

    schema_version: Literal[1]
    toolkit: dict[Release, ToolkitTable] = {}


class Drivers(_Table):
    """drivers.toml."""

    schema_version: Literal[1]
    minor_version_compatibility: dict[Major, DriverVersion] = {}
    first_cuda: dict[Release, Release] = {}


class Torch(_Table):
    """torch.toml."""

    schema_version: Literal[1]
    cuda: dict[Release, Release] = {}


#: The model of each table, by the name of its file without `.toml`.
TABLES: dict[str, type[Gpus] | type[Toolkits] | type[Drivers] | type[Torch]] = {
    "gpus": Gpus,
    "toolkits": Toolkits,
    "drivers": Drivers,
    "torch": Torch,
}
