"""Where a build runs, and a build in a container.

In: a plan, and what `build` is given. Out: a `Place`, an exit code. Fails as the documentation of each function says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import DEFAULT_INDEX, PathLike, book, chosen_index_url, disk_full, open_store
from wheelsmith.events import Listener, Note, ignore

if TYPE_CHECKING:
    from wheelsmith.container.engines import Engine
    from wheelsmith.planning.model import Plan


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build runs: in `engine` (None: on this machine), from `image`; and why, in one sentence."""

    engine: Engine | None
    image: str
    why: str


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
    from wheelsmith.api.targets import better_remedies
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
        with better_remedies(made):
            found = pick_toolkit(cuda, math=made.needs_cuda_libraries, choice=toolkit)
    except ToolkitError as error:
        if current or toolkit not in {"auto", "wheels"}:
            raise
        try:
            engine, _ = find_engine()
        except EngineNotFoundError as none:
            raise ToolkitError(error.cause, error.remedy, detail=none.detail) from error
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
    torch_index: str | None = None,
    cache: str | None = None,
    cache_readonly: bool = False,
    offline: bool = False,
    python: str | None = None,
    listener: Listener = ignore,
) -> int:
    """Run `wheelsmith build` in a container, with the store, the index and the recipes at their own paths.

    Its output goes to this process's own streams. What it writes belongs to the caller. The caller's settings hold
    there: the configuration file with what it names, own facts, choices and signatures, proxies, authorities, the
    compile cache and its key.

    Args:
        arguments: of `wheelsmith build`, as for a build here.
        made: the plan that they make.
        place: what `choose_place` said, with an engine.
        index: the directory that `arguments` name; likewise all others that `build` knows, too.
        store: see `index`.
        recipes: see `index`.
        sign: see `index`.
        index_url: see `index`.
        torch_index: see `index`.
        cache: see `index`; a directory is mounted.
        cache_readonly: see `index`.
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
    from wheelsmith.container.settings import carry
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
    config = load_config()
    extra += ["--require-isolation"] if config.require_isolation else []
    extra += ["--store", str(root), "--index", str(directory.absolute())]
    extra += [word for path in own for word in ("--recipes", str(path))]
    extra += [word for path in key for word in ("--sign", str(path))]
    url = chosen_index_url(index_url)
    places = [place for _, several in config.mirrors.places for place in several]
    carried = carry(
        _settings(config.origin),
        cache=cache or os.environ.get("WHEELSMITH_CACHE"),
        readonly=cache_readonly,
        urls=(url, torch_index, *places),
    )
    extra += ["--cache", carried.variables["WHEELSMITH_CACHE"]] if cache else []
    for_python = f"Python {chosen}" if chosen else "the image's own Python"
    text = f"{place.why.removesuffix('.')}: building in {place.image} with {place.engine}, for {for_python}"
    listener(Note("container", text))
    inside = InsideBuild(
        image=place.image,
        python=chosen,
        arguments=(*arguments, *extra),
        written=(root, directory.absolute()),
        read=(*own, *key, *_local_sources(made)),
        index_url=url,
        offline=offline,
        carried=carried,
    )
    with disk_full():
        return build_inside(place.engine, inside, listener=listener)


def _settings(config: Path | None) -> dict[str, tuple[Path, ...]]:
    """Files and directories of the user's own settings, by the variable that names them."""
    from wheelsmith.compat.choices import own_table
    from wheelsmith.diagnostics.signature import VARIABLE, signature_directories
    from wheelsmith.gpu.tables import facts_directory

    single = {"WHEELSMITH_CONFIG": config, "WHEELSMITH_FACTS": facts_directory(), "WHEELSMITH_CHOICES": own_table()}
    return {name: (path,) for name, path in single.items() if path} | {VARIABLE: signature_directories()}


def _local_sources(made: Plan) -> Iterator[Path]:
    """Sources that a recipe takes from this machine: `file:` URLs and paths."""
    from urllib.parse import unquote, urlsplit

    for source in (made.source, *(tree.source for tree in made.trees)):
        url = getattr(source, "url", "")  # an sdist has none
        if url.startswith(("file:", "/")):
            path = Path(unquote(urlsplit(url).path))
            if path.exists():
                yield path.absolute()
