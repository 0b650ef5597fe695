"""Write images that install wheels, and drive the engine that builds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import PathLike, book, disk_full, open_store
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.compat.judge import Fits
    from wheelsmith.compat.picker import Candidate
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.container.parts import Pin
    from wheelsmith.container.sizes import ImageSizes
    from wheelsmith.sources.published import PackageIndex


@dataclass(frozen=True, slots=True)
class Rendered:
    """A consumer's Dockerfile, the wheels that it installs, and the preflight program (None: not asked for)."""

    dockerfile: str
    pins: tuple[Pin, ...]
    preflight: bytes | None


def image_parts(wheels: Sequence[PathLike], output: PathLike) -> tuple[Path, ...]:
    """Write what an image needs beside the wheels: see `wheelsmith.container.parts`.

    Returns:
        The files.

    Raises:
        InvalidWheelError: a wheel cannot be read.
    """
    from wheelsmith.container.parts import make_parts
    from wheelsmith.store import write_atomic
    from wheelsmith.wheel.inspect import inspect_path

    with disk_full():
        paths = [Path(wheel) for wheel in wheels]
        directory = Path(output)
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        for name, data in make_parts(paths, [inspect_path(path) for path in paths]):
            write_atomic(directory / name, data)
            written.append(directory / name)
        return tuple(written)


def image_render(
    requirements: Sequence[str],
    *,
    index_url: str,
    gpu: str | None = None,
    index: PathLike | None = None,
    python: str = "3.12",
    image: str | None = None,
    preflight: bool = False,
    store: PathLike | None = None,
    listener: Listener = ignore,
) -> Rendered:
    """Write a Dockerfile that installs packages from the private index, by hash.

    The wheels are read (from `index`, else fetched once from `index_url`): for their hashes, for what they require, and
    to refuse those that would not run on the GPUs.

    Args:
        requirements: the private packages, such as `vllm==0.15.1+cu128`.
        index_url: URL of the index's `simple/`, without credentials.
        gpu: GPU names or compute capabilities that the wheels must run on; None: not asked.
        index: directory of the same index, where it is at hand.
        python: `major.minor` in the base image.
        image: base image; default: `ubuntu:24.04`.
        preflight: make the program that checks GPU and driver when the image starts.
        store: directory of the store.
        listener: told of downloads.

    Raises:
        ContractError: a wheel does not run on one of the GPUs.
        SourceError, NetworkError, UsageError, InvalidWheelError: a wheel is not there, or not sound.
    """
    from wheelsmith.container.baseimages import runtime_image
    from wheelsmith.container.parts import pin
    from wheelsmith.container.preflight import make_preflight
    from wheelsmith.container.render import render_consumer
    from wheelsmith.sources.published import PackageIndex
    from wheelsmith.wheel.inspect import inspect_path

    with disk_full():
        reports = []
        packages = PackageIndex(index_url, open_store(store), listener)
        for requirement in requirements:
            found, fits = _wheel(requirement, index, gpu, (python, image or runtime_image()), packages)
            if fits is not None:
                _refuse_misfit(fits)
            reports.append(inspect_path(found))
    pins = tuple(pin(report) for report in reports)
    text = render_consumer(pins, index_url, gpus=gpu or "", image=image, preflight=preflight)
    return Rendered(text, pins, make_preflight(reports) if preflight else None)


def _wheel(
    requirement: str, index: PathLike | None, gpus: str | None, inside: tuple[str, str], packages: PackageIndex
) -> tuple[Path, Fits | None]:
    """The wheel for Linux on this processor that runs best on the GPUs, and how it does.

    `inside` is the image's Python, and its name, which may tell its C and C++ libraries.

    Raises:
        SourceError: there is none for this Python and platform.
    """
    import platform

    from wheelsmith.api.judging import MachineWords, all_choices, find_machine
    from wheelsmith.compat.distributions import distribution_of
    from wheelsmith.compat.judge import judge
    from wheelsmith.compat.picker import Candidate, WheelTarget, linux_tags, pick
    from wheelsmith.compat.summarise import summarise
    from wheelsmith.errors import SourceError
    from wheelsmith.sources.published import fetch_published, parse_requirement, published_wheels
    from wheelsmith.wheel.inspect import inspect_path

    wanted = parse_requirement(requirement)
    python, image = inside
    known = distribution_of(image)
    base, glibc = (None, None) if known is None else (image, known.glibc)
    machine = None if gpus is None else find_machine(MachineWords(gpus, base=base), packages, torch_symbols=False)
    choices = all_choices(canonical(wanted.name), book(()))
    if index is None:
        candidates = [
            Candidate(file.filename, file.requires_python, file.yanked, origin=file)
            for file in published_wheels(wanted.name, packages)
        ]
    else:
        candidates = list(_kept_candidates(Path(index), canonical(wanted.name)))
    tags = linux_tags(python, platform.machine(), glibc)
    target = WheelTarget(tags, python, wanted.specifier, machine if index is not None else None, choices)
    picked = pick(candidates, target) or pick(candidates, WheelTarget(tags, python, wanted.specifier))
    if picked is None:
        raise SourceError(
            f"The index has no wheel of {requirement} for Python {python} on Linux.",
            "Choose another version, or --python; `wheelsmith index list` says what it holds.",
        )
    found = picked.candidate.origin
    path = found if isinstance(found, Path) else fetch_published(found, packages)
    return path, None if machine is None else judge(summarise(inspect_path(path)), machine, choices)


