"""The CUDA toolkit of the tests that call compilers."""

from __future__ import annotations

import pytest

from wheelsmith.events import ignore
from wheelsmith.store import Store
from wheelsmith.toolchain.cuda import CudaToolkit, provide_toolkit
from wheelsmith.toolchain.uv import Uv


@pytest.fixture(scope="session")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> CudaToolkit:
    """CUDA 13.0 as it is installed, else from NVIDIA's wheels, once for all tests."""
    store, uv = Store(tmp_path_factory.mktemp("cuda")), Uv(offline=False, index_url=None, listener=ignore)
    return provide_toolkit("13.0", math=False, choice="auto", store=store, uv=uv)
