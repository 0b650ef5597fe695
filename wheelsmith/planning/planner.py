"""Recipe × Target → Plan: every source, patch, variable and check of a build, decided once, with a digest.

In: a loaded recipe, a version and a `Target`. Out: a frozen `Plan`. Pure: no network, no clock, no environment, no
disk. Fails with `TargetError` when the target contradicts itself, the recipe or the toolkit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from wheelsmith.errors import RecipeError, UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.planning import materials
from wheelsmith.planning.checks import check_recipe, check_target, normal
from wheelsmith.planning.model import (
    CANONICAL,
    CARGO_HOME,
    EPOCH,
    NIGHTLY,
    CrateLock,
    Expectation,
    Plan,
    Rewrite,
    Target,
)
from wheelsmith.planning.pins import usable_lock
from wheelsmith.planning.words import archs_part
from wheelsmith.recipe.texts import applies, holds

#: GB of a CUDA unit that includes torch's headers, and of a build with torch in its environment.
_USUAL_MEMORY, _USUAL_DISK = 3.0, 12.0

#: What a build with crates gets. The path goes out of messages that rustc puts into programs.
_CARGO = {
    "CARGO_HOME": CARGO_HOME,
    "CARGO_NET_OFFLINE": "true",
    "CARGO_INCREMENTAL": "0",
    "CARGO_BUILD_RUSTFLAGS": f"--remap-path-prefix={CANONICAL}=.",
}

if TYPE_CHECKING:
    from wheelsmith.gpu.arch import ArchSet
    from wheelsmith.recipe.changes import CratesTable
    from wheelsmith.recipe.contracts import LibraryTable
    from wheelsmith.recipe.loader import LoadedRecipe
    from wheelsmith.recipe.schema import Recipe


def make_plan(
    loaded: LoadedRecipe,
    version: str,
    target: Target,
    options: Mapping[str, bool] | None = None,
    *,
    local: str | None = None,
) -> Plan:
    """Decide everything about building `version` of a recipe for `target`.

    Args:
        loaded: the recipe.
        version: one of its releases.
        target: what to build for.
        options: the recipe's options that are not to have their default.
        local: the wheel's local version; default: the recipe's, with what is not its default (see `_local_version`).

    Raises:
        TargetError: the Python, CUDA, torch and archs do not fit together or the recipe.
        RecipeError: a template names a value that does not exist.
        UsageError: the recipe has no such option.
    """
    check_recipe(loaded)
    loaded = loaded.at(version)
    recipe = loaded.recipe
    target = normal(target)
    warnings = tuple(check_target(loaded, target))
    chosen = _options(recipe, options or {})
    release = recipe.releases[version]
    values = _template_values(version, target)
    local_version = _local_version(loaded, values, target, chosen, local)
    values["local_version"] = local_version
    tables = tuple(
        t
        for t in recipe.tree
        if applies(t.versions, version)
        and applies(t.cuda, target.cuda)
        and holds(t.when, chosen)
        and _serves(t.archs, target.archs)
    )
    trees = tuple(materials.trees(tables))
    paths = {tree.name: tree.path for tree in trees}

    environment = dict(_base_environment(recipe.name, version, target))
    for table in tables:  # others of that name are for other versions
        environment |= {k: _fill(v, values | {"tree": paths[table.name]}) for k, v in table.env.items()}
    environment |= {key: _fill(text, values) for key, text in recipe.build.env.items()}
    if recipe.build.compress is not None:
        flag, warning = _compression(recipe.build.compress, target.cuda)
        environment["NVCC_APPEND_FLAGS"] += flag
        warnings += warning

    crates = [table for table in recipe.crates if applies(table.versions, version)]
    brought = [table for table in crates if holds(table.when, chosen)]
    if brought:
        environment |= _CARGO
    for crates_table in brought:
        environment |= {key: _fill(text, values) for key, text in crates_table.env.items()}

    source = materials.source(loaded, release.source, version)
    libraries = list(_libraries(recipe, version, chosen, target.cuda))
    warnings += (
        tuple(_without(recipe, version, chosen, target))
        + tuple(t.says for t in recipe.caveat if applies(t.versions, version) and applies(t.cuda, target.cuda))
        + tuple(_left_out(table) for table in crates if table not in brought)
        + tuple(materials.not_fixed(source, trees, f"{recipe.name}=={version}"))
    )
    requires = recipe.build.requires + _torch_requirement(target.torch)
    lock, lock_warning = None, None
    if target.environment == "isolated" and target.torch != NIGHTLY:
        lock, lock_warning = usable_lock(loaded.lock, requires, target.python)

    return Plan(
        name=recipe.name,
        version=version,
        local_version=local_version,
        target=target,
        source=source,
        trees=trees,
        patches=tuple(materials.patches(loaded, version, paths, chosen, target.cuda)),
        requires=requires,
        lock=lock,
        config_settings=tuple(sorted((key, _fill(text, values)) for key, text in recipe.build.config_settings.items())),
        environment=tuple(sorted(environment.items())),
        promises=tuple(table.rule(target.archs, target.cuda) for table in libraries),
        exclude=recipe.wheel.exclude,
        imports=recipe.wheel.imports,
        strip=recipe.wheel.strip,
        cuda_libraries=recipe.build.cuda_libraries,
        limits=recipe.contract.limits(recipe.name),
        options=tuple(sorted(chosen.items())),
        rewrites=tuple(
            Rewrite(table.requirement, table.becomes or "", table.why)
            for table in recipe.rewrite
            if applies(table.versions, version) and applies(table.cuda, target.cuda)
        ),
        crates=tuple(CrateLock(table.lock, table.rust or "") for table in brought),
        serves_torch=recipe.wheel.serves_torch or "",
        expect=_expectation(recipe),
        recipe=loaded.origin,
        warnings=warnings + ((lock_warning,) if lock_warning else ()),
    )


def _expectation(recipe: Recipe) -> Expectation:
    """What the recipe says; before the first build what is usual, with no minutes: they are not known."""
    if recipe.expect is not None:
        said = recipe.expect
        return Expectation(said.memory_gb, said.disk_gb, said.cpu_minutes, recipe.build.gcc or "")
    disk = _USUAL_DISK if recipe.defaults.torch else _USUAL_DISK / 4
    return Expectation(_USUAL_MEMORY, disk, 0.0, recipe.build.gcc or "")


def _local_version(
    loaded: LoadedRecipe, values: Mapping[str, str], target: Target, options: Mapping[str, bool], asked: str | None
) -> str:
    """What stands behind the `+`: the recipe's template, and what of the target is not the recipe's default.

    Wheels of one version for other GPUs, another torch or another option are other files, and an index holds them side
    by side. `cu130` is the recipe's default; `cu130.sm86.sm89.sm120` is for these GPUs, and sorts behind it (PEP 440:
    the longer of two local versions with the same beginning is the later).
    """
    recipe = loaded.recipe
    parts = [_fill(recipe.wheel.local_version, values)]
    if target.torch is not None and target.torch != recipe.defaults.torch:
        release = target.torch.partition("+")[0]
        parts.append(NIGHTLY if target.torch == NIGHTLY else f"torch{release.removesuffix('.0')}")
    if target.archs != recipe.defaults.archs:
        parts.append(archs_part(target.archs))
    for name, on in options.items():
        if on != recipe.options[name].default:
            parts.append(f"{'' if on else 'no'}{name.replace('-', '')}")
    text = ".".join(parts) if asked is None else asked
    try:
        local = Version(f"0+{text}").local
    except InvalidVersion:
        local = None
    if local is None and asked is not None:
        raise UsageError(
            f"{asked!r} is no local version (PEP 440).", f"Use letters, digits and points: --local {parts[0]}.mine"
        )
    if local is None:
        raise RecipeError(
            f"{loaded.origin}: wheel.local_version is {text!r}, which is no local version (PEP 440).",
            "Use letters, digits and points, as in cu{cuda_digits} or cu128.mine.",
        )
    return local


def _torch_requirement(torch: str | None) -> tuple[str, ...]:
    if torch is None:
        return ()
    # The specifier names a development version, which admits them (PEP 440, "Handling of pre-releases").
    return (f"torch=={torch}" if torch != NIGHTLY else "torch>=0.dev0",)


def _options(recipe: Recipe, asked: Mapping[str, bool]) -> dict[str, bool]:
    for name in asked:
        if name not in recipe.options:
            raise UsageError(
                f"The recipe for {recipe.name} has no option {name!r}.",
                f"It has {', '.join(recipe.options) or 'none'}.",
            )
    return {name: asked.get(name, table.default) for name, table in recipe.options.items()}


def _serves(archs: tuple[Arch, ...] | None, requested: ArchSet) -> bool:
    return archs is None or not {arch.base for arch in archs}.isdisjoint(arch.base for arch in requested.native)


def _compression(mode: str, cuda: str) -> tuple[str, tuple[str, ...]]:
    """nvcc's flag and a warning. Appended flags win over the project's own; nvcc then prints a warning.

    Source: NVIDIA, "CUDA Compiler Driver NVCC", --compress-mode, of 12.8 (the first to have it) and 13.0. Seen with
    13.0: in the modes but `size`, machine code is left as it is, unless fatbinary is told to compress all.
    """
    major, minor = map(int, cuda.split("."))
    if (major, minor) < (12, 8):
        return "", (f"nvcc of CUDA {cuda} has no --compress-mode: the recipe's compress = {mode!r} has no effect.",)
    flag = f" --compress-mode={mode}"
    if mode in {"speed", "balance"}:
        flag += " -Xfatbin=-compress-all"
    if major == 12 and mode in {"balance", "size"}:
        return flag, (f"GPU code compressed for {mode} needs driver 550.54.14 (CUDA 12.4) or newer.",)
    return flag, ()


def _template_values(version: str, target: Target) -> dict[str, str]:
    return {
        "version": version,
        "cuda_version": target.cuda,
        "cuda_digits": target.cuda.replace(".", ""),
        "cuda_home": f"{CANONICAL}/cuda",
        "torch_version": target.torch or "",
        "archs_torch": target.archs.torch,
        "archs_cmake": target.archs.cmake,
        "archs_gencode": target.archs.gencode,
        "archs_numbers": ";".join(f"{arch.number}{arch.suffix}" for arch in target.archs.native),
        "source": f"{CANONICAL}/src",
    }


def _fill(template: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise RecipeError(
                f"The template {template!r} names an unknown value {match[0]}.",
                f"Known are {', '.join(sorted(values))}.",
            )
        return values[match[1]]

    return re.sub(r"\{(\w+)\}", value, template)


def _base_environment(name: str, version: str, target: Target) -> Iterator[tuple[str, str]]:
    """What every build gets. Nothing of the caller's environment is added to it."""
    cuda, env, tools = f"{CANONICAL}/cuda", f"{CANONICAL}/env", f"{CANONICAL}/tools"
    # One toolkit for everybody who looks: CMake's CUDA language listens to CUDACXX and PATH, its FindCUDAToolkit to
    # CUDAToolkit_ROOT, torch's FindCUDA to CUDA_PATH, setuptools builds to CUDA_HOME.
    yield from {
        "CUDA_HOME": cuda,
        "CUDA_PATH": cuda,
        "CUDAToolkit_ROOT": cuda,
        "CUDACXX": f"{cuda}/bin/nvcc",
    }.items()
    # tools: a git that refuses what is not in the closure (wheelsmith.sources.git_shim).
    yield "PATH", f"{tools}:{env}/bin:{cuda}/bin:/usr/local/bin:/usr/bin:/bin"
    yield "TORCH_CUDA_ARCH_LIST", target.archs.torch
    yield "CUDAARCHS", target.archs.cmake
    # nvcc names its temporary files after its process id and writes the names into the objects, unless:
    yield "NVCC_APPEND_FLAGS", "-objtemp"
    yield "SOURCE_DATE_EPOCH", str(EPOCH)
    yield "PYTHONHASHSEED", "0"
    yield "PYTHONNOUSERSITE", "1"
    yield "HOME", f"{CANONICAL}/home"
    yield "TMPDIR", f"{CANONICAL}/tmp"  # noqa: S108 - private to the build
    yield "LANG", "C.UTF-8"
    yield "LC_ALL", "C.UTF-8"
    yield "TZ", "UTC"
    # A patched or shallow tree has no usable git description; the version is known anyway (setuptools-scm, hatch-vcs).
    yield f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{name.upper().replace('-', '_')}", version


