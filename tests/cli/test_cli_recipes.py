from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.recipes import write_recipe
from tests.support.source_servers import Upstream
from wheelsmith.cli.main import main
from wheelsmith.recipe.loader import load_recipe

pytestmark = pytest.mark.e2e

HOST = "https://git.example.invalid/"

RECIPE = """
schema_version = 1
name = "toy"
summary = "a toy"
versions = ">=1,<3"

[defaults]
archs = "8.6"
cuda = "13.0"
python = "3.12"

[build]
requires = ["setuptools"]

[[tree]] # at a tag
name = "lib"
env = {{ LIB_SRC = "{{tree}}" }}
[tree.git]
url = "https://git.example.invalid/lib.git"
commit = "{lib}"
tag = "v1"

[[patch]]
why = "in the package"
file = "CMakeLists.txt"
find = "set(ARCHS 8.0)"
replace = "set(ARCHS 12.0)"

[[patch]]
why = "in the tree"
tree = "lib"
file = "src/lib.cmake"
find = "old"
replace = "new"

[expect]
memory_gb = 0.5
disk_gb = 0.1
cpu_minutes = 1

[releases."1.0".source.git]
url = "https://git.example.invalid/toy.git"
commit = "{toy}"
tag = "v1.0"
"""


def cmake(tag: str, archs: str = "8.0") -> bytes:
    return f"""set(ARCHS {archs})
if(DEFINED ENV{{LIB_SRC}})
  FetchContent_Declare(lib SOURCE_DIR $ENV{{LIB_SRC}})
else()
  FetchContent_Declare(lib GIT_REPOSITORY {HOST}lib.git GIT_TAG {tag})
endif()
""".encode()


class World:
    """A package with three versions and a library with two, under URLs that only a mirror serves."""

    def __init__(self, root: Path) -> None:
        (root / "git").mkdir()
        self.toy, self.lib = Upstream(root / "git/toy.git"), Upstream(root / "git/lib.git")
        lib = self.lib.commit({"src/lib.cmake": b"old\n", "README": b"r"})
        self.lib.git("tag", "v1")
        self.lib.commit({"src/lib.cmake": b"old\n", "more": b"m"})
        self.lib.git("tag", "-a", "-m", "two", "v2")
        pyproject = b'[build-system]\nrequires = ["setuptools"]\n'
        toy = self.toy.commit({"CMakeLists.txt": cmake("v1"), "pyproject.toml": pyproject})
        self.toy.git("tag", "v1.0")
        self.toy.commit({"CMakeLists.txt": cmake("v1") + b"# 1.1\n"})
        self.toy.git("tag", "v1.1")
        self.toy.commit({"CMakeLists.txt": cmake("v2")})
        self.toy.git("tag", "v1.2")
        self.toy.commit({"CMakeLists.txt": cmake("v2", "9.0")})
        self.toy.git("tag", "v2.0")
        self.recipes = root / "recipes"
        self.recipes.mkdir()
        self.recipe = write_recipe(self.recipes, "toy", RECIPE.format(lib=lib, toy=toy))
        self.config = root / "config.toml"
        self.config.write_text(f'[mirrors]\n"{HOST}" = "git/"\n')

    def commit(self, name: str, tag: str) -> str:
        return getattr(self, name).git("rev-parse", f"{tag}^{{commit}}")

    def run(self, *arguments: str) -> int:
        return main(["recipes", *arguments, "--recipes", str(self.recipes)])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(made.config))
    return made


def test_lock_says_whether_the_recipe_is_right(world, capsys):
    assert world.run("lock", "toy==1.0") == 0
    assert "the same" in capsys.readouterr().out
    world.recipe.write_text(world.recipe.read_text().replace('tag = "v1"\n', 'tag = "v2"\n', 1))
    text = world.recipe.read_text().replace(world.commit("lib", "v1"), world.commit("lib", "v2"))
    world.recipe.write_text(text)
    assert world.run("lock", "toy==1.0", "--json") == 3
    (tree,) = json.loads(capsys.readouterr().out)["trees"]
    assert (tree["name"], tree["state"], tree["tag"]) == ("lib", "changed", "v1")
    assert (tree["was"], tree["commit"]) == (world.commit("lib", "v2"), world.commit("lib", "v1"))
    assert world.run("lock", "toy==1.0", "--write") == 0
    assert world.run("lock", "toy==1.0") == 0
    assert "[[tree]] # at a tag\n" in world.recipe.read_text()


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [
        ("1.1", 0, "toy 1.1 needs nothing but its release in the recipe."),
        ("1.2", 3, "toy 1.2: the proposal decides all of 2 changes."),
        ("2.0", 22, "toy 2.0 needs work: remake 1 patch."),
        ("1.0", 0, "toy 1.0 needs nothing."),
    ],
)
def test_bump_rehearses_and_changes_nothing(world, capsys, version, code, words):
    before = world.recipe.read_bytes()
    assert world.run("bump", "toy", version) == code
    shown = capsys.readouterr().out
    assert words in shown.splitlines()
    assert ("+[releases." in shown) is (version != "1.0")
    if code == 22:
        assert "CMakeLists.txt:1: set(ARCHS 9.0)" in shown
    assert world.recipe.read_bytes() == before


