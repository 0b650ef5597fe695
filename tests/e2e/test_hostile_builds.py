"""Builds that do what no build should: a clear error, nothing half-written, and the next run of the same plan works."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.support import pure_build
from wheelsmith.compile import process
from wheelsmith.compile.sandbox import NO_NAMESPACES, isolation_here
from wheelsmith.errors import CompileError, DiskFullError
from wheelsmith.events import Event, ToolLine

pytestmark = pytest.mark.e2e
confined = pytest.mark.skipif(not isolation_here().confined, reason="this machine allows no confinement")
PLACE = "/tmp/wheelsmith-build"
WHEEL = f"{PLACE}/out/toycuda-1.0-py3-none-linux_x86_64.whl"

#: The plan stays the same, and so does what it does: only the first time it is bad.
ONCE = f"""
import atexit, subprocess
made = "{WHEEL}"
if not os.path.exists("{PLACE}/cuda/include/be-good"):
    WHAT
"""


class Builder:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: list[Event] = []
        self.store, self.index = directory / "store", directory / "dist"
        self.toolkit = pure_build.toolkit(directory / "cuda")

    def project(self, code: str) -> None:
        indented = "\n    ".join(code.strip().splitlines())
        self.recipes = pure_build.project(self.directory / "project", ONCE.replace("WHAT", indented))

    def build(self):
        places: dict[str, Any] = {"store": self.store, "index": self.index, "toolkit": self.toolkit}
        return wheelsmith.build(
            "toycuda", recipes=[self.recipes], environment="current", listener=self.events.append, **places
        )

    def works_now(self) -> None:
        """The same plan is built, and nothing of the bad run is left."""
        assert not list(self.index.glob("*.whl"))
        (self.toolkit / "include/be-good").touch()
        assert self.build().published
        assert [*self.store.glob("work/*"), *self.store.glob("work/.*"), *self.store.glob("*/.*.going")] == []


@pytest.fixture
def builder(tmp_path):
    yield Builder(tmp_path)
    subprocess.run(["rm", "-rf", tmp_path / "store"], check=True)  # pytest cannot remove what is too deep


#: What the backend does, and words of the error.
BAD = {
    "a hook answer of 200 MB": (
        "json.dump = lambda data, file, **more: [file.write('[' * 10**7) for _ in range(20)]",
        "RecursionError",
    ),
    "a hook answer that is no text": (
        "json.dump = lambda data, file, **more: file.write('{\"return_val\": {}}')",
        "the backend's answer cannot be read: TypeError",
    ),
    "another wheel than the answer names": (
        "atexit.register(os.rename, made, made.replace('1.0', '1.1'))",
        "'toycuda-1.0-py3-none-linux_x86_64.whl', which is not taken: there is no such file",
    ),
    "control sequences for the terminal": (
        "print('error: \\x1b]0;title\\x07\\x1b[2J\\r::set-output name=x::y', flush=True); raise SystemExit(1)",
        "",
    ),
    "processes without end": (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (60, 60))\n"
        "pathlib.Path('bomb.py').write_text('import os\\nwhile True:\\n try: os.fork()\\n except OSError: pass\\n')\n"
        "subprocess.Popen([sys.executable, 'bomb.py'])\n"
        "time.sleep(1)\n"
        "raise SystemExit('the bomb is left to itself')",
        "",
    ),
    "a tree that is deep, and one that nobody may enter": (
        "os.chdir('/tmp/wheelsmith-build/src')\n"
        "for name in ('shut', os.fsdecode(b'\\xff\\n')):\n"
        "    os.makedirs(f'{name}/{name}'); os.chmod(f'{name}/{name}', 0); os.chmod(name, 0)\n"
        "os.mkfifo('CMakeCache.txt')\n"
        "open('sparse', 'w').truncate(60 * 10**9)\n"
        "os.utime('sparse', (2**38, 2**38))\n"
        "for _ in range(3000):\n"
        "    os.mkdir('deep'); os.chdir('deep')\n"
        "raise SystemExit(1)",
        "",
    ),
}


@confined
@pytest.mark.parametrize("name", BAD)
def test_a_bad_build_fails_and_the_next_run_works(builder, name):
    action, words = BAD[name]
    builder.project(action)
    started = time.monotonic()
    with pytest.raises(CompileError) as caught:
        builder.build()
    assert words in caught.value.cause
    assert time.monotonic() - started < 100
    told = caught.value.cause + caught.value.detail
    assert "\x1b" not in told
    assert "\r" not in told
    builder.works_now()


@confined
def test_a_good_build_that_leaves_a_tree_that_nobody_may_enter(builder):
    builder.project(
        BAD["a tree that is deep, and one that nobody may enter"][0].replace(
            "raise SystemExit(1)", "os.chdir('/tmp/wheelsmith-build/src')"
        )
    )
    assert builder.build().published
    assert [*builder.store.glob("work/*"), *builder.store.glob("*/.*.going")] == []


@confined
@pytest.mark.parametrize("line", ["'x' * 10**6", "'x' * 99 + '\\\\n'"])
def test_output_without_end(builder, monkeypatch, line):
    monkeypatch.setattr(process, "_LARGEST_LOG", 50_000_000)
    builder.project(f"while True: sys.stdout.write(({line}).replace('\\\\n', chr(10)))")
    with pytest.raises(CompileError, match="had written more than 50,000,000 bytes of output"):
        builder.build()
    (log,) = builder.store.glob("logs/*.log")
    assert 50_000_000 <= log.stat().st_size < 55_000_000
    assert max(len(event.text) for event in builder.events if isinstance(event, ToolLine)) < 200_000
    builder.works_now()
    assert log.stat().st_size < 1_000_000  # what was too large is not kept for ever


@confined
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_build_that_fills_the_disk(tmp_path):
    """The store is on a file system of 300 MB, in a mount namespace of the test's own."""
    if os.environ.get("WHEELSMITH_TEST_SMALL") is None:
        script = f'mount -t tmpfs -o size=300m none {tmp_path}; exec "$@"'
        test = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"{__file__}::{test_a_build_that_fills_the_disk.__name__}",
        ]
        inside = [*test, f"--basetemp={tmp_path}/base"]
        environment = os.environ | {"WHEELSMITH_TEST_SMALL": "1"}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script, "sh", *inside],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return
    builder = Builder(tmp_path)
    builder.project("while True: open('/tmp/wheelsmith-build/home/fill', 'ab').write(bytes(10**6))")
    with pytest.raises((CompileError, DiskFullError)) as caught:
        builder.build()
    assert isinstance(caught.value, DiskFullError), caught.value
    for left in builder.store.glob("work/*/home/fill"):
        left.unlink()  # "Free some space"
    builder.works_now()


