import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.version import Version

from wheelsmith.errors import ToolkitError
from wheelsmith.events import ignore
from wheelsmith.gpu.facts import known_toolkits
from wheelsmith.planning.pins import locked_pins
from wheelsmith.store import Store
from wheelsmith.toolchain.cuda import pick_toolkit, provide_toolkit
from wheelsmith.toolchain.cuda_lock import MATH, main
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
    with pytest.raises(
        ToolkitError, match=r"lacks headers that torch's own include, or the recipe asks for \(cublas_v2\.h"
    ):
        provide(tmp_path, {}, math=True, choice=str(lean))


def test_a_named_toolkit_of_another_version_lists_the_choices(tmp_path):
    old = fake_toolkit(tmp_path / "old", "12.8")
    with pytest.raises(ToolkitError) as caught:
        provide(tmp_path, {}, choice=str(old))
    assert caught.value.cause == f"The CUDA toolkit in {old} is CUDA 12.8, not 13.0."
    assert caught.value.remedy.startswith("Choose: --toolkit wheels (assemble it from NVIDIA's wheels); CUDA_HOME or")


def test_a_toolkit_is_assembled_where_another_version_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("wheelsmith.toolchain.cuda.USUAL_PLACES", ())
    monkeypatch.setenv("PATH", "")
    old = fake_toolkit(tmp_path / "old", "13.1")
    here = {"CUDA_HOME": str(old)}
    assert pick_toolkit("13.0", math=False, choice="auto", environment=here) is None
    with pytest.raises(
        ToolkitError, match=rf"CUDA 12\.8 is not installed \(this machine has 13\.1 in {old} \(CUDA_HOME"
    ):
        pick_toolkit("12.8", math=False, choice="auto", environment=here)


def test_cuda_12_cannot_be_assembled(tmp_path):
    with pytest.raises(ToolkitError) as caught:
        provide(tmp_path, {}, "12.8", choice="wheels")
    assert "from 13.0 on" in caught.value.cause
    assert "--toolkit DIR with CUDA 12.8" in caught.value.remedy
    assert "--cuda 13" not in caught.value.remedy, "which torch and GPUs go with it, only a plan knows"


def test_the_driver_stand_in_has_declared_and_renamed_symbols():
    header = "#define cuMemAlloc cuMemAlloc_v2\nCUresult CUDAAPI cuInit(unsigned int Flags);\n#define CU_X cuda\n"
    assert driver_symbols(header) == ("cuInit", "cuMemAlloc_v2")


LOCKS = sorted(path.name for path in files("wheelsmith.toolchain").joinpath("locks").iterdir())


def test_every_toolkit_from_13_0_on_can_be_assembled():
    whole = [version for version in known_toolkits() if Version(version) >= Version("13.0")]
    assert sorted(f"cuda-{version}{math}.txt" for version in whole for math in ("", "-math")) == LOCKS


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_one_release_by_hash_and_names_no_index(name):
    text = files("wheelsmith.toolchain").joinpath("locks", name).read_text("utf-8")
    pins = dict(locked_pins(text, "3.11"))
    version = name.removeprefix("cuda-").removesuffix(".txt").removesuffix("-math")
    assert pins["cuda-toolkit"].startswith(f"{version}.")
    assert pins["nvidia-cuda-nvcc"].startswith(f"{version}.")
    assert ("nvidia-cublas" in pins) is name.endswith("-math.txt")
    assert text.count("--hash=sha256:") > len(pins)
    assert "://" not in text
    assert "--index" not in text


def registry(folder, wheels):
    """A package index of tiny wheels in a directory."""
    for name, version, requires in wheels:
        project = folder / name.replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(project / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        links = "".join(f'<a href="{file.name}">{file.name}</a>' for file in sorted(project.glob("*.whl")))
        (project / "index.html").write_text(links)
    return folder.as_uri()


@pytest.mark.e2e
def test_the_lock_of_a_new_release_is_one_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    needs = "".join(f"Provides-Extra: {extra}\n" for extra in MATH) + (
        "Requires-Dist: nvidia-cuda-nvcc==13.9.{0}; extra == 'nvcc'\nRequires-Dist: nvidia-cublas; extra == 'cublas'\n"
    )
    url = registry(
        tmp_path / "index",
        [
            *(("cuda_toolkit", f"13.9.{minor}", needs.format(minor)) for minor in (0, 1)),
            *(("nvidia_cuda_nvcc", f"13.9.{minor}", "") for minor in (0, 1)),
            ("cuda_toolkit", "13.10.0", needs.format(7)),
            ("nvidia_cublas", "14.1", ""),
        ],
    )
    own = tmp_path / "facts"
    (own / "locks").mkdir(parents=True)
    assert main(["13.9", "--index-url", url, "--to", str(own / "locks")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cuda-13.9.txt: cuda-toolkit==13.9.1, 2 packages",
        "cuda-13.9-math.txt: cuda-toolkit==13.9.1, 3 packages",
    ]
    assert "://" not in (own / "locks" / "cuda-13.9-math.txt").read_text()
    monkeypatch.setattr("wheelsmith.toolchain.cuda.USUAL_PLACES", ())
    with pytest.raises(ToolkitError, match=r"CUDA 13\.9 is not installed and cannot be assembled"):
        pick_toolkit("13.9", math=False, choice="wheels")
    monkeypatch.setenv("WHEELSMITH_FACTS", str(own))
    assert pick_toolkit("13.9", math=True, choice="wheels") is None  # it can be assembled


def test_a_release_that_is_not_there_or_is_none_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    url = registry(tmp_path / "index", [("cuda_toolkit", "13.9.0", "")])
    assert main(["13.99", "--index-url", url, "--to", str(tmp_path)]) == 32
    assert "Locking CUDA 13.99 failed" in capsys.readouterr().err
    assert main(["13", "--index-url", url, "--to", str(tmp_path)]) == 2
    assert "'13' is not a CUDA release" in capsys.readouterr().err
    assert list(tmp_path.glob("*.txt")) == []
