import dataclasses

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.contract import LibraryRule
from wheelsmith.errors import RecipeError, TargetError, UsageError
from wheelsmith.gpu.arch import Arch
from wheelsmith.planning.model import GitSource
from wheelsmith.planning.pins import locked_pins

TREES = """
[[tree]]
name = "inner"
inside = "outer/third_party/inner"
[tree.git]
url = "https://example.invalid/inner.git"
commit = "1111111111111111111111111111111111111111"

[[tree]]
name = "outer"
env = { OUTER_DIR = "{tree}/sub", WHAT = "{version} {cuda_digits}" }
[tree.git]
url = "https://example.invalid/outer.git"
commit = "2222222222222222222222222222222222222222"
sparse = ["sub"]
"""


def toy(recipe_dir, text=TOY_RECIPE, **target):
    write_recipe(recipe_dir, "toy", text)
    return wheelsmith.plan("toy", recipes=[recipe_dir], **target)


def test_the_seed_settings_of_vllm():
    """The guide's table: Python 3.12, CUDA 12.8, torch 2.9.1 from the index, sm_86 and sm_120, triton at its pin."""
    plan = wheelsmith.plan("vllm==0.15.1")
    environment = dict(plan.environment)
    assert plan.wheel_version == "0.15.1+cu128"
    assert (plan.target.python, plan.target.cuda, plan.target.torch) == ("3.12", "12.8", "2.9.1")
    assert environment["TORCH_CUDA_ARCH_LIST"] == "8.6;12.0"
    assert environment["VLLM_VERSION_OVERRIDE"] == "0.15.1+cu128"
    assert environment["CMAKE_BUILD_TYPE"] == "Release"
    assert plan.source == GitSource(
        "https://github.com/vllm-project/vllm.git", "1892993bc18e243e2c05841314c5e9c06a80c70d", "v0.15.1"
    )
    trees = {tree.name: tree for tree in plan.trees}
    assert trees["triton"].source.sparse == ("python/triton_kernels",)
    assert trees["vllm-flash-attn-cutlass"].path == f"{trees['vllm-flash-attn'].path}/csrc/cutlass"
    assert environment["TRITON_KERNELS_SRC_DIR"] == f"{trees['triton'].path}/python/triton_kernels/triton_kernels"
    assert plan.lock is not None
    assert dict(locked_pins(plan.lock, "3.12"))["torch"] == "2.9.1"
    assert plan.warnings == ("GPU code compressed for size needs driver 550.54.14 (CUDA 12.4) or newer.",)


@pytest.mark.parametrize("arch", ["8.6;12.0", "9.0"])
def test_the_closure_of_vllm_0_15_1_is_what_its_cmake_pins(arch):
    """Each tree that its build clones, at the commit that the tag's CMake files name; requirements as in its
    pyproject.toml, but grpcio-tools, of which 0.16.0 wants just this one, and NumPy, which torch wants."""
    plan = wheelsmith.plan("vllm==0.15.1", arch=arch, cuda="12.8")
    sources = {tree.name: tree.source for tree in plan.trees}
    of_hopper = {"flashmla-cutlass": "147f5673d0c1c3dcf66f78d677fd647e4a020219"} if arch == "9.0" else {}
    assert {name: source.commit for name, source in sources.items() if isinstance(source, GitSource)} == {
        "cutlass": "f3fde58372d33e9a5650ba7b80fc48b3b49d40c8",
        "triton": "c3c476f357f1e9768ea4e45aa5c17528449ab9ef",
        "vllm-flash-attn": "188be16520ceefdc625fdf71365585d2ee348fe2",
        "flashmla": "c2afa9cb93e674d5a9120a170a6da57b89267208",
        "qutlass": "830d2c4537c7396e14a02a46fbddd18b5d107c65",
        "vllm-flash-attn-cutlass": "62750a2b75c802660e4894434dc55e839f322277",
        **of_hopper,
    }
    assert [str(requirement) for requirement in plan.requires] == [
        *("cmake>=3.26.1", "ninja", "packaging>=24.2", "setuptools>=77.0.3,<81", "setuptools-scm>=8", "wheel"),
        *("jinja2", "grpcio-tools==1.78.0", "numpy", "torch==2.9.1"),
    ]


