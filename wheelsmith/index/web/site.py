"""The pages themselves.

In: the JSON pages of an index (what pip and uv see, no more) and the cards of its wheels. Out: `index.html`,
`project/<name>/index.html` and `style.css` in the index's directory, or one project's page with the answer for one
GPU and driver. Fails with `StoreError` on a directory that cannot be written.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin

from jinja2 import Environment, FunctionLoader, StrictUndefined
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from wheelsmith.compat.choices import choices_of
from wheelsmith.compat.judge import Machine, oldest_driver
from wheelsmith.compat.picker import Candidate, Picked, WheelTarget, pick, platforms_of, ranked
from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.facts import all_gpus, family, gpus_of
from wheelsmith.gpu.select import parse_targets
from wheelsmith.index import keys
from wheelsmith.index.files import locked, storage_errors, write_atomic
from wheelsmith.index.layout import Layout
from wheelsmith.index.web.summary import Kept, cards_folder, kept_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from packaging.version import Version

    from wheelsmith.compat.rules import Answer
    from wheelsmith.compat.summary import WheelSummary
    from wheelsmith.contract import Choice as RunTimeChoice

UNKNOWN_URL = "INDEX_URL"  # stands in commands where nobody said under which address the index is served


@dataclass(frozen=True, slots=True)
class Fit:
    """How a wheel runs on a GPU: the judge's answer, and the oldest driver with which it is so (None: not known)."""

    answer: Answer
    driver: str | None


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on a page: its entry in the JSON page, its version and what is known of it."""

    file: dict[str, Any]
    filename: str
    version: Version
    python: str
    platform: str
    card: Kept
    choices: tuple[RunTimeChoice, ...]

    @property
    def candidate(self) -> Candidate:
        """The wheel as the picker takes it."""
        requires = self.file.get("requires-python")
        return Candidate(self.filename, requires, "yanked" in self.file, lambda: self.card.summary, self)

    @property
    def fits(self) -> tuple[tuple[Arch, Fit], ...]:
        """How it runs on every known compute capability where it runs at all."""
        found = []
        for arch in _archs():
            target = WheelTarget(machine=_machine(arch, None), choices=self.choices)
            if picked := pick([dataclasses.replace(self.candidate, yanked=False)], target):
                found.append((arch, _fit(self, picked, arch)))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Choice:
    """The wheels to take, of one version, and the commands to install them."""

    wheels: tuple[Wheel, ...]
    fit: Fit
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What a person asked.

    Attributes:
        gpu: as typed.
        driver: as typed.
        name: what the GPU is known as.
        problem: why the question cannot be answered; else empty.
        choices: the answer, one for each platform; empty if nothing runs.
        needs: the driver under which something would run, if it is only that.
    """

    gpu: str
    driver: str
    name: str = ""
    problem: str = ""
    choices: tuple[Choice, ...] = ()
    needs: str | None = None


def render(root: Path, *, projects: Iterable[str] | None = None, url: str | None = None) -> None:
    """Bring the pages for people up to date in the index at `root`.

    Unchanged files are left alone; pages of projects that are gone are removed.

    Args:
        root: the index's directory.
        projects: normalized names whose pages may have changed; None: all.
        url: address of `simple/` for the commands on the pages; None: a word that stands for it.

    Raises:
        StoreError: the directory cannot be written.
    """
    layout = Layout(root.absolute())
    listed = _listed(layout)
    changed = listed if projects is None else [name for name in projects if name in set(listed)]
    for project in changed:
        _wheels(layout, project)  # slow the first time, so before the lock
    scratch = layout.staging.parent
    with storage_errors(layout.root):
        scratch.mkdir(parents=True, exist_ok=True)
        with locked(scratch / "people.lock"):
            write_atomic(layout.root / "style.css", _template_text("style.css").encode(), scratch)
            write_atomic(layout.root / "index.html", index_page(root), scratch)
            for project in changed:
                page = project_page(layout.root, project, url=url)
                if page is not None:
                    write_atomic(layout.root / "project" / project / "index.html", page, scratch)
            for project in changed:
                _remove_old_cards(layout, project)
            _remove_gone(layout)


def index_page(root: Path) -> bytes:
    """The page of all projects."""
    projects = _listed(Layout(root.absolute()))
    return _templates().get_template("index.html").render(projects=projects, up="").encode()


def project_page(
    root: Path,
    project: str,
    *,
    url: str | None = None,
    form: bool = False,
    gpu: str = "",
    driver: str = "",
) -> bytes | None:
    """The page of one project, or None if the index does not list it.

    Args:
        root: the index's directory.
        project: normalized name.
        url: address of `simple/`, as for `render`.
        form: show the form that asks for GPU and driver; somebody must answer it.
        gpu: what the person typed there; empty: nothing was asked.
        driver: the same; empty: any driver.

    Raises:
        StoreError: a card cannot be written.
    """
    layout = Layout(root.absolute())
    wheels = _wheels(layout, project)
    if not wheels:
        return None
    owned = frozenset(_listed(layout))
    index = url or UNKNOWN_URL
    by_gpu = [(arch, choice) for arch in _archs() for choice in _choose(wheels, arch, None, owned, index)]
    page = _templates().get_template("project.html")
    return page.render(
        project=project,
        wheels=wheels,
        by_gpu=by_gpu,
        question=_ask(wheels, gpu, driver, owned, index) if gpu or driver else Question("", ""),
        asked=bool(gpu or driver),
        form=form,
        gpus=[one.name for one in all_gpus()],
        url=url,
        up="../../",
    ).encode()


