"""Build in a container, write images that install the result, and drive the engine that builds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, book, chosen_index_url, disk_full, open_store
from wheelsmith.events import Listener, Note, ignore

if TYPE_CHECKING:
    from wheelsmith.compat.judge import Fits
    from wheelsmith.compat.picker import Candidate
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.container.engines import Engine
    from wheelsmith.container.parts import Pin
    from wheelsmith.container.sizes import ImageSizes
    from wheelsmith.planning.model import Plan
    from wheelsmith.sources.published import PackageIndex


_DEFAULT_GLIBC = "2.39"  # of ubuntu:24.04, the base image that a Dockerfile gets where nothing else is said


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build runs: in `engine` (None: on this machine), from `image`; and why, in one sentence."""

    engine: Engine | None
    image: str
    why: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A consumer's Dockerfile, the wheels that it installs, and the preflight program (None: not asked for)."""

    dockerfile: str
    pins: tuple[Pin, ...]
    preflight: bytes | None


def choose_place(made: Plan, *, container: str = "auto", toolkit: str = "auto", image: str | None = None) -> Place:
    """Decide where a plan is built.

    Args:
        made: the plan.
        container: `none`: here; `docker`, `podman`, `buildah`: there; `auto`: here if the CUDA toolkit fits or can be
            assembled, else in the first engine that works.
        toolkit: as `build` takes it; a directory means: here.
        image: base image with the toolkit; default: NVIDIA's devel image of the plan's CUDA release.

    Raises:
        EngineNotFoundError: the engine that was asked for does not work.
        EngineError: no image has the plan's CUDA release.
        ToolkitError: for `auto`: nothing here fits, and no engine works.
        UsageError: `--env current` in a container.
    """
    from wheelsmith.container.baseimages import devel_image
    from wheelsmith.container.engines import find_engine
    from wheelsmith.errors import EngineNotFoundError, ToolkitError, UsageError
    from wheelsmith.toolchain.cuda import pick_toolkit

    cuda, current = made.target.cuda, made.target.environment == "current"
    if container == "none":
        return Place(None, "", "--container none")
    if container != "auto":
        if current:
            raise UsageError(
                "--env current means the packages of this machine's interpreter, which no container has.",
                "Leave one of --env current and --container away.",
            )
        engine, _ = find_engine(container)
        return Place(engine, image or devel_image(cuda), f"--container {container}")
    try:
        found = pick_toolkit(cuda, math=made.target.torch is not None, choice=toolkit)
    except ToolkitError as error:
        if current or toolkit not in {"auto", "wheels"}:
            raise
        try:
            engine, _ = find_engine()
        except EngineNotFoundError as none:
            remedy = f"{error.remedy} For a container, install and start docker, podman or buildah."
            raise ToolkitError(error.cause, remedy, detail=none.detail) from error
        return Place(engine, image or devel_image(cuda), error.cause)
    where = f"is in {found.root} ({found.origin})" if found else "can be assembled from NVIDIA's wheels"
    return Place(None, "", f"CUDA {cuda} {where}")


def build_in_container(
    arguments: Sequence[str],
    made: Plan,
    place: Place,
    *,
    index: PathLike = DEFAULT_INDEX,
    store: PathLike | None = None,
    recipes: Sequence[PathLike] = (),
    sign: PathLike | None = None,
    index_url: str | None = None,
    offline: bool = False,
    python: str | None = None,
    listener: Listener = ignore,
) -> int:
    """Run `wheelsmith build` in a container, with the store, the index and the recipes at their own paths.

    Its output goes to this process's own streams. What it writes belongs to the caller.

    Args:
        arguments: of `wheelsmith build`, as for a build here.
        made: the plan that they make.
        place: what `choose_place` said, with an engine.
        index: the directory that `arguments` name; likewise `store`, `recipes`, `sign`, `index_url` and `offline`.
        store: see `index`.
        recipes: see `index`.
        sign: see `index`.
        index_url: see `index`.
        offline: see `index`; the container gets no network then.
        python: what `plan` was given; if that is nothing and the recipe has no default, the image's own Python builds.
        listener: told before the container starts.

    Returns:
        The exit code of the `wheelsmith build` inside.

    Raises:
        EngineError: the engine failed, not the build.
        OfflineError: `offline`, and the engine has yet to make the image.
        StoreError: the store or the index cannot be written.
        UsageError: the index is a bucket, or the place has no engine.
    """
    from wheelsmith.builder.destination import check_writable
    from wheelsmith.config import load_config
    from wheelsmith.container.building import InsideBuild, build_inside
    from wheelsmith.errors import UsageError
    from wheelsmith.index.location import local_directory

    if place.engine is None:
        raise UsageError("The place to build in has no container engine.", "Use build().")
    directory = local_directory(index)
    if directory is None:
        raise UsageError(
            f"A build in a container cannot publish to {index}.", "Build into a directory, then `wheelsmith publish`."
        )
    root = open_store(store).root
    check_writable(directory)
    *own, _ = (path.absolute() for path in book(recipes).directories)  # the last are ours: they are in the container
    own = [path for path in own if path.is_dir()]
    key = [] if sign is None else [Path(sign).absolute()]
    recipe, _ = book(recipes).find(f"{made.name}=={made.version}")
    chosen = made.target.python if python or recipe.recipe.defaults.python else ""
    # The last one counts. Said is what depends on the machine: the toolkit, where things are.
    extra = ["--python", chosen] if chosen else []
    extra += ["--cuda", made.target.cuda, "--container", "none"]
    extra += ["--require-isolation"] if load_config().require_isolation else []
    extra += ["--store", str(root), "--index", str(directory.absolute())]
    extra += [word for path in own for word in ("--recipes", str(path))]
    extra += [word for path in key for word in ("--sign", str(path))]
    for_python = f"Python {chosen}" if chosen else "the image's own Python"
    text = f"{place.why.removesuffix('.')}: building in {place.image} with {place.engine}, for {for_python}"
    listener(Note("container", text))
    inside = InsideBuild(
        image=place.image,
        python=chosen,
        arguments=(*arguments, *extra),
        written=(root, directory.absolute()),
        read=(*own, *key, *_local_sources(made)),
        index_url=chosen_index_url(index_url),
        offline=offline,
    )
    with disk_full():
        return build_inside(place.engine, inside, listener=listener)


