"""A torch extension for real: gigabytes of downloads and about ten minutes of two cores. `make test-torch`."""

import pytest

import wheelsmith

pytestmark = pytest.mark.torch


def test_causal_conv1d_is_built_proved_and_installed(tmp_path):
    result = wheelsmith.build(
        "causal-conv1d==1.6.1", gpu="RTX 5090,A40", store=tmp_path / "store", index=tmp_path / "dist", toolkit="wheels"
    )
    (library,) = result.record["report"]["libraries"]
    assert [item["arch"] for item in library["sass"]] == ["8.6", "12.0"]
    assert "libtorch.so" in library["needed"]
    assert "linux_x86_64" not in result.wheel.name
    again = wheelsmith.build(
        "causal-conv1d==1.6.1", store=tmp_path / "store", index=tmp_path / "dist", toolkit="wheels", offline=True
    )
    assert (again.reused, again.published.sha256) == (True, result.published.sha256)
    tried = wheelsmith.try_install("causal-conv1d==1.6.1+cu130", index=tmp_path / "dist")
    assert tried.imported == ("causal_conv1d",)