def _ask(wheels: Sequence[Wheel], gpu: str, driver: str, owned: frozenset[str], index: str) -> Question:
    try:
        name, arch = _find_arch(gpu)
        version = Driver.parse(driver) if driver.strip() else None
    except (UnknownGpuError, TargetError) as error:
        return Question(gpu, driver, problem=f"{error.cause} {_without_options(error.remedy)}")
    choices = _choose(wheels, arch, version, owned, index)
    newer = () if choices else _choose(wheels, arch, None, owned, index)
    return Question(gpu, driver, name=name, choices=choices, needs=newer[0].fit.driver if newer else None)


def _find_arch(text: str) -> tuple[str, Arch]:
    """Name and compute capability of what a person typed: a GPU's name, `8.6`, or `sm_86`."""
    first, *others = parse_targets(text, here=False)
    if others or first.ptx:
        raise UnknownGpuError(f"{text!r} is not one GPU.", "Name one, such as RTX 5090, or a compute capability, 12.0.")
    return first.name, first.arch.base


def _without_options(remedy: str) -> str:
    """A remedy for people who see a form, not a command line."""
    question, mark, _ = remedy.partition("? ")
    if mark:
        return f"{question}? A compute capability such as 12.0 does as well."
    return remedy if "`" not in remedy else "Write a name from the list, or a compute capability such as 12.0."


def _choose(
    wheels: Sequence[Wheel], gpu: Arch, driver: Driver | None, owned: frozenset[str], index: str
) -> tuple[Choice, ...]:
    """For each platform the best wheels for a GPU under a driver; empty if none runs."""
    found = []
    platforms = {name for wheel in wheels for name in platforms_of(wheel.filename)}
    for platform in sorted(platforms - {"any"} or {"any"}):
        own = [wheel.candidate for wheel in wheels if {platform, "any"} & {*platforms_of(wheel.filename)}]
        picked = ranked(own, WheelTarget(machine=_machine(gpu, driver), choices=wheels[0].choices))
        if not picked:
            continue
        best = picked[0]
        same = [one for one in picked if one.version == best.version and one.answer == best.answer]
        fit = _fit(best.candidate.origin, best, gpu)
        found.append(
            Choice(tuple(o.candidate.origin for o in same), fit, _commands(best.candidate.origin, owned, index))
        )
    return tuple(found)


def _machine(gpu: Arch, driver: Driver | None) -> Machine:
    return Machine(((gpu.sm, gpu),), driver)


def _fit(wheel: Wheel, picked: Picked, gpu: Arch) -> Fit:
    assert picked.answer is not None, "a GPU was asked for"  # noqa: S101
    driver = _oldest(wheel.card.summary, gpu, wheel.choices) if picked.answer in {"yes", "jit", "partly"} else None
    return Fit(picked.answer, driver)


@lru_cache(maxsize=8192)
def _oldest(summary: WheelSummary, gpu: Arch, choices: tuple[RunTimeChoice, ...]) -> str | None:
    return oldest_driver(summary, (gpu.sm, gpu), choices)


def _commands(wheel: Wheel, owned: frozenset[str], index: str) -> tuple[str, ...]:
    """Install what it needs from elsewhere by the usual way, then the wheel from this index and nowhere else."""
    name = parse_wheel_filename(wheel.filename)[0]
    others = [text for text in wheel.card.requires if canonicalize_name(Requirement(text).name) not in owned]
    needs = ("pip install " + " ".join(map(shlex.quote, others)),) if others else ()
    return (*needs, f"pip install --index-url {shlex.quote(index)} {shlex.quote(f'{name}=={wheel.version}')}")


def _wheels(layout: Layout, project: str) -> tuple[Wheel, ...]:
    """The wheels on a project's JSON page, newest first."""
    try:
        page = json.loads(layout.page(project, "json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = []
    choices = choices_of(project)
    for file in page["files"]:
        _, version, _, tags = parse_wheel_filename(file["filename"])
        wheel = unquote(file["url"]).removeprefix("../../")
        if wheel.startswith(("/", "..")) or "://" in wheel:
            continue  # a page that somebody else wrote
        if provenance := file.get("provenance"):
            file["provenance"] = urljoin(f"../../simple/{project}/", provenance)
        if (layout.root / keys.statement(wheel)).is_file():
            file["statement"] = f"../../{quote(keys.statement(wheel))}"
        found.append(
            Wheel(
                file=file,
                filename=file["filename"],
                version=version,
                python=", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags})),
                platform=", ".join(sorted({tag.platform for tag in tags})),
                card=kept_of(layout.root, project, layout.root / wheel, file["hashes"]["sha256"]),
                choices=choices,
            )
        )
    return tuple(sorted(found, key=lambda wheel: (wheel.version, wheel.filename), reverse=True))


def _listed(layout: Layout) -> list[str]:
    try:
        page = json.loads(layout.page(None, "json").read_bytes())
    except FileNotFoundError:
        return []
    return [project["name"] for project in page["projects"]]


def _remove_gone(layout: Layout) -> None:
    folder = layout.root / "project"
    if not folder.is_dir():
        return
    listed = set(_listed(layout))
    for path in folder.iterdir():
        if path.name not in listed:
            shutil.rmtree(path, ignore_errors=True)


def _remove_old_cards(layout: Layout, project: str) -> None:
    listed = {wheel.filename for wheel in _wheels(layout, project)}
    for path in cards_folder(layout, project).glob("*.json"):
        if path.name.removesuffix(".json") not in listed:
            path.unlink(missing_ok=True)


@cache
def _archs() -> tuple[Arch, ...]:
    return tuple(sorted({gpu.arch for gpu in all_gpus()}))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _template_text(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": _megabytes, "family": family, "gpus": gpus_of, "quote": quote}
    return environment