@pytest.fixture
def unconfined(monkeypatch):
    monkeypatch.setenv(NO_NAMESPACES, "1")
    isolation_here.cache_clear()
    yield
    isolation_here.cache_clear()


# Where nothing can be mounted, the build can write all of its directory: what it lays there leads nowhere.
TRAPS = """
import shutil
root, mark = pathlib.Path("src").resolve().parent.parent, pathlib.Path("GOOD")
root = pathlib.Path.cwd().parent
if not mark.exists():
    for name in ("request.json", "repeat.sh", "unfinished", "unfinished.new", "proof"):
        path = root / name
        if path.is_file():
            path.unlink()
        path.symlink_to("DIRECTORY" if name == "proof" else "PRECIOUS")
    shutil.rmtree(root / "cuda")
    (root / "cuda").symlink_to("DIRECTORY")
    raise SystemExit(1)
"""


def test_without_namespaces_links_lead_the_next_run_nowhere(builder, tmp_path, unconfined):
    precious, good = tmp_path / "precious", tmp_path / "cuda/include/be-good"
    precious.write_text("as it was")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    code = TRAPS.replace("DIRECTORY", f"{tmp_path}/mine").replace("PRECIOUS", str(precious)).replace("GOOD", str(good))
    builder.recipes = pure_build.project(tmp_path / "project", code)
    with pytest.raises(CompileError):
        builder.build()
    (failed,) = builder.store.glob("work/*.failed")
    failed.rename(failed.with_suffix(""))  # as if it had been killed
    builder.works_now()
    assert precious.read_text() == "as it was"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_without_namespaces_a_bomb_ends_with_the_build(builder, tmp_path, unconfined):
    """Each of the processes starts its successor and ends, so that the machine does not feel it."""
    code = (
        "pathlib.Path('chain.py').write_text('import os, time\\nwhile True:\\n if os.fork(): os._exit(0)\\n"
        " os.setsid()\\n')\n"
        "for _ in range(3): subprocess.Popen([sys.executable, 'chain.py', 'of-a-hostile-build'])\n"
        "time.sleep(0.5)"
    )
    builder.recipes = pure_build.project(tmp_path / "project", f"import subprocess\n{code}")
    assert builder.build().published
    found = 0
    for _ in range(100):  # each of them is there for a fraction of a millisecond: one look may miss them all
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += b"of-a-hostile-build" in path.read_bytes()
    assert found == 0
