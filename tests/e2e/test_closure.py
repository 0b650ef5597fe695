"""The closure of a build: every tree locked, fetched through mirrors, and nothing fetched besides."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

import wheelsmith
from tests.support import miniature
from wheelsmith.cli.main import main
from wheelsmith.compile.sandbox import isolation_here
from wheelsmith.errors import CompileError, ContractError, SourceError
from wheelsmith.planning.model import Plan

pytestmark = pytest.mark.e2e

VLLM = {
    "cutlass": ("v4.2.1", ("VLLM_CUTLASS_SRC_DIR",)),
    "triton_kernels": ("v3.5.0", ("TRITON_KERNELS_SRC_DIR",)),
    "flashmla": (None, ("FLASH_MLA_SRC_DIR",)),
    "qutlass": ("830d2c4537c7396e14a02a46fbddd18b5d107c65", ("QUTLASS_SRC_DIR",)),
    "vllm-flash-attn": ("188be16520ceefdc625fdf71365585d2ee348fe2", ("VLLM_FLASH_ATTN_SRC_DIR",)),
}
FLASHMLA = {
    "0.14.1": "46d64a8ebef03fa50b4ae74937276a5c940e3f95",
    "0.16.0": "c2afa9cb93e674d5a9120a170a6da57b89267208",
}


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for environments, toolkits and the sdists from the package index."""
    return tmp_path_factory.mktemp("closure-store")


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> miniature.Miniature:
    made = miniature.make(tmp_path / "upstream")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(made.config))
    return made


def plan(mini: miniature.Miniature) -> Plan:
    return wheelsmith.plan("minillm", recipes=[mini.recipes])


def build(mini: miniature.Miniature, store: Path, index: Path, **more):
    return wheelsmith.build(plan(mini), store=store, index=index, **more)


def test_a_build_whose_trees_come_from_mirrors_and_whose_compile_has_no_network(mini, shared_store, tmp_path):
    made = plan(mini)
    assert wheelsmith.fetch(made, store=shared_store) < 40_000  # of two repositories with megabytes of ballast
    result = build(mini, shared_store, tmp_path / "dist", offline=True)

    outcomes = {(row["library"], row["arch"]): row["outcome"] for row in result.record["verdict"]["rows"]}
    assert outcomes == {
        (library, arch): "native"
        for library in ("minillm/_C.so", "minillm/attention/_attention_C.so")
        for arch in ("8.6", "12.0")
    }
    with zipfile.ZipFile(result.wheel) as wheel:
        assert wheel.read("minillm/third_party/kernels/k.py") == b"K = 1\n"
        assert wheel.read("minillm/templates/chat.jinja") == b"{{ messages }}"

    places = {item["served_by"] for item in result.record["sources"]}
    assert places == {upstream.path.as_uri() for upstream in mini.upstreams.values()}
    (provenance,) = (tmp_path / "dist").glob("*.provenance.json")
    assert str(mini.config.parent) not in provenance.read_text()  # it names upstream, not the mirror
    predicate = json.loads(provenance.read_text())["predicate"]
    named = json.dumps(predicate["buildDefinition"]["resolvedDependencies"])
    assert all(f"{miniature.HOST}mini/{name}.git" in named for name in mini.upstreams)
    isolation = predicate["runDetails"]["wheelsmith_isolation"]
    assert isolation == isolation_here().to_dict()


def test_without_its_patch_the_wheel_breaks_its_arch_contract(mini, shared_store, tmp_path):
    text = mini.recipe.read_text()
    start, end = text.index("[[patch]]"), text.index("[expect]")
    mini.recipe.write_text(text[:start] + text[end:])
    with pytest.raises(ContractError) as caught:
        build(mini, shared_store, tmp_path / "dist")
    assert caught.value.exit_code == 50
    assert "minillm/attention/_attention_C.so" in caught.value.detail


def test_a_tree_outside_the_closure_fails_with_its_name(mini, shared_store, tmp_path):
    text = mini.recipe.read_text()
    start, end = text.index('[[tree]]\nname = "kernels"'), text.index('[[tree]]\nname = "attention"\n')
    mini.recipe.write_text(text[:start] + text[end:])
    with pytest.raises(CompileError) as caught:
        build(mini, shared_store, tmp_path / "dist")
    assert "mini_kernels (https://git.example.invalid/mini/triton.git)" in caught.value.cause
    assert "[[tree]]" in caught.value.remedy

    lock = wheelsmith.recipe_lock("minillm", recipes=[mini.recipes], store=shared_store, write=True)
    (new,) = lock.changes
    assert (new.state, new.commit, new.env) == (
        "new",
        mini.head("triton"),
        (("MINI_KERNELS_SRC_DIR", "{tree}/python/kernels"),),
    )
    result = build(mini, shared_store, tmp_path / "dist")
    assert "sources" in result.record


def test_a_moved_tag_is_refused_and_shown(mini, tmp_path, capsys):
    headers = mini.upstreams["headers"]
    old = mini.head("headers")
    new = headers.commit({"include/mini.cuh": b"// other\n"})
    headers.git("tag", "-f", "-a", "-m", "moved", "v1.0")
    arguments = ["recipes", "lock", "minillm", "--recipes", str(mini.recipes), "--store", str(tmp_path / "store")]
    assert main(arguments) == 3
    shown = capsys.readouterr().out
    assert "somebody moved it" in shown
    assert new in shown
    assert old in shown
    # The build itself is not misled: the commit decides.
    assert wheelsmith.fetch(plan(mini), store=tmp_path / "store") > 0
    headers.git("update-ref", "-d", "refs/heads/main")
    headers.git("tag", "-d", "v1.0")
    headers.git("reflog", "expire", "--expire=now", "--all")
    headers.git("gc", "--quiet", "--prune=now")
    with pytest.raises(SourceError, match="No mirror"):
        wheelsmith.fetch(plan(mini), store=tmp_path / "other")


