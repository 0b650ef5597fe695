"""The one grammar for GPUs and archs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.errors import TargetError, UnknownGpuError, WheelsmithError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.facts import all_gpus
from wheelsmith.gpu.machine import Found
from wheelsmith.gpu.names import find_gpu
from wheelsmith.gpu.select import arch_set, parse_targets, select

DEFAULT = ArchSet.parse("9.0")


@pytest.mark.parametrize(
    ("text", "name", "arch"),
    [
        # the guide's own table
        ("A100", "A100", "8.0"),
        ("A40", "A40", "8.6"),
        ("L40", "L40", "8.9"),
        ("L40S", "L40S", "8.9"),
        ("H100", "H100", "9.0"),
        ("RTX 5090", "RTX 5090", "12.0"),
        # as nvidia-smi prints them
        ("NVIDIA A100-SXM4-80GB", "A100", "8.0"),
        ("NVIDIA A100-PCIE-40GB", "A100", "8.0"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100", "8.0"),
        ("NVIDIA H100 80GB HBM3", "H100", "9.0"),
        ("NVIDIA H100 PCIe", "H100", "9.0"),
        ("NVIDIA H100 NVL", "H100", "9.0"),
        ("NVIDIA H200", "H200", "9.0"),
        ("NVIDIA A40-48Q", "A40", "8.6"),
        ("GRID V100D-8Q", "V100", "7.0"),
        ("NVIDIA RTX6000-Ada-48Q", "RTX 6000 Ada", "8.9"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Blackwell", "12.0"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell", "12.0"),
        ("NVIDIA RTX PRO 4000 Blackwell SFF Edition", "RTX PRO 4000 Blackwell SFF", "12.0"),
        ("NVIDIA GeForce RTX 5070 Laptop GPU", "RTX 5070", "12.0"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090", "8.6"),
        ("NVIDIA GeForce GTX 1660 SUPER", "GTX 1660 SUPER", "7.5"),
        ("NVIDIA GeForce GTX 1080 with Max-Q Design", "GTX 1080", "6.1"),
        ("NVIDIA GeForce GTX 1060 6GB", "GTX 1060", "6.1"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "8.9"),
        ("NVIDIA RTX A4000", "RTX A4000", "8.6"),
        ("Quadro RTX 6000", "Quadro RTX 6000", "7.5"),
        ("NVIDIA TITAN X (Pascal)", "Titan X (Pascal)", "6.1"),
        ("NVIDIA GeForce GTX TITAN X", "GTX Titan X", "5.2"),
        ("NVIDIA TITAN RTX", "Titan RTX", "7.5"),
        ("Tesla T4", "T4", "7.5"),
        ("Tesla V100-SXM2-32GB", "V100", "7.0"),
        ("Tesla P100-PCIE-16GB", "P100", "6.0"),
        ("NVIDIA L40S", "L40S", "8.9"),
        ("NVIDIA B300 SXM6 AC", "B300", "10.3"),
        ("NVIDIA GB10", "GB10", "12.1"),
        ("NVIDIA GH200 480GB", "GH200", "9.0"),
        ("Orin (nvgpu)", "Orin", "8.7"),
        ("NVIDIA H100-1-10C", "H100", "9.0"),  # vGPUs on MIG
        ("GRID A100-1-5CME", "A100", "8.0"),
        ("NVIDIA RTX PRO 6000 Blackwell DC-2-48Q", "RTX PRO 6000 Blackwell", "12.0"),
        ("Tesla V100-SXM3-32GB-H", "V100", "7.0"),
        ("NVIDIA H20-3e", "H20", "9.0"),
        ("NVIDIA GB200 NVL72", "GB200", "10.0"),
        ("NVIDIA DGX Spark GB10", "GB10", "12.1"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "Jetson Orin Nano", "8.7"),
        ("NVIDIA Thor", "Thor", "11.0"),
        # as people write them
        ("5090", "RTX 5090", "12.0"),
        ("rtx5090", "RTX 5090", "12.0"),
        ("rtx 5090d", "RTX 5090 D", "12.0"),
        ("RTX 5090 D", "RTX 5090 D", "12.0"),
        ("rtx4070tisuper", "RTX 4070 Ti SUPER", "8.9"),
        ("2080ti", "RTX 2080 Ti", "7.5"),
        ("980", "GTX 980", "5.2"),
        ("A4000", "RTX A4000", "8.6"),
        ("dgxspark", "DGX Spark", "12.1"),
    ],
)
def test_a_gpu_is_known_by_its_name(text, name, arch):
    (found,) = parse_targets(text)
    assert (found.name, str(found.arch), found.gpu.name) == (name, arch, name)


def test_every_name_and_alias_of_the_table_means_its_own_gpu():
    for gpu in all_gpus():
        for name in (gpu.name, *gpu.aliases, f"NVIDIA {gpu.name}", gpu.name.upper()):
            assert find_gpu(name) == gpu


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("RTX 4000", ("Quadro RTX 4000 (7.5)", "RTX 4000 Ada (8.9)", "RTX PRO 4000 Blackwell (12.0)")),
        ("RTX 6000", ("Quadro RTX 6000 (7.5)", "RTX 6000 Ada (8.9)", "RTX PRO 6000 Blackwell (12.0)")),
        ("2000", ("RTX 2000 Ada (8.9)", "RTX PRO 2000 Blackwell (12.0)")),
    ],
)
def test_a_name_that_several_have_names_them_all(text, candidates):
    with pytest.raises(UnknownGpuError, match="may be one of several GPUs") as caught:
        find_gpu(text)
    assert [one for one in candidates if one not in caught.value.remedy] == []


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("RTX 509", "RTX 5090"),
        ("RTX 5090 Ti", "RTX 5090"),  # there is none: it must not become the one without Ti
        ("A4", "A40"),
        ("Titan", "Titan V"),
        ("H1000", "H100"),
        ("Titan X", "Titan X (Pascal)"),
        ("blackwell", "Blackwell"),
    ],
)
def test_a_name_that_nobody_has_is_refused_with_what_was_meant(text, near):
    with pytest.raises(UnknownGpuError, match="No GPU is known by the name") as caught:
        find_gpu(text)
    assert near in caught.value.remedy


def test_names_and_archs_mix_with_either_separator():
    found = parse_targets("RTX 5090, sm_86; 120 ;A100+PTX,12.0a,compute_90")
    assert [str(one.arch) for one in found] == ["12.0", "8.6", "12.0", "8.0", "12.0a", "9.0"]
    assert [one.name for one in found][1] == "compute capability 8.6"
    assert str(arch_set(found)) == "8.0+PTX;8.6;9.0;12.0;12.0a"
    assert [str(one.arch) for one in parse_targets("sm_120 8.6")] == ["12.0", "8.6"]


@pytest.mark.parametrize("text", ["", " ", ",", ";;", "A40+PTX+PTX", "A40+SASS", "8.6+", "8.66", "sm_1", "sm_12b", "é"])
def test_other_lists_are_refused(text):
    with pytest.raises(UnknownGpuError):
        parse_targets(text)


@given(st.text(max_size=20))
def test_any_text_is_a_list_or_refused(text):
    try:
        assert parse_targets(text, here=False)
    except WheelsmithError:
        return


def test_native_is_what_this_machine_has(monkeypatch):
    here = Found(
        (("NVIDIA H100 80GB HBM3", Arch(9, 0)), ("NVIDIA RTX 9990", Arch(98, 0))), Driver.parse("650.10"), "NVML"
    )
    monkeypatch.setattr("wheelsmith.gpu.machine.gpus_here", lambda: here)
    archs, gpus = select("native", None, DEFAULT)
    assert str(archs) == "9.0;98.0"
    assert [(gpu.name, gpu.family) for gpu in gpus] == [("H100", "Hopper"), ("NVIDIA RTX 9990", "an unknown family")]
    assert str(select("A40", "native;8.6", DEFAULT)[0]) == "8.6;9.0;98.0"
    with pytest.raises(UnknownGpuError, match="of this machine"):
        parse_targets("native", here=False)


def test_gpu_and_arch_mean_the_same():
    by_name, _ = select("RTX 5090,A40", None, DEFAULT)
    assert by_name == select(None, "8.6;12.0", DEFAULT)[0] == select(None, "A40;RTX 5090", DEFAULT)[0]
    assert by_name == select("12.0,sm_86", None, DEFAULT)[0]


def test_a_capability_after_gpu_is_checked_against_arch_too():
    with pytest.raises(TargetError, match=r"Compute capability 12\.0 .* cannot run the requested code"):
        select("12.0", "10.0", DEFAULT)
