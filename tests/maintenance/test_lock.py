from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.recipes import write_recipe
from wheelsmith.errors import NetworkError, RecipeError
from wheelsmith.maintenance.lock import lock_trees
from wheelsmith.maintenance.lock_text import with_lock, with_release
from wheelsmith.recipe.loader import load_recipe

A, B, C, D, E = (letter * 40 for letter in "abcde")

RECIPE = f"""
schema_version = 1
name = "toy"
summary = "a toy"
versions = ">=1"

[defaults]
archs = "8.6"
cuda = "13.0"

[build]
requires = ["setuptools"]

# ---- trees ----

[[tree]]
name = "alpha" # the first
env = {{ ALPHA_SRC = "{{tree}}" }}
[tree.git]
url = "https://example.org/alpha.git"
commit = "{A}" # a comment
tag = "v1"

[[tree]]
name = "alpha-sub"
inside = "alpha/sub"
[tree.git]
url = "https://example.org/sub.git"
commit = "{B}"

# not needed any more?
[[tree]]
name = "old"
[tree.git]
url = "https://example.org/old.git"
commit = "{C}"

# ---- what it takes ----
[expect]
memory_gb = 0.5
disk_gb = 0.1
cpu_minutes = 1

[releases."1.0".source.git]
url = "https://example.org/toy.git"
commit = "{D}"
tag = "v1.0"
"""


@dataclass(frozen=True)
class Inner:
    path: str
    url: str
    commit: str


class Upstream:
    """Answers from two tables."""

    def __init__(self, tags: dict[str, str], inner: dict[str, list[Inner]]) -> None:
        self.tags, self.inner = tags, inner

    def commit_of(self, url: str, ref: str) -> str:
        return self.tags[f"{url}@{ref}"]

    def submodules(self, url: str, commit: str, tag: str | None = None) -> list[Inner]:
        return self.inner.get(commit, [])


def cmake(*declarations: str) -> str:
    return "if(ALPHA)\nendif()\n" + "".join(declarations)


def declare(name: str, ref: str, override: str = "") -> str:
    handed = f"FetchContent_Declare({name} SOURCE_DIR $ENV{{{override}}})\n" if override else ""
    return f"{handed}FetchContent_Declare({name} GIT_REPOSITORY https://example.org/{name}.git GIT_TAG {ref})\n"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_recipe(tmp_path, "toy", RECIPE)


def lock(recipe: Path, text: str, upstream: Upstream | None, version: str = "1.0"):
    project = recipe.parent / "project"
    project.mkdir(exist_ok=True)
    (project / "CMakeLists.txt").write_text(text)
    return lock_trees(load_recipe(recipe).recipe, version, project, ask=upstream, submodules=())


SUB = Inner("sub", "https://example.org/sub.git", B)
OTHER = Inner("docs", "https://example.org/docs.git", E)


def states(result) -> dict[str, str]:
    return {tree.name: tree.state for tree in result.trees}


def test_a_recipe_that_is_right_changes_nothing(toy):
    upstream = Upstream({"https://example.org/alpha.git@v1": A}, {A: [SUB, OTHER]})
    result = lock(toy, cmake(declare("alpha", "v1", "ALPHA_SRC"), declare("old", C)), upstream)
    assert states(result) == {"alpha": "same", "alpha-sub": "same", "alpha-docs": "left out", "old": "same"}
    assert result.changes == ()


def test_new_changed_and_gone_trees_are_written_and_nothing_else(toy):
    upstream = Upstream(
        {"https://example.org/alpha.git@v2": D},
        {D: [Inner("sub", SUB.url, C), OTHER], E: [Inner("deep", "https://example.org/deep.git", A)]},
    )
    result = lock(toy, cmake(declare("alpha", "v2", "ALPHA_SRC"), declare("fresh", E, "FRESH_SRC")), upstream)
    assert states(result) == {
        "alpha": "changed",
        "alpha-sub": "changed",
        "alpha-docs": "new",
        "alpha-docs-deep": "new",
        "fresh": "new",
        "fresh-deep": "new",
        "old": "gone",
    }
    text = with_lock(RECIPE, load_recipe(toy).recipe, result)
    toy.write_text(text)
    again = lock(toy, cmake(declare("alpha", "v2", "ALPHA_SRC"), declare("fresh", E, "FRESH_SRC")), upstream)
    assert again.changes == ()
    assert f'commit = "{D}" # a comment\ntag = "v2"' in text
    assert '[[tree]]\nname = "fresh"\nenv = { FRESH_SRC = "{tree}" }\n[tree.git]' in text
    assert 'inside = "alpha/docs/deep"' in text
    assert 'name = "old"' not in text
    kept = [line for line in RECIPE.splitlines() if line.startswith("#") or line.startswith("[e") or "releases" in line]
    assert [line for line in text.splitlines() if line in kept] == kept


