"""The pages for people: what they say about a wheel, and that nobody is shut out."""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import wheelsmith
from tests.support.index_wheels import make_wheel
from tests.support.running import running
from wheelsmith.compat.summary import Code, Library, Units, WheelSummary
from wheelsmith.gpu.arch import Arch
from wheelsmith.index.manage import remove, yank
from wheelsmith.index.publish import publish
from wheelsmith.index.web import site
from wheelsmith.index.web.choosing import wheels_of
from wheelsmith.index.web.site import project_page, render
from wheelsmith.wheel.inspect import inspect_path

pytestmark = pytest.mark.e2e


def _kept(*libraries: str, version: str = "1.0+cu128") -> WheelSummary:
    """A library is units, separated by `|`, each as `8.6 ptx8.6@8.7`."""
    found = []
    for number, units in enumerate(libraries):
        made = []
        for unit in units.split("|"):
            items = (item.removeprefix("ptx").partition("@") for item in unit.split())
            made.append(
                Units(1, tuple(Code("ptx" if i else "sass", Arch.parse(a), i or None, size=9) for a, _, i in items))
            )
        found.append(Library(f"lib{number}.so", tuple(made)))
    return WheelSummary("x", "0" * 64, "x", version, (), tuple(found))


def _publish(tmp_path: Path, summary: WheelSummary, tag: str = "cp311-cp311-manylinux_2_34_x86_64") -> None:
    """A wheel of which the index keeps this summary."""
    wheel = make_wheel(tmp_path / "in", "gpu", str(summary.version), tag=tag)
    publish([wheel], tmp_path / "dist")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    kept = replace(summary, filename=wheel.name, sha256=sha256, name="gpu")
    path = tmp_path / f"dist/records/cards/gpu/{wheel.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"summary": kept.to_dict(), "sboms": []}))


@pytest.mark.parametrize(
    ("summary", "gpu", "driver", "says"),
    [
        (_kept("8.6"), "A40", "", "native, driver 525.60.13 or newer."),
        (_kept("8.6"), "L40S", "", "native, driver 525.60.13 or newer."),
        (_kept("8.6"), "A100", "", "No wheel of gpu runs on A100."),
        (_kept("8.6", version="1.0+cu130"), "A40", "", "native, driver 580"),
        (_kept("12.0"), "RTX 5090", "", "native, driver 570.26 or newer."),  # no driver knows the GPU before
        (_kept("9.0a"), "B200", "", "No wheel of gpu runs on B200."),
        (_kept("8.0 ptx8.0@9.0", version="1.0+cu130"), "H100", "", "after JIT compilation, driver 580.65.06 or newer."),
        (_kept("8.0", "9.0"), "H100", "", "No wheel of gpu runs on H100."),
        # One unit runs and another has only PTX that the driver refuses: never "native" (kind 9 of the judge's faults).
        (_kept("8.0 12.0|8.0 ptx8.0@8.8"), "RTX 5090", "570.124.06", "only partly"),
        (_kept("8.0 12.0|8.0 ptx8.0@8.8"), "RTX 5090", "", "after JIT compilation, driver 575.51.03 or newer."),
        (_kept("8.6", version="1.0"), "A40", "", "native, driver 580"),  # which CUDA release made it is not known
        (WheelSummary("x"), "A40", "", "not judged: no GPU code"),
    ],
)
def test_the_page_says_what_the_judge_says(tmp_path, summary, gpu, driver, says) -> None:
    _publish(tmp_path, replace(summary, version=summary.version or "1.0"))
    text = unescape(
        re.sub(r"<[^>]+>", "", project_page(tmp_path / "dist", "gpu", form=True, gpu=gpu, driver=driver).decode())
    )
    answer = " ".join(text.partition("Find the wheel")[2].partition("By GPU")[0].split())
    assert says in answer


