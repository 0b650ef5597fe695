"""The clients' own configuration, and the clients themselves: pip, uv, twine, nginx."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from configparser import ConfigParser
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.attesting import attest
from tests.support.index_wheels import make_wheel
from tests.support.running import running
from wheelsmith.errors import UsageError
from wheelsmith.index.clients import CLIENTS, Client, client_config
from wheelsmith.index.publish import publish

pytestmark = pytest.mark.e2e

URL = "https://wheels.example/simple/"


def test_pip_asks_one_index_only() -> None:
    parser = ConfigParser()
    parser.read_string(client_config("pip", URL.rstrip("/")))
    assert dict(parser["global"]) == {"index-url": URL}


@pytest.mark.parametrize(("client", "pin"), [("uv", {"index": "wheelsmith"}), ("poetry", {"source": "wheelsmith"})])
def test_uv_and_poetry_ask_it_for_our_projects_only(client: Client, pin: dict[str, str]) -> None:
    tool = tomllib.loads(client_config(client, URL, ["cuvec", "vllm"]))["tool"][client]
    (source,) = tool["index"] if client == "uv" else tool["source"]
    assert source["url"] == URL
    assert source.get("explicit") is True or source.get("priority") == "explicit"
    projects = tool["sources"] if client == "uv" else tool["dependencies"]
    assert [(name, pin.items() <= one.items()) for name, one in projects.items()] == [("cuvec", True), ("vllm", True)]


@pytest.mark.parametrize("client", CLIENTS)
def test_no_configuration_opens_the_door_to_another_index(client: Client) -> None:
    text = client_config(client, URL, ["cuvec"])
    assert URL in text
    assert "extra-index" not in text
    assert "extra_index" not in text
    for wrong in (
        "wheels.example",
        "https://__token__:secret@wheels.example/simple/",
        'https://x/"\nevil = "',
        "ftp://x/",
    ):
        with pytest.raises(UsageError):
            client_config(client, wrong)
    with pytest.raises(UsageError):
        client_config(client, URL, ["cuvec; evil"])


def _environment(tmp_path: Path) -> dict[str, str]:
    """No settings, caches or credentials but the test's own."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
    return {**kept, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "NO_COLOR": "1"}


def _install(client: str, url: str, target: Path, *what: str) -> list[str]:
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--index-url", url]
    uv = [find_uv_bin(), "pip", "install", "--python", sys.executable, "--default-index", url]
    return [*(pip if client == "pip" else uv), "--target", str(target), *what]


@pytest.fixture(name="pip_here", scope="module")
def pip_here_fixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("client")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["pip", "uv"])
@pytest.mark.parametrize("how", ["netrc", "url"])
def test_clients_install_from_a_private_index(tmp_path: Path, pip_here: str, client: str, how: str) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0+cu130", code="leaf = True")], tmp_path / "dist")
    with running(tmp_path / "dist", private=True) as server:
        token = server.token(read=True)
        environment = _environment(tmp_path)
        url = f"{server.url}simple/"
        command = [
            pip_here if part == sys.executable else part for part in _install(client, url, tmp_path / "t", "leaf")
        ]
        assert subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0
        if how == "netrc":
            netrc = Path(environment["HOME"]) / ".netrc"
            netrc.write_text(f"machine 127.0.0.1 login __token__ password {token}\n")
            netrc.chmod(0o600)
        else:
            command = [part.replace("http://", f"http://__token__:{token}@") for part in command]
        subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "t/leaf.py").read_text() == "leaf = True"


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["pip", "uv"])
def test_ours_stay_ours_and_allowed_names_come_from_upstream(tmp_path: Path, pip_here: str, client: str) -> None:
    publish(
        [
            make_wheel(tmp_path / "public", "mine", "99.0", code="evil = True"),
            make_wheel(tmp_path / "public", "theirs", "1.0"),
            make_wheel(tmp_path / "public", "typo", "1.0", code="evil = True"),
        ],
        tmp_path / "public-index",
    )
    publish([make_wheel(tmp_path / "in", "mine", "1.0", metadata="Requires-Dist: theirs\n")], tmp_path / "dist")
    with (
        running(tmp_path / "public-index") as public,
        running(tmp_path / "dist", upstream=f"{public.url}simple/", allow=("theirs", "mine")) as server,
    ):
        for what, works in (("mine", True), ("typo", False)):
            command = _install(client, f"{server.url}simple/", tmp_path / what, what)
            command = [pip_here if part == sys.executable else part for part in command]
            result = subprocess.run(command, env=_environment(tmp_path), stdin=subprocess.DEVNULL, check=False)
            assert (result.returncode == 0) == works
    assert {path.name for path in (tmp_path / "mine").glob("*.dist-info")} == {
        "mine-1.0.dist-info",
        "theirs-1.0.dist-info",
    }


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["twine", "uv"])
def test_publishers_publish_and_understand_refusals(tmp_path: Path, client: str) -> None:
    wheel = make_wheel(tmp_path / "in", "leaf", "1.0+cu130")
    other = make_wheel(tmp_path / "other", "leaf", "1.0+cu130", code="x" * 3_000_000)
    environment = _environment(tmp_path)
    with running(tmp_path / "dist") as server:
        token = server.token(publish=("leaf",))

        def upload(file: Path, secret: str, *options: str) -> subprocess.CompletedProcess[str]:
            url = f"{server.url}upload/"
            if client == "twine":
                command = [
                    sys.executable,
                    "-m",
                    "twine",
                    "upload",
                    "--non-interactive",
                    "--verbose",
                    "--repository-url",
                    url,
                ]
                command += ["-u", "__token__", "-p", secret, *options, str(file)]
            else:
                command = [find_uv_bin(), "publish", "--publish-url", url, "--token", secret, *options, str(file)]
            return subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=300,
                check=False,
            )

        first = upload(wheel, token)
        assert first.returncode == 0, first.stdout + first.stderr
        assert server.ask("/leaf-1.0%2Bcu130-py3-none-any.whl").body == wheel.read_bytes()
        assert upload(wheel, token).returncode == 0  # the same bytes
        conflict = upload(other, token)
        assert conflict.returncode != 0
        assert "409" in conflict.stdout + conflict.stderr
        assert "already exists" in conflict.stdout + conflict.stderr
        if client == "uv":
            checked = upload(wheel, token, "--check-url", f"{server.url}simple/")
            assert checked.returncode == 0
            assert "already exists, skipping" in checked.stdout + checked.stderr
        server.book.revoke(token.split("_")[1])
        revoked = upload(other, token)  # 3 MB are on their way while the answer is already there
        assert revoked.returncode != 0
        assert "is revoked" in revoked.stdout + revoked.stderr
        assert server.ask("/leaf-1.0%2Bcu130-py3-none-any.whl").body == wheel.read_bytes()


