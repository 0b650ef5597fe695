"""A farm of real processes with nvcc: one wheel by several workers has the bytes of one machine's, from the cache."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.support import toyproject
from tests.support.farming import KEY, Redis, farm, has_redis, ssh_server
from wheelsmith.compile.sandbox import isolation_here

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not isolation_here().canonical, reason="no mount namespaces here"),
    # Dask leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

EXAMPLES = Path(__file__).parents[2] / "examples/dask"


def tasks_of(dask_scheduler) -> bytes:
    """All that the scheduler knows of tasks, as it would send it."""
    return pickle.dumps([(task.key, task.run_spec, task.annotations) for task in dask_scheduler.tasks.values()])


def another_compiler(path: Path) -> Path:
    """A g++ of a version that the others do not have."""
    path.write_text(
        '#!/bin/sh\ncase $* in --version | -dumpfullversion*) echo "g++ (Other) 12.9.9" ;; *) exec g++ "$@" ;; esac\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path):
    """Redis, or a directory where there is none: the setting for workers, and what is secret of it."""
    if not has_redis():
        yield str(tmp_path / "cache"), ()
        return
    redis = Redis(tmp_path)
    redis.start()
    yield redis.secret_url, (redis.password,)
    redis.kill()


def test_one_wheel_by_two_workers_and_none_of_a_third_with_other_tools(tmp_path, cache, monkeypatch):
    import cloudpickle
    from distributed import Client
    from distributed.security import Security

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the scheduler does not have this file

    recipes = toyproject.make(tmp_path)
    matrix = tmp_path / "wheels.toml"
    matrix.write_text("schema_version = 1\n[[package]]\nrequirement = 'toycuda'\n")
    setting, secrets = cache
    store, dist = tmp_path / "store", tmp_path / "dist"
    surroundings = dict(os.environ) | {
        "WHEELSMITH_STORE": str(store),
        "WHEELSMITH_CACHE": setting,
        "WHEELSMITH_CACHE_KEY": KEY,
        "AWS_SECRET_ACCESS_KEY": "geheimnis-des-speichers",
    }
    heard: list[dict[str, Any]] = []
    graph: list[Any] = []
    notes: list[wheelsmith.Event] = []

    with farm(tmp_path / "farm") as there:
        keys = [str(there.tls / name) for name in ("ca.pem", "cert.pem", "key.pem")]
        security = Security(
            require_encryption=True, tls_ca_file=keys[0], tls_client_cert=keys[1], tls_client_key=keys[2]
        )
        there.start_worker("w0", surroundings)
        there.start_worker("w1", surroundings)
        there.start_worker("odd", surroundings | {"CUDAHOSTCXX": str(another_compiler(tmp_path / "g++"))})

        def hear(message) -> None:
            heard.append(message)
            if not graph and message["task"] == "part":
                with Client(there.address, security=security) as second:
                    graph.append(second.run_on_scheduler(tasks_of))

        made = wheelsmith.farm_build(
            matrix,
            scheduler=there.address,
            tls=there.tls,
            workers=3,
            jobs=1,
            split="always",
            wait=120,
            index=dist,
            recipes=[recipes],
            listener=notes.append,
            events=hear,
        )
        (cell,) = made.to_dict()["cells"]
        assert (cell["state"], cell["error"]) == ("built", None)
        assert (cell["units"], cell["lost_parts"]) == (3, 0)
        assert (cell["hits"], cell["misses"]) == (3, 0)  # the machine that made the wheel compiled nothing
        assert {(m["task"], m["worker"]) for m in heard if m["worker"] == "odd"} == {("look", "odd")}
        assert any("odd takes no part" in getattr(note, "text", "") for note in notes)
        compiled = [m for m in heard if m["event"] == "UnitDone" and m["cache"] == "miss"]
        assert sorted(m["name"] for m in compiled) == ["src/one.cu", "src/three.cu", "src/two.cu"]  # each once

        assert b"toycuda" in graph[0]  # what was searched is the plan's
        for secret in (*secrets, KEY, "geheimnis-des-speichers"):
            assert secret.encode() not in graph[0]

        again = wheelsmith.farm_build(
            matrix, scheduler=there.address, tls=there.tls, index=dist, recipes=[recipes], wait=60
        )
        assert [one.state for one in again.cells] == ["published"]

    shutil.rmtree(store / "wheels")
    monkeypatch.setenv("WHEELSMITH_STORE", str(store))
    alone = wheelsmith.build("toycuda", recipes=[recipes], index=tmp_path / "alone", use_cache=False)
    assert alone.record["compile"]["cache"] is None
    assert alone.published.sha256 == cell["sha256"]


def test_the_example_for_ssh_builds_through_ssh(tmp_path):
    """`examples/dask/ssh.py` as it is: sshd on loopback stands for two hosts."""
    pytest.importorskip("asyncssh")
    if os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no sshd that could be started here")
    files = toyproject.files()
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace("one.cu two.cu three.cu", "one.cu")
    recipes = toyproject.make(tmp_path, files, toyproject.RECIPE.replace('"8.6;12.0"', '"8.6"'))
    matrix = tmp_path / "wheels.toml"
    matrix.write_text("schema_version = 1\n[[package]]\nrequirement = 'toycuda'\n")
    places = {"WHEELSMITH_STORE": str(tmp_path / "store"), "XDG_CONFIG_HOME": str(tmp_path)}
    home = tmp_path / "home"
    home.mkdir()
    with ssh_server(home / ".ssh", places):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "ssh.py", matrix, "farm0", "farm1", "--index", tmp_path / "dist"],
            capture_output=True,
            text=True,
            env=dict(os.environ) | {"HOME": str(home), "WHEELSMITH_RECIPES": str(recipes)},
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    name, state, wheel = done.stdout.split()
    assert (name, state) == ("toycuda-1.0-py3.11-cu13.0-8.6", "built")
    assert (tmp_path / "dist" / wheel).is_file()
