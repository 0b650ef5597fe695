from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wheel_makers import build_library, build_wheel
from wheelsmith.binary.abi import python_abi, torch_abi, torch_symbols
from wheelsmith.compat.torch_abi import TorchExports, exports_of_directory, exports_of_wheel, shipped_exports
from wheelsmith.errors import InvalidWheelError, UsageError

CHECK = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"
MOVED = "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb"
SOURCE = """
namespace c10 { namespace cuda { void c10_cuda_check_implementation(int, char const*, char const*, int, bool) {} } }
int unrelated() { return 1; }
"""


@given(st.frozensets(st.integers(0, 2**32 - 1), max_size=300))
def test_a_table_survives_its_file(hashes):
    table = TorchExports("2.9.1", "here", hashes)
    assert TorchExports.from_bytes(table.to_bytes()) == table


@given(st.binary(max_size=200), st.integers(0, 200))
def test_damaged_tables_raise_only_our_error(noise, position):
    whole = TorchExports("2.9.1", "here", frozenset(range(0, 2**32, 2**25))).to_bytes()
    for data in (noise, whole[:position] + noise + whole[position + len(noise) :], whole[:-1]):
        try:
            assert TorchExports.from_bytes(data).hashes
        except InvalidWheelError:
            continue


@pytest.mark.parametrize("version", ["2.9.0", "2.9.1", "2.9.1+cu128", "2.10.0", "2.11.0"])
def test_tables_come_along_and_know_the_basic_operations(version):
    table = shipped_exports(version)
    assert table.missing(["_ZNK2at10TensorBase8data_ptrIfEEPT_v", "_ZN3c105ErrorC2ENS_14SourceLocationENSt3zzz"]) == (
        "_ZN3c105ErrorC2ENS_14SourceLocationENSt3zzz",
    )
    assert (table.missing([CHECK]) == ()) is (version[:3] == "2.9")  # its third argument's type changed in 2.10


def test_unknown_versions_have_no_table():
    assert shipped_exports("2.3.0") is shipped_exports("../2.9.1") is shipped_exports("") is None


@pytest.mark.e2e
def test_exports_are_read_from_a_wheel_and_from_a_folder(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "torch.cc").write_text(SOURCE)
    command = ["g++", "-shared", "-fPIC", "-o", tmp_path / "lib" / "libc10.so", tmp_path / "torch.cc"]
    subprocess.run(command, check=True)
    shutil.copy(tmp_path / "lib" / "libc10.so", tmp_path / "lib" / "libother.so")
    folder = exports_of_directory(tmp_path, "2.9.1")
    name = tmp_path / "torch-2.9.1-cp312-cp312-linux_x86_64.whl"
    wheel = exports_of_wheel(build_wheel(name, {"torch/lib/libc10.so": (tmp_path / "lib" / "libc10.so").read_bytes()}))
    assert folder.hashes == wheel.hashes
    assert len(wheel.hashes) == 1
    assert wheel.missing([CHECK, MOVED]) == (MOVED,)
    (tmp_path / "empty" / "lib").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no torch libraries"):
        exports_of_directory(tmp_path / "empty", "2.9.1")


@pytest.mark.parametrize(
    ("undefined", "torch", "python"),
    [
        (["malloc", "_ZSt4cout"], "none", "none"),
        (["aoti_torch_get_data_ptr", "PyModule_Create2"], "stable", "stable"),
        ([CHECK, "PyList_GetItem", "_Py_Dealloc"], "unstable", "stable"),
        (["_ZN5torch7LibraryD1Ev", "PyUnicode_AsUTF8AndSize", "_PyObject_GetDictPtr"], "unstable", "unstable"),
        (["_Z16THPVariable_WrapRKN2at10TensorBaseE"], "unstable", "none"),
        (["_ZN8mycode12atE", "_ZN13c10lookalike3fooEv"], "none", "none"),
    ],
)
def test_interfaces_are_told_by_the_symbols(undefined, torch, python):
    assert (torch_abi(undefined), python_abi(undefined)) == (torch, python)


def test_a_signature_with_torchs_types_is_torchs():
    assert torch_symbols(["_Z3fooRKN2at6TensorE", "free"]) == ("_Z3fooRKN2at6TensorE",)


@pytest.mark.e2e
def test_weak_and_own_symbols_are_not_asked_of_others(tmp_path):
    from wheelsmith.binary.elf import read_elf

    source = "extern int gone(void) __attribute__((weak)); extern int must(void); int f(void){return gone?must():0;}"
    facts = read_elf(build_library(tmp_path, source=source, flags=["-nostdlib"]))
    assert facts.undefined == ("must",)