def test_flash_attention_3_of_vllm_can_be_left_out_on_hopper():
    with_it, without = (wheelsmith.plan("vllm==0.15.1", arch="9.0", options={"fa3": on}) for on in (True, False))
    rule = LibraryRule("vllm/vllm_flash_attn/_vllm_fa3_C.*", "native", False, (Arch(9, 0),))
    assert rule in with_it.promises
    assert not [promise for promise in without.promises if "_vllm_fa3_C" in promise.path]
    assert [str(patch) for patch in without.patches if "FlashAttention-3" in str(patch)][-1].startswith(
        "edit setup.py (once): no FlashAttention-3"
    )


@pytest.mark.parametrize(("standalone", "code"), [(True, "native"), (False, "jit")])
def test_flash_attention_2_of_vllm_promises_nothing_to_gpus_before_8_0(standalone, code):
    """Its arch list begins there, upstream's too: a T4 beside an A100 must not break the contract."""
    options = {"standalone": standalone}
    promises = wheelsmith.plan("vllm==0.15.1", arch="7.5;8.0;12.0", options=options).promises
    found = [promise for promise in promises if "_vllm_fa2_C" in promise.path]
    assert found == [LibraryRule("vllm/vllm_flash_attn/_vllm_fa2_C.*", code, False, (Arch(8, 0), Arch(12, 0)))]
    alone = wheelsmith.plan("vllm==0.15.1", arch="7.5", options=options).promises
    assert LibraryRule("vllm/vllm_flash_attn/_vllm_fa2_C.*", code, True, ()) in alone


def test_a_patch_says_which_tree_it_is_for():
    shown = [str(patch) for patch in wheelsmith.plan("vllm==0.15.1").patches]
    assert any(
        text.startswith("arch list FA2_ARCHS in trees/vllm-flash-attn/CMakeLists.txt (also 8.0, ") for text in shown
    )
    assert any(text.startswith("edit setup.py (once): FlashAttention-3") for text in shown)


def test_gpu_names_and_archs_give_the_same_digest():
    by_gpu = wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40")
    by_arch = wheelsmith.plan("vllm==0.15.1", arch="sm_120 8.6")
    assert by_gpu.digest == by_arch.digest


def test_the_digest_hangs_on_what_decides_the_result_and_on_nothing_else(recipe_dir):
    plan = toy(recipe_dir)
    assert plan.digest == toy(recipe_dir, TOY_RECIPE.replace("memory_gb = 0.5", "memory_gb = 2")).digest
    others = [
        toy(recipe_dir, arch="8.6"),
        toy(recipe_dir, python="3.10"),
        toy(recipe_dir, cuda="12.8"),
        toy(recipe_dir, environment="current"),
        toy(recipe_dir, TOY_RECIPE.replace("abab", "abac", 1)),
        toy(recipe_dir, TOY_RECIPE + '[[patch]]\nwhy = "w"\nfile = "a"\nfind = "b"\nreplace = "c"\n'),
        toy(recipe_dir, TOY_RECIPE + "[build.env]\nX = '1'\n"),
    ]
    assert len({plan.digest, *(other.digest for other in others)}) == len(others) + 1


def test_a_plan_is_frozen(recipe_dir):
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy(recipe_dir).version = "2"


def test_trees_are_laid_outer_first_and_handed_over_by_variables(recipe_dir):
    plan = toy(recipe_dir, TOY_RECIPE + TREES)
    assert [tree.name for tree in plan.trees] == ["outer", "inner"]
    outer, inner = plan.trees
    assert inner.path == f"{outer.path}/third_party/inner"
    environment = dict(plan.environment)
    assert environment["OUTER_DIR"] == f"{outer.path}/sub"
    assert environment["WHAT"] == "1.0 130"


def test_an_unknown_template_value_is_an_error(recipe_dir):
    with pytest.raises(RecipeError, match=r"unknown value \{cuda\}"):
        toy(recipe_dir, TOY_RECIPE + "[build.env]\nX = '{cuda}'\n")


