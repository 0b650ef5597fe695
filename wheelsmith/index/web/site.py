"""The pages themselves.

In: the JSON pages of an index (what pip and uv see, no more) and the cards of its wheels. Out: `index.html`,
`project/<name>/index.html`, `style.css` and `script.js` in the index's directory, or one project's page with the answer
for one GPU and driver. What a publish costs does not grow with the index: the home page keeps a line for each project,
wheels are judged from the newest version on until nothing better can come, and older ones are only listed. Fails with
`StoreError` on a directory that cannot be written.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.metadata import parse_email

from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.facts import all_gpus, family, gpus_of
from wheelsmith.gpu.select import parse_targets
from wheelsmith.index.files import locked, storage_errors, write_atomic
from wheelsmith.index.layout import Layout
from wheelsmith.index.web.choosing import Choice, Wheel, choose, known_archs, wheels_of
from wheelsmith.index.web.home import Home, Line, read_home, write_home
from wheelsmith.index.web.summary import cards_folder
from wheelsmith.index.web.templating import template, text
from wheelsmith.report.html import style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


_DETAILED = 3  # versions whose wheels are described; older ones are listed
_MOST_LINES = 500
UNKNOWN_URL = "INDEX_URL"  # stands in commands where nobody said under which address the index is served


@dataclass(frozen=True, slots=True)
class Group:
    """The GPUs that share an answer."""

    archs: tuple[Arch, ...]
    choice: Choice

    @property
    def names(self) -> tuple[str, ...]:
        """The GPUs, by name."""
        return tuple(gpu.name for arch in self.archs for gpu in gpus_of(arch))

    @property
    def first(self) -> tuple[str, ...]:
        """One or two GPUs of each compute capability."""
        each = 2 if len(self.archs) < 4 else 1
        return tuple(gpu.name for arch in self.archs for gpu in gpus_of(arch)[:each])


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
    scratch = layout.staging.parent
    known = read_home(layout).lines
    changed = [name for name in listed if projects is None or name in set(projects) or name not in known]
    pages = {}
    with storage_errors(layout.root):
        scratch.mkdir(parents=True, exist_ok=True)
        for project in changed:  # slow the first time, so before the lock
            pages[project] = _page(layout, project, frozenset(listed), url or UNKNOWN_URL)
        with locked(scratch / "people.lock"):
            shown = {
                "style.css": style("base.css") + text("style.css"),
                "script.js": text("script.js"),
            }
            for name, content in shown.items():
                write_atomic(layout.root / name, content.encode(), scratch)
            for project, page in pages.items():
                data = page.render(form=False, url=url)
                if data is not None:
                    write_atomic(layout.root / "project" / project / "index.html", data, scratch)
                    _remove_old_cards(layout, project, page.wheels)
            listed = _listed(layout)
            made = {**read_home(layout).lines, **{name: page.line for name, page in pages.items() if page.wheels}}
            home = Home({name: made[name] for name in listed if name in made})
            write_home(layout, home)
            write_atomic(layout.root / "index.html", _home_page(home, len(listed), form=False, words=""), scratch)
            _remove_gone(layout, frozenset(listed))


def index_page(root: Path, *, words: str = "") -> bytes:
    """The page of all projects, with a form to search them, as a server shows it; or of those that hold all `words`."""
    layout = Layout(root.absolute())
    return _home_page(read_home(layout), len(_listed(layout)), form=True, words=words)


def _home_page(home: Home, count: int, *, form: bool, words: str) -> bytes:
    lines = home.matching(words) if words.split() else home.newest_first()
    page = template("index.html")
    return page.render(lines=lines[:_MOST_LINES], count=count, left=len(lines), form=form, words=words, up="").encode()


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
    page = _page(layout, project, frozenset(_listed(layout)), url or UNKNOWN_URL)
    return page.render(form=form, url=url, gpu=gpu, driver=driver)


@dataclass(frozen=True)
class _Page:
    """One project's page, judged."""

    project: str
    wheels: tuple[Wheel, ...]
    groups: tuple[Group, ...]
    owned: frozenset[str]
    index: str

    def render(self, *, form: bool, url: str | None, gpu: str = "", driver: str = "") -> bytes | None:
        """The page; None if the index does not list the project."""
        if not self.wheels:
            return None
        versions = list(dict.fromkeys(wheel.version for wheel in self.wheels))[:_DETAILED]
        detailed = [wheel for wheel in self.wheels if wheel.version in versions]
        asked = bool(gpu or driver)
        return (
            template("project.html")
            .render(
                project=self.project,
                line=self.line,
                wheels=self.wheels,
                detailed=detailed,
                older=self.wheels[len(detailed) :],
                groups=self.groups,
                question=_ask(self.wheels, gpu, driver, self.owned, self.index) if asked else Question("", ""),
                asked=asked,
                form=form,
                gpus=[one.name for one in all_gpus()],
                url=url,
                up="../../",
            )
            .encode()
        )

    @property
    def line(self) -> Line:
        """What the home page says."""
        newest = self.wheels[0]
        native = [arch for group in self.groups if group.choice.fit.answer == "yes" for arch in group.archs]
        return Line(
            name=self.project,
            version=str(newest.version),
            time=max(wheel.file["upload-time"] for wheel in self.wheels),
            summary=_summary(newest),
            gpus=tuple(dict.fromkeys(family(arch) for arch in sorted(native))),
            has_code=any(group.choice.fit.answer != "host" for group in self.groups),
            files=len(self.wheels),
        )


