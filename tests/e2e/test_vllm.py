"""vLLM's own sources, as far as a package index has them: the sdists before and after 0.15.1, which has none."""

import re

import pytest

import wheelsmith
from wheelsmith.events import ignore
from wheelsmith.planning.model import CANONICAL, SdistSource
from wheelsmith.sources import archive, sdist
from wheelsmith.sources.patches import apply
from wheelsmith.store import Store

pytestmark = pytest.mark.e2e

#: What CMakeLists.txt gives these kernels after our patches; upstream says 8.0+PTX, 7.5;8.0+PTX or 8.0+PTX;9.0+PTX.
LISTS = {
    "MARLIN_ARCHS": "8.0;9.0;10.0;11.0;12.0",
    "MARLIN_BF16_ARCHS": "8.0;9.0;10.0;11.0;12.0",
    "MARLIN_OTHER_ARCHS": "7.5;8.0;9.0;10.0;11.0;12.0",
    "HADACORE_ARCHS": "8.0;9.0;10.0;11.0;12.0",
    "MARLIN_MOE_ARCHS": "8.0;9.0;10.0;11.0;12.0",
    "MARLIN_MOE_OTHER_ARCHS": "7.5;8.0;9.0;10.0;11.0;12.0",
    "MARLIN_FP8_ARCHS": "8.9;12.0",
    "SCALED_MM_2X_ARCHS": "7.5;8.0;8.7;8.9",
}
OWN_PATCHES = 9  # one more is for FlashAttention's tree


@pytest.mark.parametrize("version", ["0.14.1", "0.16.0"])
def test_the_patches_of_the_recipe_match_the_neighbours_exactly(version, tmp_path):
    plan = wheelsmith.plan(f"vllm=={version}", cuda="12.9")  # the one release for which all of them are
    store = Store(tmp_path / "store")
    assert isinstance(plan.source, SdistSource)
    sdist.fetch(plan.source, store, None, ignore)
    source = tmp_path / "src"
    archive.lay_out(plan.source, store, source)
    own = [patch for patch in plan.patches if patch.path == f"{CANONICAL}/src"]
    assert (len(own), len(plan.patches)) == (OWN_PATCHES, OWN_PATCHES + 1)
    for patch in own:
        apply(patch, source)
    cmake = (source / "CMakeLists.txt").read_text("utf-8")
    assert "+PTX" not in re.sub(r"#.*", "", cmake)
    found = dict(re.findall(r'cuda_archs_loose_intersection\((\w+)\s+"([^"]*)"', cmake))
    assert {name: found[name] for name in LISTS} == LISTS
    # Upstream's lists for CUDA 12 name 10.3a; this one must let it through.
    assert ";10.1;10.3;12.0" in cmake
    assert '"10.0a;10.1a;10.3a" "${CUDA_ARCHS}"' in cmake
    compile((source / "setup.py").read_text("utf-8"), "setup.py", "exec")
    # The five projects and their pins are those of the recipe: where one changes, the recipe must say so.
    (cutlass,) = (tree for tree in plan.trees if tree.name == "cutlass")
    assert f'set(CUTLASS_REVISION "{cutlass.source.tag}")' in cmake
    for tree in plan.trees:
        name = {"vllm-flash-attn": "vllm_flash_attn", "triton": "triton_kernels"}.get(
            tree.name, tree.name.split("-")[0]
        )
        if tree.name.endswith("cutlass"):
            continue
        text = (source / f"cmake/external_projects/{name}.cmake").read_text("utf-8")
        assert tree.source.commit in text or f'"{tree.source.tag}"' in text, tree
