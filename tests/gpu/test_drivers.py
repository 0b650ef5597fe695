import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.errors import TargetError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver, DriverRange, gpu_driver, ptx_cuda, ptx_driver
from wheelsmith.gpu.facts import known_toolkits, minimum_driver, toolkit_facts, torch_cuda
from wheelsmith.gpu.machine import Found, gpus_here, read_smi
from wheelsmith.gpu.select import parse_driver


@pytest.mark.parametrize(
    ("text", "toolkit", "ptx"),
    [
        ("570.124.06", "12.8", (8, 7)),
        ("570.x", "12.8", (8, 7)),
        ("R570", "12.8", (8, 7)),
        ("570", "12.8", (8, 7)),
        ("570.20", "12.6", (8, 5)),
        ("575.57.08", "12.9", (8, 8)),
        ("580.65.06", "13.0", (9, 0)),
        ("610.10", "13.2", (9, 2)),
        ("620.70.06", "13.5", (9, 5)),
        ("535.183.06", "12.2", (8, 2)),
        ("450.80.02", "11.0", (7, 0)),
        ("440.33.01", None, (0, 0)),
    ],
)
def test_what_a_driver_compiles(text, toolkit, ptx):
    driver = Driver.parse(text)
    assert (driver.toolkit, driver.ptx) == (toolkit, ptx)


def test_a_driver_that_says_what_it_supports_is_believed():
    assert Driver.parse("610.10", (13, 4)).ptx == (9, 4)
    assert Driver.parse("610.10", (13, 4)).toolkit == "13.4"


@pytest.mark.parametrize("text", ["", "12.8", "570.", "latest", "570.1.2.3", "57O"])
def test_other_text_is_no_driver(text):
    with pytest.raises(TargetError, match="not a driver version"):
        Driver.parse(text)


@given(st.text(max_size=12))
def test_any_text_is_a_driver_or_refused(text):
    try:
        assert Driver.parse(text).ptx >= (0, 0)
    except TargetError:
        return


def test_where_ptx_and_gpus_begin():
    assert ptx_driver("8.8") == ("575.51.03", "12.9")
    assert ptx_driver("7.8") == ("520.61.05", "11.8")
    assert ptx_driver("99.9") is None
    assert (ptx_cuda("6.5"), ptx_cuda("8.6"), ptx_cuda("9.5"), ptx_cuda("99.9")) == ("10.2", "12.7", "13.5", None)


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        (Arch(12, 0), DriverRange("570.26")),
        (Arch(9, 0), DriverRange("520.61.05")),
        (Arch(7, 5), DriverRange()),
        (Arch(7, 0), DriverRange(None, 580)),
        (Arch(5, 2), DriverRange(None, 580)),
        (Arch(3, 7), DriverRange(None, 470)),
        (Arch(99, 9), DriverRange()),  # nothing is known, nothing is claimed
    ],
)
def test_the_drivers_that_know_a_gpu(arch, expected):
    assert gpu_driver(arch) == expected


def test_volta_ends_with_r580_and_kepler_with_r470():
    assert gpu_driver(Arch(7, 0)).admits(Driver.parse("580.95.05"))
    assert not gpu_driver(Arch(7, 0)).admits(Driver.parse("590.44.01"))
    assert not gpu_driver(Arch(3, 5)).admits(Driver.parse("495.29.05"))
    assert not gpu_driver(Arch(12, 0)).admits(Driver.parse("565.57.01"))
    assert gpu_driver(Arch(12, 0)).admits(Driver.parse("570.x"))


def test_a_driver_beyond_the_table_is_unknown_never_no():
    newer = Driver.parse("999.10")
    assert (newer.is_beyond, newer.compiles("9.5"), newer.compiles("99.9")) == (True, True, None)
    assert Driver.parse("999.10", (99, 7)).compiles("99.9") is None
    newest = Driver.parse(f"{max(int(toolkit_facts(v).driver.split('.')[0]) for v in known_toolkits())}.x")
    assert (newest.is_beyond, newest.compiles("9.5"), newest.compiles("99.9")) == (False, True, False)
    assert Driver.parse("580.95.05", (13, 0)).compiles("9.1") is False


@pytest.mark.parametrize(
    ("cuda", "floor"), [("11.8", "450.80.02"), ("12.0", "525.60.13"), ("13.5", "580.65.06"), ("10.2", None)]
)
def test_minor_version_compatibility(cuda, floor):
    assert minimum_driver(cuda) == floor


def test_a_torch_says_its_cuda_itself_if_it_has_a_local_version():
    assert [torch_cuda(v) for v in ("2.11.0", "2.11.0+cu128", "2.6.0+cu118", "2.11.0+cpu", "9.9")] == [
        "13.0",
        "12.8",
        "11.8",
        None,
        None,
    ]


def test_the_driver_of_this_machine_can_be_meant(monkeypatch):
    here = Found((("NVIDIA A40", Arch(8, 6)),), Driver.parse("575.57.08"), "NVML")
    monkeypatch.setattr("wheelsmith.gpu.machine.gpus_here", lambda: here)
    assert parse_driver(" Native ").text == "575.57.08"
    assert parse_driver("570.x").branch == 570


def test_nvidia_smi_is_read():
    text = "NVIDIA H100 80GB HBM3, 9.0, 580.95.05\nNVIDIA H100 80GB HBM3, 9.0, 580.95.05\nNVIDIA A40, 8.6, 580.95.05\n"
    found = read_smi(text)
    assert found.gpus == (("NVIDIA H100 80GB HBM3", Arch(9, 0)), ("NVIDIA A40", Arch(8, 6)))
    assert found.driver.text == "580.95.05"
    assert read_smi("NVIDIA-SMI has failed because it could not communicate with the driver\n") is None


def test_a_machine_without_a_driver_is_an_error_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("wheelsmith.gpu.machine._from_nvml", lambda: None)
    with pytest.raises(TargetError) as caught:
        gpus_here()
    assert "--gpu" in caught.value.remedy