def test_bump_writes_what_the_new_version_needs_and_keeps_the_old_one(world, capsys):
    assert world.run("bump", "toy", "1.2", "--write") == 3
    recipe = load_recipe(world.recipe).recipe
    assert recipe.releases["1.2"].source.git.commit == world.commit("toy", "v1.2")
    assert [(t.versions, t.git.commit, t.git.tag) for t in recipe.tree] == [
        ("<1.2", world.commit("lib", "v1"), "v1"),
        (">=1.2", world.commit("lib", "v2"), "v2"),
    ]
    assert world.run("lock", "toy==1.0") == 0
    assert world.run("lock", "toy==1.2") == 0
    assert world.run("bump", "toy", "1.2") == 0
    # What does not match is for the others alone, and marked.
    assert world.run("bump", "toy", "2.0", "--write") == 22
    (mark,) = (line for line in world.recipe.read_text().splitlines() if line.startswith("# UNDECIDED"))
    assert mark.startswith("# UNDECIDED 2.0: The edit of CMakeLists.txt expects ")
    assert [patch.versions for patch in load_recipe(world.recipe).recipe.patch] == ["<2.0", None]


def test_a_file_that_a_tree_no_longer_has_is_a_patch_that_does_not_match(world, capsys):
    world.lib.git("rm", "-q", "src/lib.cmake")
    world.lib.commit({"other": b"o"})
    world.lib.git("tag", "v3")
    world.toy.commit({"CMakeLists.txt": cmake("v3")})
    world.toy.git("tag", "v1.3")
    assert world.run("bump", "toy", "1.3", "--json") == 22
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    patches = step["patches"]
    assert [patch["matches"] for patch in patches] == [True, False]
    assert "there is no such file in the source" in patches[1]["problem"]


def test_offline_a_mirror_on_this_machine_answers_and_without_it_what_was_not_tried_is_said(world, capsys):
    assert world.run("bump", "toy", "1.1", "--offline") == 0
    world.toy.git("checkout", "-q", "v1.1")
    world.config.write_text("")
    capsys.readouterr()
    assert world.run("bump", "toy", "1.1", "--offline", "--source", str(world.toy.path)) == 3
    assert "decide 1 question." in capsys.readouterr().out
    assert world.run("bump", "toy", "1.2", "--offline") == 23
    assert world.run("lock", "toy", "--source", str(world.toy.path / "gone")) == 2


def test_mirror_writes_a_directory_that_serves(world, tmp_path, capsys, monkeypatch):
    assert world.run("mirror", "toy", "--to", str(tmp_path / "stick"), "--json") == 0
    rows = json.loads(capsys.readouterr().out)["sources"]
    assert [Path(row["place"]).name for row in rows] == ["toy.git", "lib.git"]
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(tmp_path / "stick/config.toml"))
    (tmp_path / "git").rename(tmp_path / "away")
    assert world.run("lock", "toy==1.0", "--store", str(tmp_path / "fresh")) == 0


def test_list_and_schema_stay(world, capsys):
    assert main(["recipes", "--recipes", str(world.recipes), "--json", "list"]) == 0
    assert "toy" in {row["name"] for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert main(["recipes", "--recipes", str(world.recipes)]) == 0
    assert "a toy" in capsys.readouterr().out
    assert main(["recipes", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "wheelsmith recipe"


def test_the_list_shows_the_options_of_each_recipe(capsys):
    assert main(["recipes"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("vllm"))
    assert "standalone=on" in line
    assert main(["recipes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert rows["vllm"]["options"]["standalone"]["default"] is True
    assert rows["cuvec"]["options"] == {}