def _kept_candidates(index: Path, project: str) -> Iterator[Candidate]:
    """The wheels of a project in the index's directory, with what is kept of each."""
    from functools import partial

    from wheelsmith.compat.picker import Candidate
    from wheelsmith.index.manage import list_records
    from wheelsmith.index.web.summary import kept_of

    def summary(wheel: Path, sha256: str) -> WheelSummary:
        return kept_of(index, project, wheel, sha256).summary

    for record in list_records(index, project):
        for entry in record.shown:
            path = index / entry.path
            held = partial(summary, path, entry.sha256)
            yield Candidate(entry.filename, entry.requires_python, entry.yanked is not None, held, path)


def canonical(name: str) -> str:
    """The normalized name of a project (PEP 503)."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _refuse_misfit(fits: Fits) -> None:
    """An image is rendered for GPUs only with wheels that are known to run there natively."""
    from wheelsmith.errors import ContractError

    for item in fits.libraries:
        if item.answer not in {"yes", "host", "other"}:
            does = "is not known to" if item.answer == "unknown" else "does not"
            raise ContractError(
                f"{fits.wheel} {does} run natively on {item.gpu}: {item.library}: {item.reasons[0].says}.",
                "Build one that does (`wheelsmith build`), or leave --gpu away.",
            )
    for name, _ in fits.machine.gpus:
        if fits.answer_on(name) == "other":
            raise ContractError(
                f"{fits.wheel} holds GPU code, and none of it is for {name}.",
                "Build one that does (`wheelsmith build`), or leave --gpu away.",
            )


def image_build(
    directory: PathLike,
    tag: str,
    *,
    engine: str = "auto",
    dockerfile: PathLike | None = None,
    target: str = "",
    arguments: Mapping[str, str] | None = None,
    secrets: Mapping[str, PathLike] | None = None,
    network: str = "default",
    epoch: int | None = None,
    output: PathLike | None = None,
) -> int:
    """Build an image with the engine that is there; it prints on this process's own streams.

    Args:
        directory: the build's context.
        tag: name of the image; empty with `output`.
        engine: `auto`, `docker`, `podman` or `buildah`.
        dockerfile: default: `Dockerfile` in the directory.
        target: stage; empty: the last.
        arguments: build arguments.
        secrets: files by id.
        network: of RUN: `default`, `host` or `none`.
        epoch: time of everything in it, in seconds since 1970; None: as it is.
        output: directory that the stage's files are written to, instead of an image.

    Returns:
        The engine's exit code.

    Raises:
        EngineNotFoundError: it does not work here.
        EngineError: the caches of its builds are another user's.
    """
    from wheelsmith.container.command import ImageBuild, build_command, build_variables
    from wheelsmith.container.engines import check_cache_mounts, find_engine
    from wheelsmith.container.process import work
    from wheelsmith.container.settings import proxies

    found, _ = find_engine(engine)
    text = Path(dockerfile or Path(directory) / "Dockerfile")
    check_cache_mounts(found, text)
    request = ImageBuild(
        dockerfile=text,
        context=Path(directory),
        tag=tag,
        target=target,
        arguments=arguments or {},
        secrets={name: Path(path) for name, path in (secrets or {}).items()},
        network=network,  # type: ignore[arg-type]  # the command line admits these three
        epoch=epoch,
        output=None if output is None else Path(output),
        inherited=proxies(),
    )
    return work(build_command(found, request), build_variables(found))


def image_push(tag: str, *, engine: str = "auto") -> int:
    """Push an image to the registry that its name says, with the engine's own login; its exit code.

    Raises:
        EngineNotFoundError: it does not work here.
    """
    from wheelsmith.container.command import push_command
    from wheelsmith.container.engines import find_engine
    from wheelsmith.container.process import work

    return work(push_command(find_engine(engine, building=False)[0], tag))


def image_sizes(image: str, *, engine: str = "auto") -> ImageSizes:
    """How large an image is, by layer and by package.

    Raises:
        EngineNotFoundError, EngineError: no engine works, or it has no such image.
    """
    from wheelsmith.container.engines import find_engine
    from wheelsmith.container.sizes import measure

    return measure(find_engine(engine, building=False)[0], image)
