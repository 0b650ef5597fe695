import hashlib
import io
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.errors import OfflineError, SourceError, UsageError
from wheelsmith.maintenance.declared import Crates, read_project
from wheelsmith.maintenance.lock import Lock
from wheelsmith.maintenance.needs import needs
from wheelsmith.maintenance.proposal import Reading, _widened
from wheelsmith.maintenance.rehearse import Rehearsed
from wheelsmith.maintenance.update import bump
from wheelsmith.recipe.loader import load_recipe

RECIPE = TOY_RECIPE.replace("cuda =", 'torch = "2.9.1"\ncuda =').replace(
    'requires = ["setuptools"]', 'requires = ["setuptools>=77.0.3,<81", "ninja", "tool==1.5"]'
)
PYPROJECT = """
[build-system]
requires = ["setuptools>=77.0.3,<81.0.0", "ninja", "torch == 2.9.1", "tool>=1.2"]
[project]
requires-python = "<4,>=3.9"
"""


def rehearse(path: Path, pyproject: str = PYPROJECT, *, patches=(), pins=None, version: str = "2.0"):
    recipe = load_recipe(write_recipe(path, "toy", RECIPE)).recipe
    (path / "pyproject.toml").write_text(pyproject)
    project = read_project(path)
    pins = {"tool": "1.5"} if pins is None else pins
    wanted = tuple(needs(recipe.at(version), project, pins))
    reading = Reading(version, project, {}, Lock("toy", version, (), ()), patches, (), wanted, RELEASE)
    return bump("toy", RECIPE, "here", (), reading)


def outcome(wanted: bool, matches: bool | None) -> Rehearsed:
    return Rehearsed("f", None, "w", wanted, matches, "" if matches else "the edit does not match")


RELEASE = f'sdist]\nsha256 = "{"1" * 64}"'


def test_nothing_to_do_but_the_release(tmp_path):
    result = rehearse(tmp_path)
    assert [(need.name, need.state) for need in result.needs] == [
        ("setuptools", "same"),
        ("ninja", "same"),
        ("torch", "fits"),
        ("tool", "fits"),
        ("Python", "same"),
    ]
    assert (result.exit_code, result.verdict) == (0, "toy 2.0 needs nothing but its release in the recipe.")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("torch == 2.9.1", "torch == 2.10.0", "torch"),
        ("tool>=1.2", "tool>=1.6", "tool"),
        ('"ninja", ', '"ninja", "jinja2", ', "jinja2"),
        ("<4,>=3.9", ">=3.10", "Python"),
    ],
)
def test_a_requirement_that_changed_is_named(tmp_path, old, new, name):
    result = rehearse(tmp_path, PYPROJECT.replace(old, new))
    assert [need.name for need in result.needs if need.state == "differs"] == [name]
    assert (result.exit_code, result.open) == (3, ())
    assert re.fullmatch(r"toy 2.0: the proposal decides all of [23] changes\.", result.verdict)


PATCH = '[[patch]]\nwhy = "w"\nfile = "f"\nfind = "a"\nreplace = "b"\n\n'


def test_a_patch_that_does_not_match_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.RECIPE", RECIPE.replace("[expect]", f"{PATCH * 3}[expect]"))
    outcomes = (outcome(True, False), outcome(False, False), outcome(True, None))
    result = rehearse(tmp_path, patches=outcomes)
    assert result.exit_code == 22
    assert result.verdict == "toy 2.0 needs work: remake 1 patch, try 1 patch where the tree can be fetched."
    assert '# UNDECIDED 2.0: the edit does not match\n[[patch]]\nwhy = "w"\nversions = "<2.0"\n' in result.text
    assert rehearse(tmp_path, patches=(outcome(False, False),)).exit_code == 0
    assert rehearse(tmp_path, patches=(outcome(True, None),)).exit_code == 3