def _local_sources(made: Plan) -> Iterator[Path]:
    """Sources that a recipe takes from this machine: `file:` URLs and paths."""
    from urllib.parse import unquote, urlsplit

    for source in (made.source, *(tree.source for tree in made.trees)):
        url = getattr(source, "url", "")  # an sdist has none
        if url.startswith(("file:", "/")):
            path = Path(unquote(urlsplit(url).path))
            if path.exists():
                yield path.absolute()


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
    from wheelsmith.container.parts import pin
    from wheelsmith.container.preflight import make_preflight
    from wheelsmith.container.render import render_consumer
    from wheelsmith.sources.published import PackageIndex
    from wheelsmith.wheel.inspect import inspect_path

    with disk_full():
        reports = []
        packages = PackageIndex(index_url, open_store(store), listener)
        for requirement in requirements:
            found, fits = _wheel(requirement, index, gpu, (python, _DEFAULT_GLIBC if image is None else None), packages)
            if fits is not None:
                _refuse_misfit(fits)
            reports.append(inspect_path(found))
    pins = tuple(pin(report) for report in reports)
    text = render_consumer(pins, index_url, gpus=gpu or "", image=image, preflight=preflight)
    return Rendered(text, pins, make_preflight(reports) if preflight else None)


def _wheel(
    requirement: str, index: PathLike | None, gpus: str | None, inside: tuple[str, str | None], packages: PackageIndex
) -> tuple[Path, Fits | None]:
    """The wheel for Linux on this processor that runs best on the GPUs, and how it does.

    `inside` is the image's Python and C library (None: not known).

    Raises:
        SourceError: there is none for this Python and platform.
    """
    import platform

    from wheelsmith.api.judging import MachineWords, find_machine
    from wheelsmith.compat.choices import choices_of
    from wheelsmith.compat.judge import judge
    from wheelsmith.compat.picker import Candidate, WheelTarget, linux_tags, pick
    from wheelsmith.compat.summary import summarise
    from wheelsmith.errors import SourceError
    from wheelsmith.sources.published import fetch_published, parse_requirement, published_wheels
    from wheelsmith.wheel.inspect import inspect_path

    wanted = parse_requirement(requirement)
    machine = None if gpus is None else find_machine(MachineWords(gpus), packages, torch_symbols=False)
    choices = choices_of(canonical(wanted.name))
    if index is None:
        candidates = [
            Candidate(file.filename, file.requires_python, file.yanked, origin=file)
            for file in published_wheels(wanted.name, packages)
        ]
    else:
        candidates = list(_kept_candidates(Path(index), canonical(wanted.name)))
    python, glibc = inside
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
    """
    from wheelsmith.container.command import ImageBuild, build_command, build_variables
    from wheelsmith.container.engines import find_engine
    from wheelsmith.container.process import work

    found, _ = find_engine(engine)
    request = ImageBuild(
        dockerfile=Path(dockerfile or Path(directory) / "Dockerfile"),
        context=Path(directory),
        tag=tag,
        target=target,
        arguments=arguments or {},
        secrets={name: Path(path) for name, path in (secrets or {}).items()},
        network=network,  # type: ignore[arg-type]  # the command line admits these three
        epoch=epoch,
        output=None if output is None else Path(output),
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
