"""The pages themselves.

In: the JSON pages of an index (what pip and uv see, no more) and the cards of its wheels. Out: `index.html`,
`project/<name>/index.html` and `style.css` in the index's directory, or one project's page with the answer for one
GPU and driver. Fails with `StoreError` on a directory that cannot be written.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin

from jinja2 import Environment, FunctionLoader, StrictUndefined
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from wheelsmith.errors import UnknownGpuError, UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.facts import all_gpus, family, gpus_of
from wheelsmith.index import keys
from wheelsmith.index.files import locked, storage_errors, write_atomic
from wheelsmith.index.layout import Layout
from wheelsmith.index.web.advice import Fit, find_arch, fit, is_arm_only, parse_driver
from wheelsmith.index.web.summary import Card, card_of, cards_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from packaging.version import Version

UNKNOWN_URL = "INDEX_URL"  # stands in commands where nobody said under which address the index is served
_RANK = {"native": 0, "any": 0, "jit": 1, "partly": 2}


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel on a page: its entry in the JSON page, its version and its card."""

    file: dict[str, Any]
    version: Version
    python: str
    platform: str
    card: Card

    def fit(self, gpu: Arch) -> Fit:
        """How it runs on a compute capability; not at all where only Arm machines have that and it is for others."""
        machines = self.platform.split(", ")
        if is_arm_only(gpu) and not any(one == "any" or one.endswith("aarch64") for one in machines):
            return Fit("no", None)
        return fit(self.card, gpu)

    @property
    def fits(self) -> tuple[tuple[Arch, Fit], ...]:
        """How it runs on every known compute capability where it runs at all."""
        return tuple((arch, found) for arch in _archs() if (found := self.fit(arch)).outcome != "no")


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
        choice: the answer; None if nothing runs.
        needs: the driver under which something would run, if it is only that.
    """

    gpu: str
    driver: str
    name: str = ""
    problem: str = ""
    choice: Choice | None = None
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
    by_gpu = [(arch, _choose(wheels, arch, None, owned, index)) for arch in _archs()]
    page = _templates().get_template("project.html")
    return page.render(
        project=project,
        wheels=wheels,
        by_gpu=[(arch, choice) for arch, choice in by_gpu if choice],
        question=_ask(wheels, gpu, driver, owned, index) if gpu or driver else Question("", ""),
        asked=bool(gpu or driver),
        form=form,
        gpus=[one.name for one in all_gpus()],
        url=url,
        up="../../",
    ).encode()


def _ask(wheels: Sequence[Wheel], gpu: str, driver: str, owned: frozenset[str], index: str) -> Question:
    try:
        name, arch = find_arch(gpu)
        version = parse_driver(driver)
    except (UnknownGpuError, UsageError) as error:
        return Question(gpu, driver, problem=f"{error.cause} {_without_options(error.remedy)}")
    choice = _choose(wheels, arch, version, owned, index)
    newer = None if choice else _choose(wheels, arch, None, owned, index)
    return Question(gpu, driver, name=name, choice=choice, needs=newer.fit.driver if newer else None)


def _without_options(remedy: str) -> str:
    """A remedy for people who see a form, not a command line."""
    question, mark, _ = remedy.partition("? ")
    if mark:
        return f"{question}? A compute capability such as 12.0 does as well."
    return remedy if "`" not in remedy else "Write a name from the list, or a compute capability such as 12.0."


def _choose(
    wheels: Sequence[Wheel], gpu: Arch, driver: Version | None, owned: frozenset[str], index: str
) -> Choice | None:
    """The newest version that runs natively under the driver, else after JIT, else partly; None if none runs."""
    found = [(wheel, wheel.fit(gpu)) for wheel in wheels if "yanked" not in wheel.file]
    usable = [(wheel, how) for wheel, how in found if how.accepts(driver)]
    if not usable:
        return None
    best, how = min(usable, key=lambda one: _RANK[one[1].outcome])  # the first of equals: they come newest first
    same = tuple(w for w, other in usable if w.version == best.version and other.outcome == how.outcome)
    return Choice(same, how, _commands(best, owned, index))


def _commands(wheel: Wheel, owned: frozenset[str], index: str) -> tuple[str, ...]:
    """Install what it needs from elsewhere by the usual way, then the wheel from this index and nowhere else."""
    name = parse_wheel_filename(wheel.card.filename)[0]
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
                version=version,
                python=", ".join(sorted({f"{tag.interpreter}-{tag.abi}" for tag in tags})),
                platform=", ".join(sorted({tag.platform for tag in tags})),
                card=card_of(layout.root, project, layout.root / wheel, file["hashes"]["sha256"]),
            )
        )
    return tuple(sorted(found, key=lambda wheel: (wheel.version, wheel.card.filename), reverse=True))


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
    listed = {wheel.card.filename for wheel in _wheels(layout, project)}
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