def test_each_platform_gets_its_own_wheel(tmp_path: Path) -> None:
    _publish(tmp_path, _kept("8.6"))
    _publish(tmp_path, _kept("8.6", version="2.0+cu128"), tag="cp311-cp311-win_amd64")
    text = project_page(tmp_path / "dist", "gpu", form=True, gpu="A40").decode()
    answer = text.partition('class="answer"')[2].partition("</section>")[0]
    assert answer.index("gpu 1.0+cu128") < answer.index("gpu 2.0+cu128")
    assert "on manylinux_2_34_x86_64" in answer
    assert "on win_amd64" in answer


def test_what_people_type(tmp_path: Path) -> None:
    _publish(tmp_path, _kept("8.6"))

    def asked(gpu: str, driver: str = "") -> str:
        return project_page(tmp_path / "dist", "gpu", form=True, gpu=gpu, driver=driver).decode()

    assert "No wheel of gpu runs on RTX 5090." in asked("nvidia geforce rtx 5090")
    assert "on compute capability 8.6:" in asked("sm_86")
    assert "on A40:" in asked("a40", " 580.65.06 ")
    for wrong in ("new", "580;1", "9" * 30):
        assert "is not a driver version." in unescape(asked("A40", wrong))


class _Page(HTMLParser):
    """Collects tags, and checks what a screen reader depends on."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unlabelled: list[str] = []
        self._open: list[str] = []
        self.feed(text.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "input" and "label" not in self._open:
            self.unlabelled.append(str(attrs))
        if tag not in {"meta", "link", "br", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def check(self) -> None:
        assert self._open == []
        assert self.unlabelled == []
        assert self.all("html")[0]["lang"] == "en"
        assert len(self.all("h1")) == len(self.all("main")) == len(self.all("title")) == 1
        assert all(header.get("scope") in {"row", "col"} for header in self.all("th"))
        assert [attrs["src"].rpartition("/")[2] for attrs in self.all("script")] == ["script.js"]  # none in the page
        ids = [attrs["id"] for _, attrs in self.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        named = {
            attrs[key] for _, attrs in self.tags for key in ("aria-labelledby", "aria-describedby") if key in attrs
        }
        assert named <= set(ids)
        levels = [int(tag[1]) for tag, _ in self.tags if tag in {"h1", "h2", "h3"}]
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_static_pages_stand_alone(tmp_path: Path) -> None:
    """Every link on them leads to a file."""
    metadata = "Requires-Dist: torch==2.9.1\nRequires-Dist: other\nRequires-Dist: x; extra == 'dev'\n"
    publish(
        [
            make_wheel(tmp_path / "in", "leaf", "1.0+cu130", metadata=metadata),
            make_wheel(tmp_path / "in", "other", "1"),
        ],
        tmp_path / "dist",
    )
    render(tmp_path / "dist")
    pages = [tmp_path / "dist/index.html", *(tmp_path / "dist/project").glob("*/index.html")]
    assert len(pages) == 3
    for path in pages:
        page = _Page(path.read_bytes())
        page.check()
        for link in [*page.all("a"), *page.all("link")]:
            target = Path(unquote(urlsplit(urljoin(path.as_uri(), link["href"])).path))
            assert target.is_file() or (target / "index.html").is_file(), link
    text = (tmp_path / "dist/project/leaf/index.html").read_text()
    assert "<code>pip install torch==2.9.1</code>\n<code>pip install --index-url INDEX_URL leaf==1.0+cu130</c" in text
    assert "<dt>torch</dt><dd>==2.9.1</dd>" in text
    assert "extra-index" not in text


def test_pages_follow_the_index(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    publish([make_wheel(tmp_path / "in", "leaf", version) for version in ("1.0", "2.0")], dist)
    publish([make_wheel(tmp_path / "in", "gone", "1.0")], dist)
    render(dist)
    yank(dist, "leaf==2.0", reason='<img src=x onerror="alert(1)">')
    remove(dist, "gone", force=True)
    render(dist)
    text = project_page(dist, "leaf").decode()
    assert "Yanked: &lt;img src=x onerror=&#34;alert(1)&#34;&gt;" in text
    assert "leaf==1.0</code>" in text
    assert "leaf==2.0</code>" not in text
    assert not (dist / "project/gone").exists()
    assert project_page(dist, "gone") is None
    assert project_page(dist, "../leaf") is None


def _commands(tmp_path: Path, requires: str, tag: str = "cp312-cp312-linux_x86_64") -> str:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0", tag=tag, metadata=requires)], tmp_path / "dist")
    text = unescape(project_page(tmp_path / "dist", "leaf").decode())
    return text.partition('<pre class="command"')[2].partition("</pre>")[0]


@pytest.mark.parametrize(
    ("requires", "command"),
    [
        ('tomli; python_version < "3.11"', None),
        ('tomli; python_version >= "3.11"', "pip install tomli"),
        ('pywin32; sys_platform == "win32"', None),
        ('x; platform_machine == "aarch64"', None),
        ("evil @ file:///etc/passwd", None),
        ("evil @ git+ssh://host/x", None),
        ("evil @ ext::sh", None),
        ("good @ https://files.example/good.whl", "pip install 'good @ https://files.example/good.whl'"),
        ("x>=1", "pip install 'x>=1'"),
    ],
)
def test_commands_hold_what_can_apply_and_nothing_to_run_unseen(
    tmp_path: Path, requires: str, command: str | None
) -> None:
    lines = [
        line.partition("</code>")[0] for line in _commands(tmp_path, f"Requires-Dist: {requires}\n").split("<code>")
    ]
    needs = [line for line in lines if line.startswith("pip install ") and "INDEX_URL" not in line]
    assert needs == ([] if command is None else [command])


def test_what_may_apply_keeps_its_marker(tmp_path: Path) -> None:
    said = 'Requires-Dist: tomli; python_version < "3.11"\n'
    assert "pip install 'tomli; python_version < \"3.11\"'" in _commands(tmp_path, said, "py3-none-any")


def test_withheld_requirements_are_named(tmp_path: Path) -> None:
    publish(
        [make_wheel(tmp_path / "in", "leaf", "1.0", metadata="Requires-Dist: evil @ file:///x\n")], tmp_path / "dist"
    )
    text = unescape(project_page(tmp_path / "dist", "leaf").decode())
    assert "It also requires evil @ file:///x, which is no http address" in text


def test_the_home_page_follows_one_publish_and_is_searched(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    wheelsmith.publish([make_wheel(tmp_path / "in", "leaf", "1.0", metadata="Summary: green things\n")], index=dist)
    twig = make_wheel(tmp_path / "in", "twig", "2.0", metadata="Summary: brown <b>\n")
    wheelsmith.publish([twig, make_wheel(tmp_path / "in", "bark", "2.0")], index=dist)
    text = (dist / "index.html").read_text()
    assert text.index("bark") < text.index("twig") < text.index("leaf")  # newest first, then by name
    assert "brown &lt;b&gt;" in text
    with running(dist) as server:
        found = server.ask("/?q=GREEN").body
        _Page(found).check()
        assert b"1 of 3 match" in found
        assert (b">leaf</a>" in found, b">twig</a>" in found) == (True, False)
        assert b"<script>alert" not in server.ask("/?q=%3Cscript%3Ealert").body
    wheelsmith.index_rm("leaf", index=dist, force=True)
    assert "leaf" not in (dist / "index.html").read_text()
    (dist / "records/cards/home.json").write_text("{")
    wheelsmith.publish([make_wheel(tmp_path / "in", "fern", "1.0")], index=dist)
    assert {"twig", "fern"} <= {*re.findall(r">(\w+)</a>", (dist / "index.html").read_text())}


def test_one_publish_looks_at_one_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = [make_wheel(tmp_path / "in", name, "1.0") for name in ("leaf", "twig")]
    wheelsmith.publish(wheels, index=tmp_path / "dist")
    seen: list[str] = []
    real = wheels_of
    monkeypatch.setattr(site, "wheels_of", lambda layout, project: seen.append(project) or real(layout, project))
    wheelsmith.publish([make_wheel(tmp_path / "in", "twig", "2.0")], index=tmp_path / "dist")
    assert seen == ["twig"]


def test_gpus_that_share_an_answer_share_a_place(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    text = project_page(tmp_path / "dist", "leaf").decode()
    assert text.count('class="group"') == 1


def test_old_versions_are_listed_and_not_judged(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", f"1.{n}") for n in range(9)], tmp_path / "dist")
    text = project_page(tmp_path / "dist", "leaf").decode()
    assert text.count('<article class="wheel"') == 3
    assert text.count('<li><a href="../../leaf-1.') == 6
    assert "leaf==1.8</code>" in text


def test_a_wheel_is_inspected_once_and_a_bad_card_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wheelsmith.index.web import summary as card

    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    inspected = []
    real = inspect_path
    monkeypatch.setattr(card, "inspect_path", lambda path: inspected.append(path.name) or real(path))
    for _ in range(3):
        render(tmp_path / "dist")
    assert len(inspected) == 1
    (path,) = (tmp_path / "dist/records/cards/leaf").iterdir()
    for damage in (
        b"",
        b"{}",
        path.read_bytes().replace(json.loads(path.read_bytes())["summary"]["sha256"].encode(), b"0" * 64),
    ):
        path.write_bytes(damage)
        render(tmp_path / "dist")
    assert len(inspected) == 4


def test_a_wheel_that_cannot_be_read_does_not_take_the_page_with_it(tmp_path: Path) -> None:
    header = b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0"  # of x86-64, and then nonsense
    nonsense = {"leaf/_C.so": header + b"\xff" * 60}
    broken = make_wheel(tmp_path / "in", "leaf", "2.0", tag="py3-none-linux_x86_64", more=nonsense)
    publish([broken, make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    text = project_page(tmp_path / "dist", "leaf").decode()
    assert "Not judged: leaf/_C.so: damaged, or of an unknown form" in text
    assert "leaf==1.0</code>" in text
    assert "leaf==2.0</code>" not in text


def test_the_server_answers_the_form(tmp_path: Path) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    with running(tmp_path / "dist") as server:
        asked = server.ask("/project/leaf/?gpu=RTX+5090&driver=580.65.06")
        page = asked.body.decode()
        _Page(asked.body).check()
        assert "<strong>leaf 1.0</strong> on RTX 5090:" in page
        assert f"pip install --index-url {server.url}simple/ leaf==1.0" in page
        assert "default-src 'none'" in asked.headers["content-security-policy"]
        lied = server.ask("/project/leaf/?gpu=A40", headers={"Host": "evil.example;rm"}).body.decode()
        assert f"pip install --index-url {server.url}simple/ leaf==1.0" in lied
        assert "evil" not in lied
        assert "evil" not in str(server.ask("/health/", headers={"Host": "evil.example"}).headers)
        evil = server.ask("/project/leaf/?gpu=%22%3E%3Cscript%3E&driver=1").body.decode()
        assert "<script>" not in evil
        assert "No GPU is known by the name" in evil
        assert server.ask("/project/absent/").status == 404
        assert server.ask("/project/..%2f..%2f/").status == 404


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it_with_its_style(tmp_path: Path, width: int) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},800", "--enable-logging=stderr"]
    with running(tmp_path / "dist") as server:
        shown = subprocess.run(
            ["chromium", *flags, "--dump-dom", f"{server.url}project/leaf/?gpu=H100"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert "<strong>leaf 1.0</strong> on H100" in shown.stdout
    assert "Content Security Policy" not in shown.stderr  # nothing on the page was blocked
