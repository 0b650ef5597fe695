import os

import pytest

from tests.support.deep import deep
from wheelsmith.compile.configured import refuse_second_toolkit
from wheelsmith.errors import ToolkitError


def test_a_second_toolkit_in_a_cmake_cache_is_found(tmp_path):
    cache = tmp_path / "build" / "CMakeCache.txt"
    cache.parent.mkdir()
    good = "CMAKE_CUDA_COMPILER:FILEPATH=/b/cuda/bin/nvcc\nCUDA_CUDART:FILEPATH=/real/lib64/libcudart.so\n"
    cache.write_text(good + "CMAKE_CUDA_HOST_COMPILER:FILEPATH=/usr/bin/g++\nCUDA_TOOLKIT_ROOT_DIR:PATH=/b/cuda\n")
    refuse_second_toolkit(tmp_path, ("/b/cuda", "/real"))
    cache.write_text(good + "CUDA_TOOLKIT_ROOT_DIR:PATH=/b/cuda-12.8\n")
    with pytest.raises(ToolkitError, match=r"CMake's CUDA_TOOLKIT_ROOT_DIR is /b/cuda-12\.8"):
        refuse_second_toolkit(tmp_path, ("/b/cuda", "/real"))


def test_what_no_cmake_wrote_is_not_read_for_ever(tmp_path):
    for number, make in enumerate((os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"))):
        (tmp_path / f"{number}").mkdir()
        make(tmp_path / f"{number}" / "CMakeCache.txt")
    with deep(tmp_path):
        refuse_second_toolkit(tmp_path, ("/cuda",))
