import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest
from packaging.specifiers import SpecifierSet

from wheelsmith.binary.abi import torch_abi, torch_symbols
from wheelsmith.compat.torch_abi import TorchExports, _hash, shipped_versions
from wheelsmith.compat.torch_range import torch_range

OLD, NEW, CXX = "aoti_torch_get_data_ptr", "torch_new_stable_ivalue", "_ZN3c105ErrorC2ENS_14SourceLocationE"


@dataclasses.dataclass
class Library:
    undefined: list[str]
    offered: tuple[str, ...] = ()
    path: str = "p/_C.abi3.so"

    @property
    def torch_abi(self):
        return torch_abi(self.undefined)

    @property
    def torch_symbols(self):
        return torch_symbols(self.undefined)

    @property
    def facts(self):
        return self


def known(**without):
    versions = ("2.10.0", "2.11.0", "2.12.0", "2.12.2", "2.13.0", "2.14.1")
    lacking = {name.replace("_", ".").removeprefix("v"): symbols for name, symbols in without.items()}
    return {
        v: TorchExports(v, "here", frozenset(_hash(s) for s in (OLD, NEW, CXX) if s not in lacking.get(v, ())))
        for v in versions
    }


def ranged(libraries, built="2.11.0", wanted=">=2.10", **without):
    return torch_range(cast("Any", SimpleNamespace(libraries=libraries)), built, wanted, known(**without))


def test_a_stable_library_requires_what_was_proved_and_nothing_beside_it():
    found = ranged([Library([OLD, "malloc"])])
    # 2.10.0 is built with CUDA 12.
    assert found.proved == ("2.11.0", "2.12.0", "2.12.2", "2.13.0", "2.14.1")
    assert found.requires == ">=2.11.0,<=2.14.1,!=2.11.1,!=2.12.1,!=2.12.3,!=2.13.1,!=2.14.0"
    admitted = [v for v in ("2.10.0", *shipped_versions(), "2.12.2", "2.14.2") if v in SpecifierSet(found.requires)]
    assert "2.12.1" not in admitted
    assert "2.14.1+cu130" in SpecifierSet(found.requires)


def test_a_version_that_lacks_a_symbol_ends_the_range_on_its_side():
    found = ranged([Library([OLD, NEW])], built="2.13.0", v2_11_0=(NEW,), v2_12_0=(NEW,), v2_12_2=(NEW,))
    assert (found.requires, found.proved) == (">=2.13.0,<=2.14.1,!=2.13.1,!=2.14.0", ("2.13.0", "2.14.1"))
    assert f"torch 2.12.2 lacks {NEW}" in found.why
    # What a neighbour in the wheel defines is not asked of torch.
    assert ranged([Library([OLD, NEW]), Library([], (NEW,))], v2_12_0=(NEW,)).proved[-1] == "2.14.1"


@pytest.mark.parametrize("libraries", [[Library([OLD, CXX])], [Library([OLD]), Library([CXX], path="p/_moe.so")]])
def test_one_library_that_uses_more_ties_the_wheel_to_one_torch(libraries):
    found = ranged(libraries, built="2.11.0+cu130")
    assert (found.requires, found.proved) == ("==2.11.0+cu130", ("2.11.0",))
    assert libraries[-1].path in found.why


def test_only_what_is_wanted_and_known_is_compared():
    assert ranged([Library([OLD])], wanted=">=2.11,<2.13").proved == ("2.11.0", "2.12.0", "2.12.2")
    gap = {name: table for name, table in known().items() if name[:4] != "2.12"}
    assert (
        torch_range(cast("Any", SimpleNamespace(libraries=[Library([OLD])])), "2.11.0", "", gap).requires == "==2.11.0"
    )
    assert ranged([Library([OLD])], built="2.99.0").requires == "==2.99.0"
    assert ranged([Library([OLD])], v2_12_0=(OLD,)).requires == "==2.11.0"
