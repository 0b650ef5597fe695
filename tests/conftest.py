"""Shared pieces: a directory of recipes of the test's own, and a store that no other test sees."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import pure_build
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.toolchain import cuda

# How long an example takes says how busy the machine is, nothing about the code.
settings.register_profile(
    "wheelsmith", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.register_profile("fast", settings.get_profile("wheelsmith"), max_examples=25)  # what `make test-fast` takes
settings.load_profile("wheelsmith")


_NUMBERS = itertools.count()


def pytest_collection_finish() -> None:
    """What all tests share is there by now: the collector need not look through it again and again, nor often."""
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut() -> Iterator[None]:
    """Nothing that a test writes has to outlive the machine: half of the tests' time went into waiting for the disk.
    What syncs nothing still fails where the descriptor is none; tests of syncing put their own in its place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_machine() -> Iterator[None]:
    """Whose an nvcc on PATH is does not change while tests run, and every refusal that names choices asks it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "_root_of", cache(cuda._root_of))
        yield


@pytest.fixture
def pretended_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has one toolkit, which says its release and compiles nothing."""
    root = pure_build.toolkit(tmp_path / "cuda")
    monkeypatch.setattr(cuda, "_places", lambda environment: [("usual folder", root)])


@pytest.fixture(scope="session")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("places")


@pytest.fixture(autouse=True)
def _own_places(_places: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """No test reads or writes the user's store, recipes or configuration: its store does not exist yet, and the
    configuration of the fast part never does, so that what was read under its name (tables of facts) is good for all of
    it. Other programs (fish, podman) write theirs where they start."""
    own = _places / str(next(_NUMBERS))  # pytest's own numbering reads all directories that there are, for each test
    foreign = any(request.node.get_closest_marker(mark) for mark in ("e2e", "torch", "images", "hostile"))
    config = own / "config" if foreign else _places / "config"
    monkeypatch.setenv("WHEELSMITH_STORE", str(own / "store"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    monkeypatch.delenv("WHEELSMITH_RECIPES", raising=False)
    monkeypatch.delenv("WHEELSMITH_FACTS", raising=False)
    yield
    assert foreign or not config.exists(), (
        "a test that writes a configuration sets XDG_CONFIG_HOME to a directory of its own"
    )


@pytest.fixture
def recipe_dir(tmp_path: Path) -> Path:
    """A directory with the recipe `toy`."""
    directory = tmp_path / "recipes"
    directory.mkdir()
    write_recipe(directory, "toy", TOY_RECIPE)
    return directory
