from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.errors import RecipeError, UnknownPackageError, UnknownVersionError, UsageError
from wheelsmith.recipe.loader import RecipeBook, load_recipe
from wheelsmith.tomlfile import line_of


def line(text: str, needle: str) -> int:
    """The 1-based line on which `needle` stands."""
    return next(i for i, content in enumerate(text.splitlines(), 1) if needle in content)


def test_every_shipped_recipe_is_valid_and_matches_the_exported_schema():
    import tomllib

    schema = jsonschema.validators.validator_for(wheelsmith.recipe_schema())(wheelsmith.recipe_schema())
    names = []
    for loaded in wheelsmith.recipes():
        names.append(loaded.recipe.name)
        schema.validate(tomllib.loads(Path(loaded.origin).read_text("utf-8")))
    assert len(names) >= 27 and {"causal-conv1d", "cuvec", "vllm"} <= set(names)


@pytest.mark.parametrize(
    ("old", "new", "key", "nearest"),
    [
        ("memory_gb = 0.5", "memroy_gb = 0.5", "expect.memroy_gb", "memory_gb"),
        ('summary = "a toy"', 'summary = "a toy"\nsumary = "twice"', "sumary", "summary"),
        ("sha256 =", 'mirrors = "x"\nsha256 =', "releases.1.0.source.archive.mirrors", None),
    ],
)
def test_an_unknown_key_names_file_line_and_nearest_key(recipe_dir, old, new, key, nearest):
    text = TOY_RECIPE.replace(old, new)
    path = write_recipe(recipe_dir, "toy", text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    where = line(path.read_text(), key.rpartition(".")[2])
    problems = f"{caught.value.cause}\n{caught.value.detail}"
    assert f"{path}:{where}: unknown key {key!r}." in problems
    if nearest:
        assert f"The nearest valid key is {nearest!r}" in caught.value.remedy


@pytest.mark.parametrize(
    ("old", "new", "needle", "message"),
    [
        ("cpu_minutes = 1", "cpu_minutes = 0", "cpu_minutes", "cpu_minutes: expected number > 0"),
        ('archs = "8.6;12.0"', 'archs = "blackwell"', "archs", "'blackwell' is not a compute capability"),
        ('versions = ">=1"', 'versions = "one"', "versions", "not a version specifier"),
        ('requires = ["setuptools"]', 'requires = ["set up"]', "requires", "not a requirement"),
        ('cuda = "13.0"', 'cuda = "13"', "cuda", "pattern"),
        ('cuda = "13.0"', 'cuda = "13.0\\n"', "cuda", "pattern"),
        ("memory_gb = 0.5", "memory_gb = inf", "memory_gb", "expect.memory_gb: expected number <= 1000000000"),
        ("memory_gb = 0.5", "memory_gb = nan", "memory_gb", "expect.memory_gb: expected number > 0"),
        ("memory_gb = 0.5", f"memory_gb = 1{'0' * 400}", "memory_gb", "expect.memory_gb: Number out of range"),
        ("memory_gb = 0.5", "memory_gb = true", "memory_gb", "expected number, got true or false"),
        ("memory_gb = 0.5", 'memory_gb = "0.5"', "memory_gb", "expected number, got text"),
        ("memory_gb = 0.5", "memory_gb = 1979-05-27", "memory_gb", "expected number, got date"),
        ('summary = "a toy"', "summary = {a = []}", "summary", "summary: expected text, got table"),
        ('[releases."1.0".', '[releases."one".', "releases.", "releases.one: not a version (PEP 440): 'one'"),
    ],
)
def test_a_bad_value_names_file_and_line(recipe_dir, old, new, needle, message):
    text = TOY_RECIPE.replace(old, new)
    path = write_recipe(recipe_dir, "toy", text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.cause.startswith(f"{path}:{line(path.read_text(), needle)}: ")
    assert message in caught.value.cause


@pytest.mark.parametrize(
    ("summary", "message"),
    [("[" * 5000, "is nested too deeply"), ("1" * 5000, "is not valid TOML"), ('"a', "is not valid TOML")],
    ids=["deep", "long", "open"],
)
def test_what_breaks_the_parser_is_a_recipe_error(recipe_dir, summary, message):
    path = write_recipe(recipe_dir, "toy", TOY_RECIPE.replace('"a toy"', summary))
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_all_problems_are_told_the_misspelt_key_first(recipe_dir):
    text = TOY_RECIPE.replace("cpu_minutes = 1", "cpu_minuts = 1").replace('cuda = "13.0"', "cuda = 13.0")
    path = write_recipe(recipe_dir, "toy", text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert "unknown key 'expect.cpu_minuts'" in caught.value.cause
    assert "defaults.cuda: expected text, got number." in caught.value.detail
    assert "the key 'expect.cpu_minutes' is missing." in caught.value.detail


def test_a_patch_is_a_diff_or_an_edit_and_the_error_points_at_the_second_one(recipe_dir):
    good = '[[patch]]\nwhy = "w"\nfile = "a"\nfind = "b"\nreplace = "c"\n'
    path = write_recipe(recipe_dir, "toy", TOY_RECIPE + good + '\n[[patch]]\nwhy = "half"\nfile = "a"\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.cause == (
        f"{path}:{line(path.read_text(), 'half') - 1}: patch.1: needs either diff, or all of file, find and replace."
    )


def test_a_missing_diff_and_an_unknown_tree_are_named(recipe_dir):
    path = write_recipe(recipe_dir, "toy", TOY_RECIPE + '[[patch]]\nwhy = "w"\ndiff = "patches/none.diff"\n')
    with pytest.raises(RecipeError, match=r"patches/none\.diff.*cannot be read"):
        load_recipe(path)
    edit = '[[patch]]\nwhy = "w"\ntree = "tritn"\nfile = "a"\nfind = "b"\nreplace = "c"\n'
    path = write_recipe(recipe_dir, "toy", TOY_RECIPE + edit)
    with pytest.raises(RecipeError, match="no tree is named 'tritn'"):
        load_recipe(path)


def test_ones_own_recipe_goes_before_ours(recipe_dir):
    write_recipe(recipe_dir, "cuvec", TOY_RECIPE.replace('name = "toy"', 'name = "cuvec"'))
    loaded, version = RecipeBook([recipe_dir]).find("cuvec")
    assert (loaded.recipe.summary, version) == ("a toy", "1.0")


def test_names_are_normalized_and_versions_chosen(recipe_dir):
    pinned = '\n[releases."1.1rc1".source.archive]\nurl = "https://example.invalid/x"\nsha256 = "' + "0" * 64 + '"\n'
    write_recipe(recipe_dir, "toy", TOY_RECIPE + pinned)
    book = RecipeBook([recipe_dir])
    assert book.find("Toy")[1] == "1.0"
    assert book.find("toy==1.1rc1")[1] == "1.1rc1"


@pytest.mark.parametrize(
    ("requirement", "error", "words"),
    [
        ("tox", UnknownPackageError, "Did you mean toy"),
        ("toy==2", UnknownVersionError, "Choose one of toy==1.0"),
        ("toy = 2", UsageError, "Did you mean toy==2?"),
        ("toy-2", UnknownPackageError, "Did you mean toy==2?"),
        ("toy @ https://example.invalid/x.whl", UsageError, "recipes new 'https://example.invalid/x.whl'"),
        ("./toy", UsageError, "recipes new './toy'"),
        ("toy-1.0.tar.gz", UsageError, "recipes new 'toy-1.0.tar.gz'"),
        ("toy-1.0-py3-none-any.whl", UsageError, "wheelsmith publish"),
    ],
)
def test_what_cannot_be_found_is_explained(recipe_dir, requirement, error, words):
    with pytest.raises(error) as caught:
        RecipeBook([recipe_dir]).find(requirement)
    assert words in caught.value.remedy


def test_lines_of_keys():
    text = "a = 1\n[t]\nx = '''\n[t.not]\ny = 2\n'''\ny = 3\n[[l]]\nk = 1\n[[l]]\nk = 2\n[l.\"q.r\"]\nz.w = 1\n"
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("t", "y")) == 7
    assert line_of(text, ("t", "absent")) == 2
    assert line_of(text, ("l", 1, "k")) == 11
    assert line_of(text, ("l", 1, "q.r", "z", "w")) == 13
    assert line_of(text, ("absent",)) == 1


@given(st.text(alphabet="abc[]='\"#.\n 1", max_size=60), st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=3))
def test_finding_a_line_never_fails_and_stays_inside_the_text(text, path):
    assert 1 <= line_of(text, path) <= max(1, len(text.splitlines()))


def test_a_url_with_credentials_is_refused(recipe_dir):
    text = TOY_RECIPE.replace("https://example.invalid", "https://me:secret@example.invalid")
    path = write_recipe(recipe_dir, "toy", text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert "must not hold credentials" in caught.value.cause


def test_a_path_of_this_machine_is_a_file_url_and_a_relative_one_is_refused(recipe_dir):
    """A mirror names what it stands for by the beginning of its URL: a bare path has none."""
    url = 'url = "https://example.invalid/toy-1.0.tar.gz"'
    assert url in TOY_RECIPE
    write_recipe(recipe_dir, "toy", TOY_RECIPE.replace(url, 'url = "/srv/sources/toy 1.tar.gz"'))
    assert wheelsmith.plan("toy", recipes=[recipe_dir]).source.url == "file:///srv/sources/toy%201.tar.gz"
    write_recipe(recipe_dir, "toy", TOY_RECIPE.replace(url, 'url = "../toy.tar.gz"'))
    with pytest.raises(RecipeError, match=r"must be a URL or an absolute path, not '\.\./toy\.tar\.gz'"):
        wheelsmith.plan("toy", recipes=[recipe_dir])


def test_the_contract_of_a_recipe_has_the_keys_of_what_the_judge_takes():
    """One contract: each key of the recipe's tables is a field of the plan's values, and the other way round."""
    from dataclasses import fields

    from wheelsmith.contract import Alternative, Choice, Lack, LibraryRule, Limits
    from wheelsmith.recipe.contracts import AlternativeTable, ChoiceTable, ContractTable, LackTable, LibraryTable

    pairs = [
        (LibraryTable, LibraryRule, {"when", "versions", "cuda", "without"}, set()),  # decided in the plan
        (LackTable, Lack, set(), set()),
        (ContractTable, Limits, {"max_size_mb"}, {"max_size"}),
        (ChoiceTable, Choice, set(), {"package"}),
        (AlternativeTable, Alternative, set(), set()),
    ]
    for table, value, only_there, only_here in pairs:
        assert set(table.__struct_fields__) - only_there == {field.name for field in fields(value)} - only_here, table


@pytest.mark.parametrize(
    ("path", "why"),
    [("nowhere", "it is not there"), ("keys", "it is no project"), ("/", "it is no project"), ("a\\u0000b", "null")],
)
def test_a_directory_that_is_no_project_never_reaches_a_build(tmp_path, path, why):
    """Somebody else's recipe could name a home, or keys."""
    (tmp_path / "recipes/keys").mkdir(parents=True)
    (tmp_path / "recipes/keys/id_ed25519").write_text("secret")
    (tmp_path / "recipes/mine.toml").write_text(
        'schema_version = 1\nname = "mine"\nsummary = "m"\nversions = ">=1"\n[defaults]\narchs = "8.6"\ncuda = "13.0"\n'
        f'[build]\nrequires = ["setuptools"]\n[releases."1.0".source.directory]\npath = "{path}"\n'
    )
    with pytest.raises(RecipeError, match=why):
        wheelsmith.plan("mine==1.0", recipes=[tmp_path / "recipes"])
