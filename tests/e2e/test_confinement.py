"""A hostile package, built: nothing that it tries goes through, and what it hands over is checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.support import hostile, pure_build
from wheelsmith.compile.sandbox import NO_NAMESPACES, isolation_here
from wheelsmith.errors import CompileError, IsolationError
from wheelsmith.events import Event, Note, ToolLine

pytestmark = pytest.mark.e2e
confined = pytest.mark.skipif(not isolation_here().confined, reason="this machine allows no confinement")


@pytest.fixture
def unconfined(monkeypatch):
    """A machine whose kernel gives no namespaces."""
    monkeypatch.setenv(NO_NAMESPACES, "1")
    isolation_here.cache_clear()
    yield
    isolation_here.cache_clear()


class Builder:
    """Builds the package with a backend that runs a text, for a caller who has secrets."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.inside = directory, ""
        self.events: list[Event] = []
        self.toolkit = pure_build.toolkit(directory / "cuda")

    def build(self, inside: str, **more):
        if inside != self.inside:  # the same archive has another digest the next time
            self.inside, self.recipes = inside, pure_build.project(self.directory / "project", inside)
        places: dict[str, Any] = {
            "store": self.directory / "store",
            "index": self.directory / "dist",
            "toolkit": self.toolkit,
        }
        return wheelsmith.build(
            "toycuda", recipes=[self.recipes], environment="current", listener=self.events.append, **places, **more
        )

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, ToolLine)]

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note) and event.warning]

    def probe(self, monkeypatch) -> dict[str, str]:
        store, index = self.directory / "store", self.directory / "dist"
        own = Path(wheelsmith.__file__).parent
        with hostile.caller(self.directory, store, index, own, self.toolkit) as places:
            monkeypatch.setenv("HOME", places["home"])
            monkeypatch.setenv("PROBE_SECRET", "hunter2")
            self.result = self.build(hostile.inside(places))
        return hostile.results(self.lines)


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path)


@confined
def test_nothing_goes_through(builder, monkeypatch):
    came = builder.probe(monkeypatch)
    assert len(came) > 70
    assert {name: text for name, text in came.items() if not text.startswith("no: ")} == {}


def test_without_namespaces_no_secret_is_read_and_the_record_says_none(builder, monkeypatch, unconfined):
    came = builder.probe(monkeypatch)
    through = {name for name, text in came.items() if not text.startswith("no: ")}
    assert not through & {"the caller's environment in /proc", "secrets in the own environment", "capabilities"}
    assert not through & {"new privileges", "memory of process 1", "trace process 1", "a user namespace"}
    (warning,) = [text for text in builder.warnings if "not confined" in text]
    assert NO_NAMESPACES in warning
    isolation = builder.result.record["isolation"]
    assert (isolation["level"], isolation["canonical_path"], isolation["network"]) == ("none", None, True)
    if isolation["files_restricted"]:
        assert not through & {name for name in came if name.startswith(("read ", "write ", "list "))}


def test_isolation_that_is_required_and_cannot_be_had_stops_the_build(builder, unconfined, tmp_path, monkeypatch):
    with pytest.raises(IsolationError) as caught:
        builder.build("open('/ran', 'w')", require_isolation=True)
    assert caught.value.exit_code == 36
    (tmp_path / "config.toml").write_text("require_isolation = true\n")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(IsolationError):
        builder.build("open('/ran', 'w')")
    assert not list(tmp_path.glob("dist/*.whl"))


# After the backend has written its wheel `made`, and before anybody looks: when its Python ends.
LATE = """
import atexit
made = "/tmp/wheelsmith-build/out/toycuda-1.0-py3-none-linux_x86_64.whl"
atexit.register(lambda: [ACTION])
"""
HANDED_OVER = {
    "os.rename(made, made + '.real'), os.symlink(made + '.real', made)": "symbolic links",
    "os.unlink(made), os.symlink('/etc/passwd', made)": "symbolic links",
    "os.unlink(made), os.mkfifo(made)": "it is not a regular file",
    "os.unlink(made), os.mkdir(made)": "it is not a regular file",
    "os.link(made, made + '.too')": "it has a second name",
    "os.chmod(made, 0o4755)": "it is setuid or setgid",
    "os.unlink(made)": "there is no such file",
    "os.truncate(made, 40 * 10**9)": "and 32,000,000,000 are believed",
}


@confined
@pytest.mark.parametrize("action", HANDED_OVER)
def test_a_wheel_that_is_not_one_plain_file_is_not_taken(builder, action):
    with pytest.raises(CompileError) as caught:
        builder.build(LATE.replace("ACTION", action))
    assert HANDED_OVER[action] in caught.value.cause


@pytest.mark.parametrize("name", ["../../escaped.whl", "/tmp/x.whl", "request.json", "a-1-py3-none-any.whl/../b"])
def test_a_name_that_leads_elsewhere_is_not_taken(tmp_path, name):
    from wheelsmith.compile.result import take_wheel

    (tmp_path / "out").mkdir()
    with pytest.raises(CompileError):
        take_wheel(tmp_path / "out", name, tmp_path / "taken")


def daemon(directory: Path | str) -> str:
    return f"""
if not os.fork():
    os.setsid()
    if not os.fork():
        for descriptor in range(3):
            os.close(descriptor)
        time.sleep(3)
        pathlib.Path({str(directory)!r}, "survived").touch()
    os._exit(0)
"""


@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=confined), False])
def test_nothing_outlives_the_build(builder, tmp_path, monkeypatch, namespaces, request):
    if not namespaces:
        request.getfixturevalue("unconfined")
    place = "/tmp/wheelsmith-build/home" if namespaces else str(tmp_path / "store")
    result = builder.build(daemon(place))
    assert result.published
    started = time.monotonic()
    while time.monotonic() - started < 4:
        assert not list((tmp_path / "store").rglob("survived"))
        time.sleep(0.5)


# What wheelsmith writes when it goes on with a build: the first run laid links there, to a file of the caller.
TRAPS = """
if not os.path.exists("/tmp/wheelsmith-build/home/second"):
    import shutil
    pathlib.Path("/tmp/wheelsmith-build/home/second").touch()
    for name in ("launch/place.py", "launch/unfinished.new", "cache/front", "cache/statistics", "tmp/x", "out/y"):
        path = "/tmp/wheelsmith-build/" + name
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink("PRECIOUS", path)
    os.symlink("DIRECTORY", "/tmp/wheelsmith-build/src/d")
    raise SystemExit("the first run")
"""


@confined
def test_links_that_a_build_left_lead_the_next_run_nowhere(builder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    code = TRAPS.replace("PRECIOUS", str(precious)).replace("DIRECTORY", str(tmp_path))
    with pytest.raises(CompileError):
        builder.build(code)
    (failed,) = (tmp_path / "store/work").glob("*.failed")
    work = failed.rename(failed.with_suffix(""))  # as if it had been killed, and not failed
    place = "/tmp/wheelsmith-build/src"
    (work / "unfinished").write_text(f"{place}/d/precious\n{place}/../../../../precious\n{place}/d/../precious\n")
    assert builder.build(code).published
    assert precious.read_text() == "as it was"