@pytest.mark.parametrize(
    ("version", "theirs", "ours"), [("2.0", "<2.0", ">=2.0"), ("0.5", ">=1.0", "<1.0"), ("1.5", "!=1.5", "==1.5")]
)
def test_other_releases_keep_their_pins(toy, version, theirs, ours):
    third = RECIPE + f'\n[releases."1.9".source.sdist]\nsha256 = "{"0" * 64}"\n' if version == "1.5" else RECIPE
    toy.write_text(third)
    upstream = Upstream({"https://example.org/alpha.git@v2": D}, {D: [SUB]})
    result = lock(toy, cmake(declare("alpha", "v2", "ALPHA_SRC")), upstream, version)
    text = with_lock(third, load_recipe(toy).recipe, result)
    assert f'name = "alpha" # the first\nversions = "{theirs}"' in text
    assert f'name = "alpha" # the first\nversions = "{ours}"' in text
    assert text.count('name = "alpha-sub"') == 1
    toy.write_text(with_release(text, version, f'sdist]\nsha256 = "{"1" * 64}"'))
    recipe = load_recipe(toy).recipe
    pins = {t.versions: t.git.commit for t in recipe.tree if t.name == "alpha" and t.git}
    assert pins == {theirs: A, ours: D}
    assert [t.versions for t in recipe.tree if t.name == "old"] == [theirs]
    assert version in recipe.releases


def test_offline_a_tag_is_compared_by_name_and_what_is_not_known_is_not_written(toy):
    same = lock(toy, cmake(declare("alpha", "v1", "ALPHA_SRC"), declare("old", C)), None)
    assert states(same) == {"alpha": "same", "alpha-sub": "not checked", "old": "same"}
    moved = lock(toy, cmake(declare("alpha", "v2", "ALPHA_SRC"), declare("old", C)), None)
    assert moved.trees[0].commit is None
    with pytest.raises(RecipeError, match="commits of alpha are not known"):
        with_lock(RECIPE, load_recipe(toy).recipe, moved)


def test_a_moved_tag_is_called_so(toy):
    upstream = Upstream({"https://example.org/alpha.git@v1": E}, {})
    result = lock(toy, cmake(declare("alpha", "v1", "ALPHA_SRC")), upstream)
    assert result.trees[0].state == "changed"
    assert result.trees[0].note == "the tag v1 was another commit when it was locked: somebody moved it"


def test_upstream_is_asked_by_the_recipes_spelling_of_a_place_which_mirrors_know(toy):
    upstream = Upstream({"https://example.org/alpha.git@v1": A}, {A: [Inner("sub", "https://Example.org/SUB/", B)]})
    text = declare("alpha", "v1", "ALPHA_SRC").replace("example.org/alpha.git", "Example.org/Alpha")
    result = lock(toy, cmake(text, declare("old", C)), upstream)
    assert [(tree.state, tree.url) for tree in result.trees[:2]] == [
        ("same", "https://example.org/alpha.git"),
        ("same", "https://example.org/sub.git"),
    ]


def test_a_tree_that_comes_from_somewhere_else_now_is_not_written(toy):
    text = declare("alpha", D, "ALPHA_SRC").replace("example.org", "fork.example")
    result = lock(toy, cmake(text), Upstream({}, {}))
    assert result.trees[0].note == "the recipe has it from https://example.org/alpha.git"
    with pytest.raises(RecipeError, match=r"comes from https://fork\.example/alpha\.git now"):
        with_lock(RECIPE, load_recipe(toy).recipe, result)


def test_a_recipe_written_in_another_style_is_left_to_its_author(toy):
    inline = RECIPE.replace(f'commit = "{A}" # a comment', f'commit = """\\\n{A}"""')
    toy.write_text(inline)
    result = lock(toy, cmake(declare("alpha", E, "ALPHA_SRC")), Upstream({}, {}))
    with pytest.raises(RecipeError, match="not on a line of its own"):
        with_lock(inline, load_recipe(toy).recipe, result)


def test_scripts_that_clone_are_pointed_out(toy):
    (toy.parent / "project").mkdir()
    (toy.parent / "project/setup.py").write_text('# git clone x\nsubprocess.run(["git", "clone", URL])\n')
    result = lock(toy, cmake(declare("alpha", A, "ALPHA_SRC")), Upstream({}, {}))
    assert result.warnings == ('setup.py:2: clones by itself: subprocess.run(["git", "clone", URL])',)


