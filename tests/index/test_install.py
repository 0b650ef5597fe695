"""Real clients on a real index: pip and uv over HTTP and from files, and the try-out."""

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as metadata_version
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.support.index_wheels import make_wheel
from wheelsmith.errors import InstallError
from wheelsmith.events import Event, ToolLine
from wheelsmith.index.publish import publish
from wheelsmith.index.smoke_test import try_install

pytestmark = pytest.mark.e2e


class Server:
    """A plain static server of a folder, which remembers the paths that it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                asked.append(self.path)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(name="index")
def index_fixture(tmp_path: Path) -> Path:
    root = tmp_path / "my dist"  # a space, to be encoded in file: URLs
    wheels = [
        make_wheel(tmp_path / "in", "mine", "1.0+cu130", code="import theirs", metadata="Requires-Dist: theirs>=1\n"),
        make_wheel(tmp_path / "in", "other", "2.0"),
        make_wheel(tmp_path / "in", "leaf", "1.0+cu130", code="leaf = True"),
    ]
    publish(wheels, root)
    return root


@pytest.fixture(name="elsewhere")
def elsewhere_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The client's default index: `theirs` asks for `other`, which is offered here in a higher version."""
    root = tmp_path / "elsewhere"
    publish(
        [
            make_wheel(tmp_path / "theirs", "theirs", "1.5", code="import other", metadata="Requires-Dist: other\n"),
            make_wheel(tmp_path / "theirs", "other", "99.0", code="raise SystemError('not ours')"),
            make_wheel(tmp_path / "theirs", "mine", "99.0"),
        ],
        root,
    )
    server = Server(root)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "must-not-be-seen"))
    yield server
    server.close()


@pytest.fixture(name="environment", scope="module")
def environment_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_clients_install_from_the_index(
    tmp_path: Path, index: Path, environment: Path, client: str, scheme: str
) -> None:
    server = Server(index)
    url = f"{server.url}/simple/" if scheme == "http" else (index / "simple").as_uri()
    target, python = str(tmp_path / "target"), str(environment)
    commands = {
        "pip": [python, "-I", "-m", "pip", "--isolated", "install", "--no-cache-dir", "--index-url", url],
        "uv": [
            find_uv_bin(),
            "pip",
            "install",
            "--no-cache",
            "--no-config",
            "--python",
            python,
            "--index",
            url,
        ],
    }
    try:
        subprocess.run([*commands[client], "--target", target, "leaf"], check=True)
    finally:
        server.close()

    assert (tmp_path / "target" / "leaf.py").read_text() == "leaf = True"
    if scheme == "http":
        page = server.asked.index("/simple/leaf/")
        metadata = server.asked.index("/leaf-1.0%2Bcu130-py3-none-any.whl.metadata")
        wheel = server.asked.index("/leaf-1.0%2Bcu130-py3-none-any.whl")
        assert page < metadata < wheel


def test_try_install_takes_ours_from_the_index_and_theirs_from_elsewhere(
    tmp_path: Path, index: Path, elsewhere: Server
) -> None:
    heard: list[Event] = []
    result = try_install(
        "mine==1.0+cu130",
        index,
        python=Path(sys.executable),
        imports=["mine", "other"],
        listener=heard.append,
    )

    assert result.installed == ("mine==1.0+cu130", "other==2.0", "theirs==1.5")
    assert result.imported == ("mine", "other")
    assert result.python == ".".join(map(str, sys.version_info[:3]))
    assert {path for path in elsewhere.asked if "other" in path or "mine" in path} == set()
    assert any("/simple/theirs/" in path for path in elsewhere.asked)
    assert any(isinstance(event, ToolLine) and "Successfully installed" in event.text for event in heard)


@pytest.mark.parametrize(
    ("wheel", "cause", "words"),
    [
        ({"metadata": "Requires-Dist: other==1\n"}, "The index owns other, but none of its 1 files fits", ""),
        ({"metadata": "Requires-Dist: absent\n"}, "Could not install what broken depends on", "absent"),
        ({"code": "import nothing_like_it"}, "Could not import broken", "No module named 'nothing_like_it'"),
        ({"code": "import os; os.abort()"}, "Could not import broken (signal 6)", ""),
        (
            {"tag": "cp27-cp27m-win32"},
            "Could not install broken==1.0 from the index",
            "No matching distribution",
        ),
    ],
)
def test_a_wheel_that_does_not_work_is_an_error_in_the_tools_words(
    tmp_path: Path, index: Path, elsewhere: Server, wheel: dict[str, Any], cause: str, words: str
) -> None:
    publish([make_wheel(tmp_path / "broken", "broken", "1.0", **wheel)], index)
    with pytest.raises(InstallError) as caught:
        try_install("broken==1.0", index, python=Path(sys.executable), imports=["broken"])
    assert cause in caught.value.cause
    assert words in caught.value.detail
    assert not any("other" in path for path in elsewhere.asked)


@pytest.mark.parametrize("victim", ["mine-1.0+cu130", "other-2.0"])
def test_stored_bytes_that_changed_are_noticed(tmp_path: Path, index: Path, elsewhere: Server, victim: str) -> None:
    path = index / f"{victim}-py3-none-any.whl"
    make_wheel(tmp_path / "evil", *victim.split("-"), code="evil = True").replace(path)
    with pytest.raises(InstallError) as caught:
        try_install("mine", index, python=Path(sys.executable), imports=[])
    assert "DO NOT MATCH THE HASHES" in caught.value.detail
    assert json.loads((index / "simple/mine/index.json").read_bytes())["files"][0]["hashes"]


def test_an_unknown_name_is_said_before_anything_is_made(tmp_path: Path, index: Path) -> None:
    with pytest.raises(InstallError, match="holds no file of 'absent'"):
        try_install("absent", index, python=Path(sys.executable), imports=[])


def test_over_the_running_packages_only_the_wheel_is_installed_and_they_must_do(tmp_path, monkeypatch):
    """No network, and the client is given none; a smoke test sees the wheel and the running interpreter's packages."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    needs = "Requires-Dist: packaging>=20\nRequires-Dist: never; python_version < '3'\n"
    wheels = [
        make_wheel(tmp_path / "in", "mine", "1.0+cu130", code="import packaging", metadata=needs),
        make_wheel(tmp_path / "in", "bad", "1.0", metadata="Requires-Dist: packaging>=9999\nRequires-Dist: never\n"),
        # of the very name and version that the running interpreter has: this wheel's code counts
        make_wheel(tmp_path / "in", "pip", metadata_version("pip"), code="own = True"),
    ]
    publish(wheels, tmp_path / "dist")
    tried = try_install("mine", tmp_path / "dist", python=None, imports=["mine"], smoke="import mine, packaging, pip")
    assert (tried.installed, tried.imported, tried.smoke) == (("mine==1.0+cu130",), ("mine",), True)
    with pytest.raises(InstallError, match="lack what bad depends on: packaging>=9999, never"):
        try_install("bad", tmp_path / "dist", python=None, imports=[])
    with pytest.raises(InstallError, match="smoke test"):
        try_install("mine", tmp_path / "dist", python=None, imports=[], smoke="assert 1 == 2")
    same = try_install("pip", tmp_path / "dist", python=None, imports=[], smoke="import pip; assert pip.own")
    assert same.installed == (f"pip=={metadata_version('pip')}",)