@pytest.mark.e2e
def test_the_command_serves_and_stops(tmp_path: Path) -> None:
    wheelsmith = [sys.executable, "-m", "wheelsmith", "index"]
    dist = str(tmp_path / "dist")
    made = subprocess.run(
        [*wheelsmith, "token", "create", "ci", "--publish", "leaf", "--index", dist],
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.startswith("wsm_")
    process = subprocess.Popen(
        [*wheelsmith, "serve", "--index", dist, "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    with process:
        line = process.stdout.readline()
        url = line.split()[3]
        with urllib.request.urlopen(f"{url}health", timeout=10) as answer:
            assert answer.read() == b"ok\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    listed = subprocess.run([*wheelsmith, "token", "list", "--index", dist], capture_output=True, text=True, check=True)
    assert made.stdout.strip() not in listed.stdout
    assert "valid" in listed.stdout


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_nginx_example_serves_the_same(tmp_path: Path, pip_here: str) -> None:
    publish([make_wheel(tmp_path / "in", "leaf", "1.0+cu130", code="leaf = True")], tmp_path / "dist")
    example = Path(__file__).parents[2] / "docs/nginx.conf"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        socket_address = f"127.0.0.1:{free.getsockname()[1]}"
    text = example.read_text().replace("/srv/wheels", str(tmp_path / "dist")).replace("127.0.0.1:8090", socket_address)
    (tmp_path / "nginx.conf").write_text(f"user root;\n{text}" if os.getuid() == 0 else text)
    command = ["nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{socket_address}/simple/", timeout=5):
                break
            time.sleep(0.05)
        json_type = "application/vnd.pypi.simple.v1+json"
        for accept, got in ((f"{json_type}, text/html;q=0.1", json_type), ("text/html", "text/html; charset=utf-8")):
            request = urllib.request.Request(f"http://{socket_address}/simple/leaf/", headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=5) as answer:
                assert answer.headers["content-type"] == got
                assert "Accept" in answer.headers.get_all("vary")
        for hidden in (".wheelsmith/lock", "records/catalog.json", "simple/absent/"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://{socket_address}/{hidden}", timeout=5)
        for client in ("pip", "uv"):
            command = _install(client, f"http://{socket_address}/simple/", tmp_path / client, "leaf")
            command = [pip_here if part == sys.executable else part for part in command]
            subprocess.run(command, env=_environment(tmp_path), check=True)
            assert (tmp_path / client / "leaf.py").read_text() == "leaf = True"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.e2e
@pytest.mark.parametrize("client", ["twine", "uv"])
def test_publishers_send_attestations(tmp_path: Path, client: str) -> None:
    wheel = make_wheel(tmp_path / "in", "leaf", "1.0")
    attestation = wheel.with_name(f"{wheel.name}.publish.attestation")
    attestation.write_text(json.dumps(attest(wheel)))
    with running(tmp_path / "dist") as server:
        url, token = f"{server.url}upload/", server.token(publish=("leaf",))
        command = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--attestations"]
        command += ["--repository-url", url, "-u", "__token__", "-p", token, str(wheel), str(attestation)]
        if client == "uv":
            command = [find_uv_bin(), "publish", "--publish-url", url, "--token", token, f"{wheel.parent}/*"]
        subprocess.run(command, env=_environment(tmp_path), check=True, stdin=subprocess.DEVNULL, timeout=300)
        (bundle,) = json.loads(server.ask(f"/{wheel.name}.provenance").body)["attestation_bundles"]
    assert bundle["attestations"] == [json.loads(attestation.read_text())]
