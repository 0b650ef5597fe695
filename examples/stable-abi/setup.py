from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

# The oldest torch whose interface is used, 2.11: without it the headers take that of the torch that they belong to.
TARGET = ["-O2", "-DTORCH_TARGET_VERSION=0x020b000000000000ULL", "-DUSE_CUDA"]

setup(
    ext_modules=[
        CUDAExtension(
            "softcap._C",
            ["csrc/softcap.cu"],
            extra_compile_args={"cxx": TARGET, "nvcc": TARGET},
            py_limited_api=True,  # it has no Python in it: one wheel for all
        )
    ],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