def test_what_changes_becomes_a_range_of_the_recipe(tmp_path):
    changed = PYPROJECT.replace("torch == 2.9.1", "torch == 2.11.0").replace('"ninja", ', '"ninja>=2", "extra", ')
    result = rehearse(tmp_path, changed)
    recipe = tomllib.loads(result.text)
    assert recipe["range"] == [
        {
            "versions": ">=2.0",
            "torch": "2.11.0",
            "requires": ["setuptools<81.0.0,>=77.0.3", "ninja>=2", "extra", "tool>=1.2"],
        }
    ]
    assert recipe["releases"]["2.0"] == {"source": {"sdist": {"sha256": "1" * 64}}}
    assert result.open == ()


def test_a_gcc_that_cmake_refuses_is_read_from_its_own_check(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("""
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS "9.5")
  message(FATAL_ERROR "GCC >= 9.5")
endif()
if (CUDA AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS "13")
  message(FATAL_ERROR
    "GCC >= 13")
endif()
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS "14")
  message(WARNING "slow")
endif()
""")
    result = rehearse(tmp_path)
    assert tomllib.loads(result.text)["range"] == [{"versions": ">=2.0", "gcc": "13"}]
    assert "GCC 13 or newer: CMake ends with an error before it." in [found.text for found in result.findings]


def test_a_tree_that_would_become_a_link_is_handed_over_by_cmake_from_then_on(tmp_path, monkeypatch):
    tree = """[[tree]]
name = "alpha"
env = { ALPHA_SRC = "{tree}" } # its own way
[tree.git]
url = "https://example.org/alpha.git"
commit = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

"""
    monkeypatch.setattr(f"{__name__}.RECIPE", RECIPE.replace("[expect]", f"{tree}[expect]"))
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    links = (("ALPHA_SRC", "FETCHCONTENT_SOURCE_DIR_ALPHA"),)
    lock = Lock("toy", "2.0", (), (), links=links)
    reading = Reading("2.0", read_project(tmp_path), {}, lock, (), (), (), RELEASE)
    result = bump("toy", RECIPE, "here", (), reading)
    trees = [(table["versions"], table["env"]) for table in tomllib.loads(result.text)["tree"]]
    assert trees == [
        ("<2.0", {"ALPHA_SRC": "{tree}"}),
        (">=2.0", {"CMAKE_ARGS": "-DFETCHCONTENT_SOURCE_DIR_ALPHA={tree}"}),
    ]
    assert "# its own way" in result.text
    assert result.open == ()


def test_a_version_outside_the_recipes_range_is_said(tmp_path):
    result = rehearse(tmp_path, version="0.9")
    assert [found.text for found in result.open] == ["the recipe is meant for versions >=1."]
    assert " 0.9: the recipe is meant for versions >=1." in result.text


@pytest.mark.parametrize(
    ("versions", "version", "widened"),
    [
        (">=0.14.1,<0.17", "0.17.0", ">=0.14.1,<0.18"),
        (">=1.6,<1.7", "2.0", ">=1.6,<2.1"),
        (">=6,<7", "7.1.2", ">=6,<8"),
        ("==1.6.*", "1.7", None),
        (">=1,<3", "0.5", None),
    ],
)
def test_versions_are_widened_by_their_own_step(versions, version, widened):
    assert _widened(versions, version) == widened


def test_a_version_is_read_as_pep_440_says(tmp_path, recipe_dir):
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    (tmp_path / "project").mkdir()
    options = {"source": tmp_path / "project", "offline": True, "store": tmp_path / "s", "recipes": [recipe_dir]}
    (step,) = wheelsmith.recipe_bump("toy", "1", **options).steps
    assert (step.version, step.pinned) == ("1.0", True)
    with pytest.raises(UsageError, match=r"'latest' is not a version \(PEP 440\)"):
        wheelsmith.recipe_bump("toy", "latest", **options)
    with pytest.raises(UsageError, match=r"'1\.\.x' is no range of versions"):
        wheelsmith.recipe_bump("toy", "1..x", **options)


def stored_sdist(root: Path, version: str) -> None:
    """An sdist in the store, as a fetch leaves it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        info = tarfile.TarInfo(f"toy-{version}/pyproject.toml")
        text = f'[project]\nname = "toy"\nversion = "{version}"\nrequires-python = ">=3.9"\n'.encode()
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    (root / "blobs" / hashlib.sha256(data.getvalue()).hexdigest()).write_bytes(data.getvalue())


def test_offline_a_range_is_read_from_the_store_one_step_on_the_other(tmp_path, recipe_dir):
    path = write_recipe(
        recipe_dir, "toy", f"# a comment stays\n{TOY_RECIPE}".replace('versions = ">=1"', 'versions = ">=1,<2"')
    )
    for version in ("1.1", "2.0", "2.1rc1", "3.0"):
        stored_sdist(tmp_path / "s", version)
    options = {"offline": True, "sdist": True, "store": tmp_path / "s", "recipes": [recipe_dir]}
    made = wheelsmith.recipe_bump("toy", "1.0..2.5", **options)
    assert [step.version for step in made.steps] == ["1.1", "2.0"]
    assert made.exit_code == 0
    assert '-versions = ">=1,<2"\n+versions = ">=1,<3"\n' in made.diff
    assert [step.version for step in wheelsmith.recipe_bump("toy", **options).steps] == ["3.0"]
    wheelsmith.recipe_bump("toy", "1.0..2.5", write=True, **options)
    assert path.read_text().startswith("# a comment stays\n")
    assert set(load_recipe(path).recipe.releases) == {"1.0", "1.1", "2.0"}


SETUP = """
ext_modules = []
if _is_cuda() or _is_hip():
    ext_modules.append(CMakeExtension(name="toy._C"))
if _is_cuda():
    if CUDA_HOME and get_nvcc_cuda_version() >= Version("12.9"):
        ext_modules.append(CMakeExtension(name="toy._new_C", optional=True))
if _is_hip():
    ext_modules.append(CMakeExtension(name="toy._rocm_C"))
rust = RustExtension(target="toy.toy-rs", optional=not required())
cc_flag.append("-gencode")
cc_flag.append("arch=compute_80,code=sm_80")
"""


def test_what_setup_py_declares_is_read_without_running_it(tmp_path):
    (tmp_path / "setup.py").write_text(SETUP)
    (tmp_path / "Cargo.lock").write_text(
        'version = 4\n[[package]]\nname = "own"\nversion = "1"\n[[package]]\nname = "a"\nversion = "1"\n'
        'source = "registry+https://example.org/index"\n[[package]]\nname = "b"\nversion = "1"\n'
        'source = "git+https://example.org/b?rev=1#2"\n'
    )
    project = read_project(tmp_path)
    assert [
        (item.name, item.optional, item.rust, item.built("12.8"), item.built("13.0")) for item in project.extensions
    ] == [
        ("toy._C", False, False, True, True),
        ("toy._new_C", True, False, False, True),
        ("toy._rocm_C", False, False, False, False),
        ("toy.toy-rs", None, True, True, True),
    ]
    assert project.crates == Crates("Cargo.lock", 2, 1, None)
    assert project.hard_coded == ("setup.py:11, 12",)


def test_a_source_that_is_not_in_the_store_is_named(tmp_path, recipe_dir):
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    with pytest.raises(OfflineError, match=r"archive https://\S+, sha256 \w+ is not in the store") as caught:
        wheelsmith.recipe_lock("toy", offline=True, store=tmp_path / "s", recipes=[recipe_dir])
    assert "--source" in caught.value.remedy


def test_a_project_that_cannot_be_read(tmp_path):
    with pytest.raises(SourceError, match=r"pyproject\.toml cannot be read"):
        rehearse(tmp_path, "[build-system]\nrequires = ['no requirement!']")