LINKING = """
if(DEFINED ENV{ALPHA_SRC})
  set(ALPHA_SRC $ENV{ALPHA_SRC})
endif()
if(ALPHA_SRC)
  FetchContent_Declare(alpha SOURCE_DIR ${ALPHA_SRC})
else()
  FetchContent_Declare(alpha GIT_REPOSITORY https://example.org/alpha.git GIT_TAG v1)
endif()
if(ALPHA_SRC)
  install(CODE "file(CREATE_LINK a b SYMBOLIC)" COMPONENT c)
else()
  install(CODE "file(COPY a b)" COMPONENT c)
endif()
"""


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (LINKING, (("ALPHA_SRC", "FETCHCONTENT_SOURCE_DIR_ALPHA"),)),
        (LINKING.replace("CREATE_LINK", "COPY"), ()),
    ],
)
def test_a_variable_that_makes_a_link_of_its_tree_is_seen(toy, text, links):
    upstream = Upstream({"https://example.org/alpha.git@v1": A}, {A: [SUB]})
    assert lock(toy, text, upstream).links == links


def test_a_submodule_that_was_left_out_stays_left_out_at_another_commit(toy):
    upstream = Upstream({"https://example.org/alpha.git@v2": D}, {A: [SUB, OTHER], D: [SUB, OTHER]})
    result = lock(toy, cmake(declare("alpha", "v2", "ALPHA_SRC"), declare("old", C)), upstream)
    assert states(result) == {"alpha": "changed", "alpha-sub": "same", "alpha-docs": "left out", "old": "same"}


class Silent(Upstream):
    """Hosts of which one does not answer."""

    def __init__(self, tags: dict[str, str], inner: dict[str, list[Inner]], silent: str) -> None:
        super().__init__(tags, inner)
        self.silent = silent
        self.asked: list[str] = []

    def _answer(self, url: str) -> None:
        self.asked.append(url)
        if self.silent in url:
            raise NetworkError(f"{url} cannot be reached.", "Try again later.")

    def commit_of(self, url: str, ref: str) -> str:
        self._answer(url)
        return super().commit_of(url, ref)

    def submodules(self, url: str, commit: str, tag: str | None = None) -> list[Inner]:
        self._answer(url)
        return super().submodules(url, commit, tag)


def test_a_host_that_does_not_answer_costs_its_own_trees_and_is_asked_once(toy):
    upstream = Silent({"https://example.org/alpha.git@v2": D}, {D: [SUB]}, "old")
    text = cmake(declare("alpha", "v2", "ALPHA_SRC"), declare("old", "v9"))
    result = lock(toy, text, upstream)
    assert states(result) == {"alpha": "changed", "alpha-sub": "same", "old": "changed"}
    assert [tree.commit for tree in result.trees] == [D, B, None]
    assert result.trees[2].note == "not reached: which commit v9 is was not asked"
    assert result.unreached == ("https://example.org/old.git cannot be reached.",)
    assert result.warnings[-1:] == result.unreached
    assert upstream.asked.count("https://example.org/old.git") == 1


def test_submodules_of_a_new_commit_that_nobody_could_be_asked_about_are_named(toy):
    result = lock(toy, cmake(declare("alpha", E, "ALPHA_SRC"), declare("old", C)), Silent({}, {}, "alpha"))
    assert states(result) == {"alpha": "changed", "alpha-sub": "not checked", "old": "same"}
    assert result.unseen == ("alpha",)


NAMED = declare("alpha", A, "ALPHA_SRC").replace(f"GIT_TAG {A}", f'GIT_TAG {A} GIT_SUBMODULES "sub" third/jit')


def test_a_submodule_that_the_project_names_and_the_recipe_lacks_is_missed_though_nobody_can_be_asked(toy):
    result = lock(toy, cmake(NAMED, declare("old", C)), None)
    assert states(result) == {"alpha": "same", "alpha-sub": "not checked", "old": "same"}
    assert result.lacking == ("alpha/third/jit",)
    assert "alpha/third/jit is fetched as well, and the recipe has no such tree." in " ".join(result.warnings)


def test_submodules_that_the_project_does_not_name_are_not_needed(toy):
    jit = Inner("third/jit", "https://example.org/jit.git", E)
    result = lock(toy, cmake(NAMED, declare("old", C)), Upstream({}, {A: [jit, OTHER]}))
    assert states(result) == {"alpha": "same", "alpha-jit": "left out", "alpha-sub": "gone", "old": "same"}
    assert result.lacking == ()
