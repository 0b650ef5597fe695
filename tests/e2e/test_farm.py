"""A farm of real processes with nvcc: one wheel by several workers has the bytes of one machine's, from the cache."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import wheelsmith
from tests.support import toyproject
from tests.support.farming import KEY, Redis, farm, has_redis, has_slurm, ssh_server
from tests.support.s3 import moto
from wheelsmith.compile.sandbox import isolation_here

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
    pytest.mark.skipif(not isolation_here().canonical, reason="no mount namespaces here"),
    # Dask leaves sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

EXAMPLES = Path(__file__).parents[2] / "examples/dask"
PYTHON = "py{}.{}".format(*sys.version_info)  # in the names of cells


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


def tiny(directory: Path) -> tuple[Path, Path]:
    """A package of one unit, for one arch: the directory of its recipe, and a matrix."""
    files = toyproject.files()
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace("one.cu two.cu three.cu", "one.cu")
    recipes = toyproject.make(directory, files, toyproject.RECIPE.replace('"8.6;12.0"', '"8.6"'))
    matrix = directory / "wheels.toml"
    matrix.write_text("schema_version = 1\n[[package]]\nrequirement = 'toycuda'\n")
    return recipes, matrix


def test_the_example_for_ssh_builds_through_ssh(tmp_path):
    """`examples/dask/ssh.py` as it is: sshd on loopback stands for two hosts."""
    pytest.importorskip("asyncssh")
    if os.geteuid() != 0 or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no sshd that could be started here")
    recipes, matrix = tiny(tmp_path)
    places = {"WHEELSMITH_STORE": str(tmp_path / "store"), "XDG_CONFIG_HOME": str(tmp_path)}
    home = tmp_path / "home"
    home.mkdir()
    with ssh_server(home / ".ssh", places):
        builds("ssh.py", matrix, "farm0", "farm1", home=home, recipes=recipes)


def test_the_example_for_slurm_builds_through_slurm(tmp_path):
    """`examples/dask/slurm.py` as it is, where a controller answers and has a node of 16 processors and 64 GB."""
    pytest.importorskip("dask_jobqueue")
    if not has_slurm():
        pytest.skip("no SLURM here")
    recipes, matrix = tiny(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".farm-environment").write_text(
        f"export WHEELSMITH_STORE={tmp_path / 'store'} XDG_CONFIG_HOME={tmp_path} WHEELSMITH_RECIPES={recipes}\n"
    )
    builds("slurm.py", matrix, "--workers", "1", home=home, recipes=recipes)


def builds(example: str, *words: object, home: Path, recipes: Path) -> None:
    """Run an example as its user does, beside `home`, and see the wheel that it made."""
    index = home.parent / "dist"
    done = subprocess.run(
        [sys.executable, EXAMPLES / example, *map(str, words), "--index", index],
        capture_output=True,
        text=True,
        cwd=home.parent,
        env=dict(os.environ) | {"HOME": str(home), "WHEELSMITH_RECIPES": str(recipes)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name, state, wheel = done.stdout.split()
    assert (name, state) == (f"toycuda-1.0-{PYTHON}-cu13.0-8.6", "built")
    assert (index / wheel).is_file()


ATTACK = """
import os, pathlib, re, socket, struct
found = []
places, port = PLACES, PORT
for name, value in os.environ.items():
    if any(word in value for word in SECRETS):
        found.append(f"variable {name}")
for entry in pathlib.Path("/proc").iterdir():
    try:
        text = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
    except OSError:
        continue
    if any(word.encode() in text for word in SECRETS):
        found.append(f"environment of {entry.name}")
for place in places:
    try:
        seen = [path for path in pathlib.Path(place).rglob("*") if path.is_file()]
    except OSError:
        continue
    for path in seen:
        if "cuda" not in path.parts:  # a worker's own store may hold the toolkit, which every build reads
            found.append(f"file {path}")
        try:
            path.write_bytes(b"evil")
            found.append(f"written {path}")
        except OSError:
            pass
for host in ("127.0.0.1", "localhost"):
    for number in (port, 8786):
        try:
            socket.create_connection((host, number), timeout=1).close()
            found.append(f"port {number}")
        except OSError:
            pass
for path in pathlib.Path(os.getcwd()).parents:
    if (path / "cache/socket").exists():  # offer rubbish under every name that a stranger may guess
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path / "cache/socket"))
        client.recv(3)
        for number in range(256):
            name, data = bytes([number]) * 20, b"evil" * 64
            client.sendall(bytes([1, len(name)]) + name + bytes([1]) + struct.pack("=Q", len(data)) + data)
            client.recv(1)