def _page(layout: Layout, project: str, owned: frozenset[str], index: str) -> _Page:
    wheels = wheels_of(layout, project)
    found: dict[tuple[object, ...], list[Arch]] = {}
    choices: dict[tuple[object, ...], Choice] = {}
    for arch in known_archs() if wheels else ():
        for choice in choose(wheels, arch, None, owned, index):
            key = (tuple(wheel.filename for wheel in choice.wheels), choice.fit, choice.commands)
            found.setdefault(key, []).append(arch)
            choices[key] = choice
    groups = tuple(Group(tuple(archs), choices[key]) for key, archs in found.items())
    return _Page(project, wheels, tuple(sorted(groups, key=lambda group: group.archs, reverse=True)), owned, index)


def _summary(wheel: Wheel) -> str:
    """The Summary of METADATA, which lies beside the wheel."""
    try:
        raw, _ = parse_email(wheel.metadata.read_bytes())
    except OSError:
        return ""
    return " ".join(raw.get("summary", "").split())[:200]


def _ask(wheels: Sequence[Wheel], gpu: str, driver: str, owned: frozenset[str], index: str) -> Question:
    try:
        name, arch = _find_arch(gpu)
        version = Driver.parse(driver) if driver.strip() else None
    except (UnknownGpuError, TargetError) as error:
        return Question(gpu, driver, problem=f"{error.cause} {_without_options(error.remedy)}")
    choices = choose(wheels, arch, version, owned, index)
    newer = () if choices else choose(wheels, arch, None, owned, index)
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


def _listed(layout: Layout) -> list[str]:
    try:
        page = json.loads(layout.page(None, "json").read_bytes())
    except FileNotFoundError:
        return []
    return [project["name"] for project in page["projects"]]


def _remove_gone(layout: Layout, listed: frozenset[str]) -> None:
    folder = layout.root / "project"
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in listed:
            shutil.rmtree(path, ignore_errors=True)


def _remove_old_cards(layout: Layout, project: str, wheels: Iterable[Wheel]) -> None:
    listed = {wheel.filename for wheel in wheels}
    for path in cards_folder(layout, project).glob("*.json"):
        if path.name.removesuffix(".json") not in listed:
            path.unlink(missing_ok=True)