def _libraries(recipe: Recipe, version: str, options: Mapping[str, bool], cuda: str) -> Iterator[LibraryTable]:
    """The rules that apply; of several for one path, those that are for this toolkit go before the others."""
    meant = [t for t in recipe.library if applies(t.versions, version) and holds(t.when, options)]
    built = {t.path for t in meant if t.built_with(cuda)}
    return (t for t in meant if t.built_with(cuda) or t.path not in built)


def _left_out(table: CratesTable) -> str:
    return (
        f"the crates of {table.lock} are left out, as the recipe's option says ({table.when}): what cargo makes of them"
        " is missing from the wheel."
    )


def _is_for(table: LibraryTable, arch: Arch) -> bool:
    return table.archs is None or arch.base in {one.base for one in table.archs}


def _without(recipe: Recipe, version: str, options: Mapping[str, bool], target: Target) -> Iterator[str]:
    """What the project does not build with this toolkit, or not for a requested GPU, that has it with another one."""
    meant = [t for t in recipe.library if applies(t.versions, version) and holds(t.when, options)]
    for path in dict.fromkeys(t.path for t in meant if not t.built_with(target.cuda)):
        built = [t for t in meant if t.path == path and t.built_with(target.cuda)]
        others = [t for t in meant if t.path == path and not t.built_with(target.cuda)]
        lost = [
            str(arch)
            for arch in target.archs.native
            if any(_is_for(t, arch) for t in others) and not any(_is_for(t, arch) for t in built)
        ]
        if lost:
            what = f"has nothing for {', '.join(lost)}" if built else "is not built"
            takes = " or ".join(dict.fromkeys(str(t.cuda) for t in others))
            says = next((f": {t.without}" for t in (*built, *others) if t.without), "")
            yield f"{path} {what} with CUDA {target.cuda} (it takes {takes}){says}."
