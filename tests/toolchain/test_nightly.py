"""A nightly torch: found at the first build on an index of its own, then fixed."""

import contextlib
import dataclasses
import http.server
import threading
from functools import partial

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from tests.support.wheel_makers import build_wheel
from wheelsmith.errors import EnvironmentBuildError, UsageError
from wheelsmith.events import ignore
from wheelsmith.store import Store
from wheelsmith.toolchain.environment import provide_environment
from wheelsmith.toolchain.python import running_python
from wheelsmith.toolchain.uv import Uv

TORCH = "torch-2.99.0.dev20261101+cu130-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\r\nName: torch\r\nVersion: 2.99.0.dev20261101+cu130\r\n"


@contextlib.contextmanager
def served(directory):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


def plan_of(recipe_dir):
    text = TOY_RECIPE.replace('cuda = "13.0"', 'cuda = "13.0"\ntorch = "2.11.0"').replace('["setuptools"]', '["wheel"]')
    write_recipe(recipe_dir, "toy", text)
    return wheelsmith.plan("toy", recipes=[recipe_dir], torch="nightly", python=running_python())


def test_without_an_index_that_has_it_a_nightly_is_refused(recipe_dir, tmp_path):
    with pytest.raises(UsageError, match="--torch nightly needs the index"):
        provide_environment(plan_of(recipe_dir), Store(tmp_path / "store"), Uv(True, None, ignore))


@pytest.mark.usefixtures("pretended_toolkit")
def test_doctor_leaves_a_nightly_open(recipe_dir):
    (torch,) = (check for check in wheelsmith.doctor(plan_of(recipe_dir)) if check.name == "torch")
    assert (torch.found, torch.error) == ("nightly", None)


@pytest.mark.e2e
def test_the_newest_development_version_is_taken_and_stays(recipe_dir, tmp_path):
    build_wheel(tmp_path / "in" / TORCH, {"torch/__init__.py": b""}, metadata=METADATA)
    wheelsmith.publish([tmp_path / "in" / TORCH], index=tmp_path / "nightlies")
    plan, store = plan_of(recipe_dir), Store(tmp_path / "store")
    older = dataclasses.replace(plan, target=dataclasses.replace(plan.target, cuda="12.8"))
    with served(tmp_path / "nightlies") as index:
        first = provide_environment(plan, store, Uv(False, None, ignore, index))
        with pytest.raises(
            EnvironmentBuildError, match=r"cu130 is built with CUDA 13; extensions .* cannot use CUDA 12\.8"
        ):
            provide_environment(older, store, Uv(False, None, ignore, index))
    assert dict(first.packages)["torch"] == "2.99.0.dev20261101+cu130"
    again = provide_environment(plan, store, Uv(True, None, ignore, index))
    assert (again.digest, again.reused) == (first.digest, True)
