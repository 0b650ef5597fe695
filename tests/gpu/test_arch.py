import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.errors import TargetError, UnknownGpuError
from wheelsmith.gpu.arch import Arch, ArchSet, ptx_runs_on, sass_runs_on
from wheelsmith.gpu.facts import toolkit_facts
from wheelsmith.gpu.select import select


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.6", Arch(8, 6)),
        ("86", Arch(8, 6)),
        ("sm_120", Arch(12, 0)),
        ("compute_120f", Arch(12, 0, "f")),
        ("12.0a", Arch(12, 0, "a")),
        ("SM_90A", Arch(9, 0, "a")),
    ],
)
def test_spellings_of_a_compute_capability(text, expected):
    assert Arch.parse(text) == expected


@pytest.mark.parametrize("text", ["", "8", "8.6b", "blackwell", "8.6+PTX", "1234", "8.66"])
def test_other_text_is_refused(text):
    with pytest.raises(UnknownGpuError, match="not a compute capability"):
        Arch.parse(text)


@given(st.text(max_size=12))
def test_any_text_is_parsed_or_refused(text):
    try:
        arch = Arch.parse(text)
    except UnknownGpuError:
        return
    assert Arch.parse(arch.sm) == arch == Arch.parse(str(arch))


def test_two_spellings_of_one_wish_are_one_set_with_three_spellings_for_tools():
    archs = ArchSet.parse("12.0+PTX, sm_86;8.6")
    assert archs == ArchSet.parse("8.6;12.0+PTX")
    assert archs.torch == "8.6;12.0+PTX"
    assert archs.cmake == "86-real;120"
    assert archs.gencode == (
        "-gencode=arch=compute_86,code=sm_86 -gencode=arch=compute_120,code=sm_120"
        " -gencode=arch=compute_120,code=compute_120"
    )


# NVIDIA CUDA Programming Guide: binary compatibility within a major version upwards; `a` exactly; `f` in its family.
@pytest.mark.parametrize(
    ("code", "gpu", "runs"),
    [
        ("8.0", "8.6", True),
        ("8.6", "8.0", False),
        ("8.6", "9.0", False),
        ("10.0", "12.0", False),
        ("12.0", "12.1", True),
        ("12.0a", "12.1", False),
        ("12.0a", "12.0", True),
        ("10.0f", "10.3", True),
        ("10.3f", "10.0", False),
        ("9.0a", "10.0", False),
        ("8.0", "8.7", False),  # Orin is integrated
        ("8.7", "8.9", False),
        ("8.7", "8.7", True),
        ("10.0f", "10.1", False),
    ],
)
def test_where_machine_code_runs(code, gpu, runs):
    assert sass_runs_on(Arch.parse(code), Arch.parse(gpu)) is runs


@pytest.mark.parametrize(
    ("code", "gpu", "runs"),
    [("8.0", "12.0", True), ("9.0", "8.6", False), ("9.0a", "10.0", False), ("12.0f", "12.1", True)],
)
def test_where_ptx_can_be_compiled(code, gpu, runs):
    assert ptx_runs_on(Arch.parse(code), Arch.parse(gpu)) is runs


DEFAULT = ArchSet.parse("9.0")


def test_sm_100_for_an_rtx_5090_is_explained():
    with pytest.raises(TargetError) as caught:
        select("RTX 5090", "sm_100", DEFAULT)
    assert caught.value.cause == (
        "RTX 5090 has compute capability 12.0 (workstation and consumer Blackwell) and cannot run the requested code:"
        " sm_100 is for data-centre Blackwell (B200, GB200, B100)."
    )
    assert "--arch 12.0" in caught.value.remedy


def test_an_older_minor_of_the_same_major_serves_a_gpu():
    archs, gpus = select("A40", "8.0", DEFAULT)
    assert str(archs) == "8.0"
    assert gpus[0].name == "A40"


def test_the_first_toolkit_for_sm_120_is_12_8():
    assert Arch(12, 0) not in toolkit_facts("12.6").archs
    assert Arch(12, 0) in toolkit_facts("12.8").archs
    assert Arch(7, 0) in toolkit_facts("12.9").archs
    assert Arch(7, 0) not in toolkit_facts("13.0").archs
    assert Arch(3, 7) in toolkit_facts("11.8").archs
    assert Arch(3, 7) not in toolkit_facts("12.0").archs
    assert Arch(10, 1) not in toolkit_facts("13.0").archs


@pytest.mark.parametrize(
    ("cuda", "archs"),
    [  # as `ptxas --help` (11.8, 12.9) and `nvcc --list-gpu-arch` (13.5) of these releases list them
        ("11.8", "35 37 50 52 53 60 61 62 70 72 75 80 86 87 89 90"),
        ("12.9", "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 103 120 121"),
        ("13.3", "75 80 86 87 88 89 90 100 103 110 120 121"),
        ("13.5", "75 80 86 87 88 89 90 100 103 107 110 120 121"),
    ],
)
def test_what_each_nvcc_compiles_for(cuda, archs):
    assert " ".join(str(arch.number) for arch in toolkit_facts(cuda).archs) == archs