def test_a_patch_for_other_versions_is_left_out(recipe_dir):
    patch = '[[patch]]\nwhy = "w"\nversions = "{}"\nfile = "a"\nfind = "b"\nreplace = "c"\n'
    assert toy(recipe_dir, TOY_RECIPE + patch.format(">=2")).patches == ()
    assert len(toy(recipe_dir, TOY_RECIPE + patch.format("==1.*")).patches) == 1


@pytest.mark.parametrize(
    ("requirement", "target", "cause", "remedy"),
    [
        ("vllm==0.16.0", {"cuda": "12.6"}, "CUDA 12.6 cannot compile for sm_120", "CUDA 12.8 is the first"),
        ("vllm==0.16.0", {"cuda": "13.0"}, "torch 2.9.1 is built with CUDA 12.8", "--cuda 13.0 --torch 2.11.0"),
        ("vllm==0.16.0", {"cuda": "12.7"}, "CUDA 12.7 is not a toolkit that wheelsmith knows", "Choose one of"),
        ("vllm==0.16.0", {"torch": "newest"}, "'newest' is not a version of torch", "or nightly"),
        ("vllm==0.16.0", {"arch": "9.0+PTX"}, "does not pass +PTX on to nvcc", "--arch '9.0'"),
        ("vllm==0.16.0", {"python": "3.9"}, "supports Python >=3.10,<3.14, not 3.9", "--python 3.12"),
        ("cuvec", {"torch": "2.11.0"}, "cuvec does not use torch", "Leave --torch away"),
        ("cuvec", {"arch": "7.0"}, "CUDA 13.0 cannot compile for sm_70", "It compiles for 7.5"),
    ],
)
def test_contradictions_are_explained(requirement, target, cause, remedy):
    with pytest.raises(TargetError) as caught:
        wheelsmith.plan(requirement, **target)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


def test_another_torch_is_a_warning_and_leaves_the_lock():
    plan = wheelsmith.plan("causal-conv1d", torch="2.12.1")
    assert plan.lock is None
    assert any("tested with torch 2.11.0" in text for text in plan.warnings)
    assert any("torch==2.12.1" in text for text in plan.warnings)


def test_a_torch_that_the_metadata_exclude_is_a_warning():
    (text, *_) = wheelsmith.plan("vllm==0.15.1", torch="2.10.0").warnings
    assert "vllm's own metadata require torch==2.9.1. The wheel will require torch 2.10.0 instead" in text


def test_a_nightly_torch_admits_development_versions_and_warns():
    plan = wheelsmith.plan("vllm==0.15.1", torch="nightly")
    assert plan.requires[-1] == "torch>=0.dev0"
    assert plan.lock is None
    assert "the wheel requires exactly that one" in plan.warnings[0]


def test_an_option_chooses_trees_patches_and_promises(recipe_dir):
    text = (
        TOY_RECIPE
        + TREES.replace('name = "inner"', 'name = "inner"\narchs = "9.0;10.0"')
        + '[options.lean]\ndefault = true\nwhy = "w"\n'
        + '[[patch]]\nwhy = "w"\nwhen = "lean"\nfile = "a"\nfind = "b"\nreplace = "c"\n'
        + '[[library]]\npath = "fat*.so"\nwhen = "!lean"\n'
        + '[[library]]\npath = "hopper*.so"\narchs = "9.0"\n'
    )
    lean = toy(recipe_dir, text)
    assert (len(lean.patches), [tree.name for tree in lean.trees]) == (1, ["outer"])
    assert lean.promises == (LibraryRule("hopper*.so", "native", True, ()),)
    fat = toy(recipe_dir, text, options={"lean": False}, arch="8.6;9.0")
    assert (fat.patches, [tree.name for tree in fat.trees]) == ((), ["outer", "inner"])
    assert fat.promises == (
        LibraryRule("fat*.so", "native", False),
        LibraryRule("hopper*.so", "native", False, (Arch(9, 0),)),
    )
    with pytest.raises(UsageError, match="has no option 'leann'"):
        toy(recipe_dir, text, options={"leann": False})


