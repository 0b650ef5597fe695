from pathlib import Path

import pytest

from wheelsmith.errors import ToolkitError
from wheelsmith.events import ignore
from wheelsmith.store import Store
from wheelsmith.toolchain.cuda import provide_toolkit
from wheelsmith.toolchain.cuda_wheels import driver_symbols
from wheelsmith.toolchain.uv import Uv


def fake_toolkit(root: Path, version: str, *, math: bool = True) -> Path:
    """A folder whose nvcc answers as the real one does."""
    (root / "bin").mkdir(parents=True)
    (root / "include").mkdir()
    (root / "include" / "cuda_runtime.h").touch()
    nvcc = root / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {version}, V{version}.88'\n")
    nvcc.chmod(0o755)
    if math:
        for header in ("cublas_v2.h", "cusparse.h", "cusolverDn.h"):
            (root / "include" / header).touch()
    return root


def provide(tmp_path, environment, version="13.0", *, math=False, choice="auto"):
    return provide_toolkit(
        version,
        math=math,
        choice=choice,
        store=Store(tmp_path / "store"),
        uv=Uv(offline=True, index_url=None, listener=ignore),
        environment=environment,
    )


def test_the_first_toolkit_that_fits_is_taken(tmp_path):
    old = fake_toolkit(tmp_path / "old", "12.8")
    new = fake_toolkit(tmp_path / "new", "13.0")
    found = provide(tmp_path, {"CUDA_HOME": str(old), "CUDA_PATH": str(new)})
    assert (found.root, found.release, found.origin) == (new, "13.0.88", "CUDA_PATH")


def test_a_toolkit_without_the_math_headers_does_not_fit_torch(tmp_path):
    lean = fake_toolkit(tmp_path / "lean", "13.0", math=False)
    full = fake_toolkit(tmp_path / "full", "13.0")
    found = provide(tmp_path, {"CUDA_HOME": str(lean), "CUDA_PATH": str(full)}, math=True)
    assert found.root == full
    with pytest.raises(ToolkitError, match=r"lacks headers that torch needs \(cublas_v2\.h"):
        provide(tmp_path, {}, math=True, choice=str(lean))


def test_a_named_toolkit_of_another_version_lists_the_choices(tmp_path):
    old = fake_toolkit(tmp_path / "old", "12.8")
    with pytest.raises(ToolkitError) as caught:
        provide(tmp_path, {}, choice=str(old))
    assert caught.value.cause == f"The CUDA toolkit in {old} is CUDA 12.8, not 13.0."
    assert caught.value.remedy == (
        "Choose: --cuda 12.8 (installed); --toolkit wheels (assemble it from NVIDIA's wheels);"
        " --toolkit DIR or CUDA_HOME with CUDA 13.0; a container: nvidia/cuda:13.0.1-devel-ubuntu24.04."
    )


def test_installed_toolkits_of_other_versions_only_are_an_error_that_lists_them(tmp_path, monkeypatch):
    monkeypatch.setattr("wheelsmith.toolchain.cuda.USUAL_PLACES", ())
    old = fake_toolkit(tmp_path / "old", "12.8")
    with pytest.raises(ToolkitError, match=rf"needs CUDA 13\.0; this machine has 12\.8 in {old} \(CUDA_HOME\)"):
        provide(tmp_path, {"CUDA_HOME": str(old)})


def test_cuda_12_cannot_be_assembled(tmp_path):
    with pytest.raises(ToolkitError) as caught:
        provide(tmp_path, {}, "12.8", choice="wheels")
    assert "from 13.0 on" in caught.value.cause
    assert "--cuda 13.0 or 13.1" in caught.value.remedy


def test_the_driver_stand_in_has_declared_and_renamed_symbols():
    header = "#define cuMemAlloc cuMemAlloc_v2\nCUresult CUDAAPI cuInit(unsigned int Flags);\n#define CU_X cuda\n"
    assert driver_symbols(header) == ("cuInit", "cuMemAlloc_v2")