pathlib.Path("FOUND").write_text("".join(f"{line}\\n" for line in found) or "nothing\\n")
"""


@pytest.fixture
def bucket(monkeypatch):
    """An S3 store; its location."""
    with moto(monkeypatch, "objects", "geheimnis-des-speichers") as url:
        yield f"s3://objects/farm {url.rpartition(':')[2]}"


def test_a_hostile_package_on_a_worker_harms_neither_the_others_nor_the_cache(tmp_path, bucket, monkeypatch):
    """Objects are in an S3 store. The hostile package is built on one of the workers at the same time, and before the
    other one is built again from the cache that it has seen."""
    import boto3

    location, port = bucket.split()
    stores = [tmp_path / "store-w0", tmp_path / "store-w1"]
    evil, good = tmp_path / "evil", tmp_path / "good"
    for directory in (evil, good):
        directory.mkdir()
    attack = ATTACK.replace("PLACES", repr([str(path) for path in (*stores, tmp_path)])).replace("PORT", port)
    attack = attack.replace("SECRETS", repr([KEY, "geheimnis-des-speichers"]))
    files = toyproject.files()
    files["attack.py"] = attack
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace("one.cu two.cu three.cu", "one.cu") + (
        "find_package(Python3 REQUIRED COMPONENTS Interpreter)\n"
        "execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/attack.py COMMAND_ERROR_IS_FATAL ANY\n"
        "  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})\n"
        "install(FILES ${CMAKE_SOURCE_DIR}/FOUND DESTINATION toycuda)\n"
    )
    evils = toyproject.make(
        evil,
        {k: v.replace("toycuda", "toyevil") for k, v in files.items()} | {"toyevil/__init__.py": ""},
        toyproject.RECIPE.replace("toycuda", "toyevil").replace('"8.6;12.0"', '"8.6"'),
    )
    (evils / "toycuda.toml").rename(evils / "toyevil.toml")
    goods = toyproject.make(good)
    matrix = tmp_path / "wheels.toml"
    matrix.write_text(
        "schema_version = 1\n[[package]]\nrequirement = 'toyevil'\n[[package]]\nrequirement = 'toycuda'\n"
    )
    surroundings = dict(os.environ) | {"WHEELSMITH_CACHE": location, "WHEELSMITH_CACHE_KEY": KEY}

    with farm(tmp_path / "farm") as there:
        for number, store in enumerate(stores):
            there.start_worker(f"w{number}", surroundings | {"WHEELSMITH_STORE": str(store)})
        common: dict[str, Any] = {
            "scheduler": there.address,
            "tls": there.tls,
            "workers": 2,
            "jobs": 1,
            "split": "always",
            "wait": 120,
            "recipes": [evils, goods],
        }
        first = wheelsmith.farm_build(matrix, index=tmp_path / "dist", **common)
        assert [(one.state, one.error) for one in first.cells] == [("built", None)] * 2
        assert all(process.poll() is None for process in there.workers.values())
        # Again, all from the shared cache: nothing of it was harmed.
        for store in stores:
            shutil.rmtree(store / "wheels")
            shutil.rmtree(store / "objects")
        second = wheelsmith.farm_build(
            matrix, index=tmp_path / "again", cells=[f"toycuda-1.0-{PYTHON}-cu13.0-8.6_12.0"], **common
        )
        (again,) = second.to_dict()["cells"]
        assert (again["state"], again["hits"], again["misses"]) == ("built", 3, 0)
    hostile, made = first.to_dict()["cells"]
    with zipfile.ZipFile(tmp_path / "dist" / hostile["wheel"]) as wheel:
        assert wheel.read("toyevil/FOUND") == b"nothing\n"
    scopes = {
        item["Key"].split("/")[1] for item in boto3.Session().client("s3").list_objects_v2(Bucket="objects")["Contents"]
    }
    assert len(scopes) == 3  # of each recipe, and of the farm's own question; what is evil lies with the evil one
    monkeypatch.setenv("WHEELSMITH_STORE", str(tmp_path / "alone-store"))
    alone = wheelsmith.build("toycuda", recipes=[goods], index=tmp_path / "alone", use_cache=False)
    assert alone.published.sha256 == made["sha256"] == again["sha256"]