def test_a_lock_is_read_with_its_markers():
    lock = (
        "a==1 ; python_full_version < '3.12' \\\n    --hash=sha256:00\na==2 ; python_full_version >= '3.12'\nB_b==3\n"
    )
    assert dict(locked_pins(lock, "3.11")) == {"a": "1", "b-b": "3"}
    assert dict(locked_pins(lock, "3.13")) == {"a": "2", "b-b": "3"}


def _two_releases(recipe_dir, newer_tree=""):
    text = TOY_RECIPE + '\n[releases."9.0".source.sdist]\nsha256 = "' + "ab" * 32 + f'"\n{newer_tree}'
    write_recipe(recipe_dir, "toy", text)


def test_without_a_version_the_newest_that_is_locked_is_planned(recipe_dir):
    """A newer release whose tree nobody has locked cannot be fetched: it is planned where it is named, and told of."""
    _two_releases(recipe_dir)
    assert wheelsmith.plan("toy", recipes=[recipe_dir]).version == "9.0"
    tree = '[[tree]]\nname = "inner"\nversions = ">=9"\n[tree.git]\nurl = "https://example.invalid/inner.git"\n'
    _two_releases(recipe_dir, tree)
    plan = wheelsmith.plan("toy", recipes=[recipe_dir])
    assert plan.version != "9.0"
    assert plan.warnings[-1].startswith("toy==9.0 is newer, but some of its sources are not locked")
    assert wheelsmith.plan("toy==9.0", recipes=[recipe_dir]).version == "9.0"
    assert wheelsmith.plan("toy>=9", recipes=[recipe_dir]).version == "9.0"


def test_zeros_where_a_hash_belongs_are_told_of(recipe_dir):
    write_recipe(recipe_dir, "toy", TOY_RECIPE + f'\n[releases."9.0".source.sdist]\nsha256 = "{"0" * 64}"\n')
    warning = wheelsmith.plan("toy==9.0", recipes=[recipe_dir]).warnings[0]
    assert warning.startswith("toy==9.0's source is pinned by a placeholder, all zeros")


@pytest.mark.parametrize(("version", "hands_over"), [("0.18.1", "VLLM_FLASH_ATTN_SRC_DIR"), ("0.24.0", "CMAKE_ARGS")])
def test_a_tree_is_handed_over_by_the_variables_of_its_version_alone(version, hands_over):
    """With VLLM_FLASH_ATTN_SRC_DIR, 0.20 and newer install FlashAttention-4 as a link into the build directory."""
    environment = dict(wheelsmith.plan(f"vllm=={version}").environment)
    found = [
        name for name in ("VLLM_FLASH_ATTN_SRC_DIR", "CMAKE_ARGS") if "vllm-flash-attn" in environment.get(name, "")
    ]
    assert found == [hands_over]


@pytest.mark.parametrize(("cuda", "said"), [("12.8", True), ("12.9", True), ("13.0", False)])
def test_what_does_not_work_with_an_older_toolkit_is_said_by_the_plan(cuda, said):
    torch = f"2.14.0+cu{cuda.replace('.', '')}"
    warnings = wheelsmith.plan("vllm==0.33.0", cuda=cuda, torch=torch).warnings
    assert any("nvidia-cutlass-dsl[cu13]" in text for text in warnings) is said
    assert any("extra deepstream" in text for text in warnings) is said


@pytest.mark.parametrize(
    ("cuda", "arch", "lost"),
    [
        ("12.8", "8.6;12.0", ["has nothing for 12.0 with CUDA 12.8 (it takes >=12.9,<13 or >=13)"]),
        ("12.8", "9.0", []),
        ("12.9", "12.0;12.1", ["has nothing for 12.1 with CUDA 12.9 (it takes <12.9 or >=13)"]),
        ("13.0", "8.6;12.0", []),
    ],
)
def test_a_plan_says_what_a_gpu_does_without_with_this_toolkit(cuda, arch, lost):
    torch = f"2.14.0+cu{cuda.replace('.', '')}"
    warnings = wheelsmith.plan("vllm==0.33.0", arch=arch, cuda=cuda, torch=torch).warnings
    path = "vllm/_flashkda_C.* "
    found = [text.removeprefix(path) for text in warnings if text.startswith(path)]
    assert found == [f"{text}: Kimi's delta attention takes Triton's kernels." for text in lost]
