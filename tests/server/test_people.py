"""The pages for people: what they say about a wheel, and that nobody is shut out."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from packaging.version import Version

from tests.support.index_wheels import make_wheel
from tests.support.running import running
from wheelsmith.errors import UnknownGpuError, UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.index.manage import remove, yank
from wheelsmith.index.publish import publish
from wheelsmith.index.web.advice import Fit, find_arch, fit, parse_driver
from wheelsmith.index.web.site import project_page, render
from wheelsmith.index.web.summary import Card, Code


def _card(*libraries: tuple[Code, ...], cuda: str | None = None) -> Card:
    named = tuple((f"lib{number}.so", codes) for number, codes in enumerate(libraries))
    return Card("x", "0" * 64, named, cuda, None, None, (), ())


def sass(arch: str) -> Code:
    return Code("sass", arch, 100)


def ptx(arch: str, isa: str) -> Code:
    return Code("ptx", arch, 100, isa)


@pytest.mark.parametrize(
    ("card", "gpu", "expected"),
    [
        (_card((sass("8.6"),), cuda="12.8"), "8.6", Fit("native", "525.60.13")),
        (_card((sass("8.6"),), cuda="12.8"), "8.9", Fit("native", "525.60.13")),
        (_card((sass("8.6"),), cuda="12.8"), "8.0", Fit("no", None)),
        (_card((sass("8.6"),), cuda="13.0"), "8.6", Fit("native", "580")),
        (_card((sass("12.0"),), cuda="12.8"), "12.0", Fit("native", "570.26")),  # no driver knows the GPU before
        (_card((sass("9.0a"),), cuda="12"), "10.0", Fit("no", None)),
        (_card((sass("8.0"), ptx("8.0", "9.0")), cuda="13.0"), "9.0", Fit("jit", "580.65.06")),
        (_card((sass("8.0"),), (sass("9.0"),), cuda="12.8"), "9.0", Fit("partly", "525.60.13")),
        (_card((sass("8.0"),), (ptx("8.0", "8.7"),), cuda="12.8"), "8.0", Fit("jit", "570.26")),
        (_card((sass("8.6"),)), "8.6", Fit("native", None)),
        (_card(), "8.6", Fit("any", None)),
    ],
)
def test_where_a_wheel_runs_and_since_which_driver(card: Card, gpu: str, expected: Fit) -> None:
    assert fit(card, Arch.parse(gpu)) == expected


def test_what_people_type() -> None:
    assert find_arch("nvidia geforce rtx 5090") == ("RTX 5090", Arch(12, 0))
    assert find_arch("sm_86") == ("compute capability 8.6", Arch(8, 6))
    assert parse_driver(" 580.65.06 ") == Version("580.65.6")
    assert parse_driver("") is None
    with pytest.raises(UnknownGpuError):
        find_arch("<script>")
    for wrong in ("new", "580;1", "9" * 30, "٥٨٠"):
        with pytest.raises(UsageError):
            parse_driver(wrong)


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
        assert self.all("script") == []
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


def test_a_wheel_is_inspected_once_and_a_bad_card_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wheelsmith.index.web import summary as card

    publish([make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    inspected = []
    real = card.inspect_path
    monkeypatch.setattr(card, "inspect_path", lambda path: inspected.append(path.name) or real(path))
    for _ in range(3):
        render(tmp_path / "dist")
    assert len(inspected) == 1
    (path,) = (tmp_path / "dist/records/cards/leaf").iterdir()
    for damage in (b"", b"{}", path.read_bytes().replace(json.loads(path.read_bytes())["sha256"].encode(), b"0" * 64)):
        path.write_bytes(damage)
        render(tmp_path / "dist")
    assert len(inspected) == 4


def test_a_wheel_that_cannot_be_read_does_not_take_the_page_with_it(tmp_path: Path) -> None:
    header = b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0"  # of x86-64, and then nonsense
    nonsense = {"leaf/_C.so": header + b"\xff" * 60}
    broken = make_wheel(tmp_path / "in", "leaf", "2.0", tag="py3-none-linux_x86_64", more=nonsense)
    publish([broken, make_wheel(tmp_path / "in", "leaf", "1.0")], tmp_path / "dist")
    text = project_page(tmp_path / "dist", "leaf").decode()
    assert "What is in it could not be read" in text
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
