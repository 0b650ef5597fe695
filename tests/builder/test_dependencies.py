"""From a plan to what its wheel was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import wheelsmith
from wheelsmith.builder.dependencies import locked_hashes, materials_of
from wheelsmith.builder.tools import Tools
from wheelsmith.compile.sandbox import Isolation
from wheelsmith.planning.model import ArchiveSource, GitSource
from wheelsmith.toolchain.cuda import CudaToolkit
from wheelsmith.toolchain.environment import BuildEnvironment
from wheelsmith.toolchain.host import HostCompiler
from wheelsmith.toolchain.python import Interpreter

TOOLKIT = CudaToolkit(Path("/secret/cuda"), "12.8", "12.8.93", "CUDA_HOME")
COMPILER = HostCompiler("/usr/bin/g++", "g++ (Debian 12.2.0-14) 12.2.0")


def materials(plan, lock):
    interpreter = Interpreter(Path("/secret/python"), "3.12.1", Path("/secret"), True)
    environment = BuildEnvironment(Path("/secret/env"), interpreter, (("ninja", "1.13"),), lock, "d", False)
    return materials_of(plan, Tools(environment, TOOLKIT, COMPILER, None, Isolation(False), "key"))


def test_every_tree_of_vllm_and_every_pin_of_its_lock_is_there():
    plan = wheelsmith.plan("vllm==0.15.1")
    found = {(item.kind, item.name): item for item in materials(plan, plan.lock)}
    assert {name for kind, name in found if kind == "source"} == {"vllm"} | {tree.name for tree in plan.trees}
    vllm = found["source", "vllm"]
    assert vllm.purl == "pkg:github/vllm-project/vllm@1892993bc18e243e2c05841314c5e9c06a80c70d"
    assert (vllm.version, vllm.commit) == ("0.15.1", "1892993bc18e243e2c05841314c5e9c06a80c70d")
    assert found["requirement", "torch"].version == "2.9.1"
    assert all(item.sha256 for (kind, _), item in found.items() if kind == "requirement")
    assert found["toolkit", "cuda-nvcc"].version == "12.8.93"
    assert found["compiler", "g++"].purl == "pkg:generic/gcc@12.2.0"
    assert "secret" not in repr(found)


def test_places_and_secrets_of_a_machine_stay_out():
    plan = wheelsmith.plan("cuvec==6.0.1")
    local = dataclasses.replace(plan, source=ArchiveSource("file:///home/me/x.tar.gz", "0" * 64))
    assert materials(local, None)[0].purl == f"pkg:generic/cuvec@6.0.1?checksum=sha256:{'0' * 64}"
    git = dataclasses.replace(plan, source=GitSource("https://me:token@git.invalid/x.git", "1" * 40, None))
    item = materials(git, None)[0]
    assert item.url == "https://git.invalid/x.git"
    assert "token" not in item.purl
    assert materials(git, None)[1].version == "1.13"  # without a lock: what is installed


def test_a_lock_is_read_with_its_hashes_and_markers():
    one, two = "1" * 64, "2" * 64
    lock = (
        "# note\n--index-url x\na==1 ; python_full_version < '3.12' \\\n"
        f"    --hash=sha256:{two} \\\n    --hash=sha256:{one}\n"
        f"    # via b\nb==2 \\\n    --hash=sha256:{two}\na==3 ; python_full_version >= '3.12'\n"
    )
    assert list(locked_hashes(lock, "3.11")) == [("a", "1", (one, two)), ("b", "2", (two,))]
    assert list(locked_hashes(lock, "3.12")) == [("b", "2", (two,)), ("a", "3", ())]