def test_the_closure_is_carried_to_a_machine_without_upstream(mini, tmp_path, monkeypatch, capsys):
    arguments = ["recipes", "mirror", "minillm", "--recipes", str(mini.recipes), "--store", str(tmp_path / "store")]
    assert main([*arguments, "--to", str(tmp_path / "stick")]) == 0
    (tmp_path / "upstream/git").rename(tmp_path / "gone")
    carried = (tmp_path / "stick").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(carried / "config.toml"))
    assert wheelsmith.fetch(plan(mini), store=tmp_path / "new") < 40_000
    lock = wheelsmith.recipe_lock("minillm", recipes=[mini.recipes], store=tmp_path / "new")
    assert {tree.name: tree.state for tree in lock.trees} == {
        "headers": "same",
        "kernels": "same",
        "attention": "same",
        "attention-headers": "same",
    }


@pytest.mark.parametrize("version", ["0.14.1", "0.16.0"])
def test_the_trees_of_the_real_vllm(version, shared_store, tmp_path, vllm_sources):
    """Five projects with the pins of its CMake files, whatever else those fetch for other devices."""
    from wheelsmith.cmake.trees import read_trees

    reading = read_trees(vllm_sources[version])
    found = {tree.name: (tree.ref, tree.env) for tree in reading.trees}
    assert found == VLLM | {"flashmla": (FLASHMLA[version], ("FLASH_MLA_SRC_DIR",))}
    assert reading.warnings == ()
    by_name = {tree.name: tree for tree in reading.trees}
    assert by_name["triton_kernels"].defines == (
        "TRITON_KERNELS_SRC_DIR",
        "FETCHCONTENT_SOURCE_DIR_TRITON_KERNELS",
    )
    assert by_name["triton_kernels"].override == "python/triton_kernels/triton_kernels"
    assert by_name["cutlass"].defines[0] == "VLLM_CUTLASS_SRC_DIR"

    other = read_trees(vllm_sources[version], {"VLLM_TARGET_DEVICE": "cpu"}).trees
    assert {tree.name: tree.ref for tree in other} == {"arm_compute": "v52.6.0", "oneDNN": "v3.10"}

    lock = wheelsmith.recipe_lock(f"vllm=={version}", source=vllm_sources[version], offline=True)
    assert lock.changes == ()


@pytest.fixture(scope="session")
def vllm_sources(shared_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from wheelsmith.api.defaults import chosen_index_url
    from wheelsmith.sources.fetch import fetch_source
    from wheelsmith.sources.sdist import find
    from wheelsmith.sources.stage import lay_out_source
    from wheelsmith.store import Store

    store = Store(shared_store)
    index = chosen_index_url(None)
    places = {}
    for version in FLASHMLA:
        source = find("vllm", version, index)
        fetch_source(source, store, index)
        places[version] = tmp_path_factory.mktemp("vllm") / version
        lay_out_source(source, store, places[version])
    return places


BUMPED = """
[[patch]]
why = "matches both versions"
file = "CMakeLists.txt"
find = 'cuda_archs_loose_intersection(MARLIN_ARCHS "8.0+PTX"'
replace = 'cuda_archs_loose_intersection(MARLIN_ARCHS "8.0;12.0"'

[[patch]]
why = "only 0.14.1 has this file's line"
file = "cmake/external_projects/flashmla.cmake"
find = "        ${flashmla_SOURCE_DIR}/csrc/smxx/mla_combine.cu"
replace = ""

[expect]"""


def test_the_next_version_of_the_real_vllm_is_rehearsed(vllm_sources, shared_store, tmp_path, capsys):
    """A recipe that knows 0.14.1 alone, bumped to 0.16.0."""
    (shipped,) = (loaded for loaded in wheelsmith.recipes() if loaded.recipe.name == "vllm")
    text = Path(shipped.origin).read_text()
    directory = Path(shipped.origin).parent
    head, _, rest = text.partition("# ---- real machine code")
    tail = rest[rest.index("[expect]") + len("[expect]") : rest.index("[[library]]")]
    first, *_ = rest[rest.index('[releases."0.14.1"') :].split("\n\n")
    # Only the tables of 0.14.1, written as if no other version were known.
    trees = [part for part in head.split("\n\n") if 'versions = ">=' not in part or "[[tree]]" not in part]
    recipe = "\n\n".join(trees).replace('versions = "<0.15"\n', "").replace("standalone]", "standalone]")
    (tmp_path / "r").mkdir()
    shutil.copytree(directory / "locks", tmp_path / "r/locks")
    own = tmp_path / "r/vllm.toml"
    own.write_text(f"{recipe}{BUMPED}{tail}{first}\n")

    arguments = ["recipes", "bump", "vllm", "0.16.0", "--recipes", str(own.parent), "--offline", "--json"]
    assert main([*arguments, "--source", str(vllm_sources["0.16.0"])]) == 22
    (data,) = json.loads(capsys.readouterr().out)["steps"]
    changed = {
        tree["url"]: (tree["was"], tree["commit"]) for tree in data["lock"]["trees"] if tree["state"] == "changed"
    }
    assert changed == {"https://github.com/vllm-project/FlashMLA.git": (FLASHMLA["0.14.1"], FLASHMLA["0.16.0"])}
    assert [patch["matches"] for patch in data["patches"]] == [True, False]
    assert "most similar" in data["patches"][1]["problem"]
    assert {need["name"] for need in data["needs"] if need["state"] == "differs"} == set()
