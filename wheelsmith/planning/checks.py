"""What a plan refuses before anything is fetched: targets that contradict themselves, the recipe or the toolkit.

In: a loaded recipe and a `Target`. Out: warnings, or the target in its normal spelling. Pure. Fails with `TargetError`
or, where no target could ever do, with `RecipeError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from wheelsmith.errors import RecipeError, TargetError
from wheelsmith.gpu.drivers import Driver, gpu_driver
from wheelsmith.gpu.facts import arch_facts, family, minimum_driver, toolkit_facts, torch_cuda
from wheelsmith.planning.model import NIGHTLY, Target
from wheelsmith.planning.words import cuda_version, python_version, torch_version

if TYPE_CHECKING:
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import Recipe


class MisfitError(TargetError):
    """CUDA, torch, archs and driver do not go together; others of them may (`wheelsmith.planning.proposals`)."""


def check_target(loaded: LoadedRecipe, target: Target) -> Iterator[str]:
    """Raise on contradictions; yield what is only doubtful."""
    recipe = loaded.recipe
    if not SpecifierSet(recipe.python).contains(target.python):
        raise TargetError(
            f"{recipe.name} supports Python {recipe.python}, not {target.python}.",
            f"Choose another with --python{f' {recipe.defaults.python}' if recipe.defaults.python else ''}.",
        )
    if target.torch is None and recipe.defaults.torch is not None:
        raise TargetError(f"{recipe.name} is built against torch.", f"Use --torch {recipe.defaults.torch}.")
    if target.torch is not None and recipe.defaults.torch is None:
        raise TargetError(f"{recipe.name} does not use torch.", "Leave --torch away.")
    yield from _check_archs(recipe, target)
    if target.driver is not None:
        yield from _check_driver(recipe, target, Driver.parse(target.driver))
    if target.torch == NIGHTLY:
        yield (
            "torch nightly is whatever the index offers at the first build: it is pinned then, and the wheel requires"
            f" exactly that one. {recipe.name} is tested with torch {recipe.defaults.torch}."
        )
        return
    built_with = torch_cuda(target.torch) if target.torch else None
    if built_with is not None and built_with.split(".")[0] != target.cuda.split(".")[0]:
        raise MisfitError(
            f"torch {target.torch} is built with CUDA {built_with}; extensions for it cannot use CUDA {target.cuda}.",
            f"It takes CUDA {built_with}, or a torch built with CUDA {target.cuda.split('.')[0]}.",
        )
    if built_with is not None and built_with != target.cuda:
        yield f"torch {target.torch} is built with CUDA {built_with}, the extension with CUDA {target.cuda}."
    required = recipe.wheel.torch
    if target.torch is not None and required is not None and not _admits(required, target.torch):
        yield (
            f"{recipe.name}'s own metadata require torch{required}. The wheel will require torch {target.torch}"
            " instead, which it is compiled against, and torchaudio and torchvision in any version that fits that."
        )
    elif target.torch is not None and target.torch != recipe.defaults.torch:
        yield f"the recipe is tested with torch {recipe.defaults.torch}, not {target.torch}."


def _check_driver(recipe: Recipe, target: Target, driver: Driver) -> Iterator[str]:
    """Whether a driver runs what the target makes: it knows the GPUs, and the CUDA of toolkit and torch.

    Machine code runs from the first driver of the toolkit's major version on; PTX needs one as new as the toolkit.
    """
    for arch in target.archs.native:
        known = gpu_driver(arch)
        if not known.admits(driver):
            raise TargetError(
                f"Driver {driver} does not run {arch.sm} ({family(arch)}): that takes {known}.",
                "Install such a driver on the machine that is meant, or leave these GPUs away.",
            )
    parts = [(target.cuda, f"machine code of CUDA {target.cuda}")]
    built_with = torch_cuda(target.torch) if target.torch not in (None, NIGHTLY) else None
    if built_with is not None:
        parts.append((built_with, f"torch {target.torch}, which is built with CUDA {built_with},"))
    for cuda, what in parts:
        oldest = minimum_driver(cuda)
        if oldest is not None and not driver.at_least(oldest):
            raise MisfitError(
                f"Driver {driver} does not run {what}: that takes {oldest} or newer.",
                f"Install driver {oldest} or newer on the machine that is meant.",
            )
    facts = toolkit_facts(target.cuda)
    if target.archs.ptx and driver.compiles(facts.ptx) is False:
        raise MisfitError(
            f"Driver {driver} does not compile PTX of CUDA {target.cuda}: that takes {facts.driver or 'a newer one'}.",
            "Leave +PTX away, or use an older CUDA.",
        )
    if driver.is_beyond:
        yield f"driver {driver} is newer than the tables: what it takes beyond them is not known."


def _check_archs(recipe: Recipe, target: Target) -> Iterator[str]:
    if target.archs.ptx and not recipe.build.ptx:
        raise TargetError(
            f"The build of {recipe.name} does not pass +PTX on to nvcc; {target.archs} would break its contract.",
            f"Leave +PTX away: --arch {';'.join(map(str, target.archs.native))!r}.",
        )
    if foreign := [gpu for gpu in target.gpus if gpu.machine and not target.platform.endswith(gpu.machine)]:
        gpu = foreign[0]
        raise TargetError(
            f"{gpu.name} sits in {gpu.machine} machines only, and this makes a wheel for {target.platform}.",
            f"Build on such a machine (wheelsmith does not yet); for x86-64 GPUs of compute capability {gpu.arch}, name"
            f" that instead: --arch {gpu.arch}",
        )
    for arch in target.archs.native:
        machine = arch_facts(arch).machine
        if machine and not target.platform.endswith(machine):
            yield (
                f"GPUs of compute capability {arch.base} ({family(arch)}) are known in {machine} machines only, and"
                f" this makes a wheel for {target.platform}."
            )
    forbidden = [arch for arch in target.archs.native if arch in (recipe.contract.forbidden or ())]
    if forbidden:
        raise TargetError(
            f"{recipe.name} is asked for {forbidden[0]}, and [contract] forbidden in its recipe admits no such code.",
            "Ask for other archs, or use a recipe of your own.",
        )
    able = toolkit_facts(target.cuda).archs
    for arch in target.archs.native:
        if arch.base not in able:
            facts = arch_facts(arch)
            newer = f"CUDA {facts.first_cuda} is the first known to." if facts.first_cuda else "No known toolkit can."
            newer = f"CUDA {facts.last_cuda} is the last that can." if facts.last_cuda else newer
            raise MisfitError(
                f"nvcc of CUDA {target.cuda} cannot compile for {arch.sm} ({family(arch)}).",
                f"{newer} It compiles for {', '.join(map(str, able))}.",
            )


def normal(target: Target) -> Target:
    """The target with its versions as PEP 440 writes them, so that two spellings of one wish give one plan."""
    torch = None if target.torch is None else torch_version(target.torch)
    return replace(target, python=python_version(target.python), cuda=cuda_version(target.cuda), torch=torch)


def check_recipe(loaded: LoadedRecipe) -> None:
    """Refuse what no target can meet: archs that no known toolkit compiles for.

    Raises:
        RecipeError: the recipe names such an arch.
    """
    recipe = loaded.recipe
    named = [("tree", table.archs) for table in recipe.tree] + [("library", table.archs) for table in recipe.library]
    named += [("arch_list", table.also) for table in recipe.arch_list]
    for where, archs in (*named, ("contract.forbidden", recipe.contract.forbidden)):
        for arch in archs or ():
            if arch_facts(arch).first_cuda is None:
                raise RecipeError(
                    f"{loaded.origin}: {where} names {arch}, for which no known CUDA toolkit compiles.",
                    "Correct it, or add the compute capability to your own gpus.toml (`wheelsmith gpus` lists ours).",
                )


def _admits(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)
