import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.errors import TargetError
from wheelsmith.gpu.arch import Arch
from wheelsmith.gpu.drivers import Driver, gpu_driver, ptx_cuda, ptx_driver, published_rules
from wheelsmith.gpu.machine import gpus_here, read_smi


@pytest.mark.parametrize(
    ("text", "toolkit", "ptx"),
    [
        ("570.124.06", "12.8", (8, 7)),
        ("570.x", "12.8", (8, 7)),
        ("570", "12.8", (8, 7)),
        ("570.20", "12.6", (8, 5)),
        ("575.57.08", "12.9", (8, 8)),
        ("580.65.06", "13.0", (9, 0)),
        ("610.10", "13.1", (9, 1)),
        ("535.183.06", None, (0, 0)),
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
    assert ptx_driver("9.5") is None
    assert ptx_cuda("9.5") == "13.5"
    assert gpu_driver(Arch(12, 0)) == "570.26"
    assert gpu_driver(Arch(9, 0)) is None


def test_the_rules_of_thumb_are_data():
    assert {rule["then"] for rule in published_rules()} == {
        "the published wheel is fine",
        "build from source for 12.0",
    }


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
