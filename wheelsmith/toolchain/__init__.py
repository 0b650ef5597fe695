"""What compiles: the interpreter, the hash-locked build environment, and the CUDA toolkit."""

from wheelsmith.toolchain.cuda import CudaToolkit, find_toolkits, pick_toolkit, provide_toolkit
from wheelsmith.toolchain.environment import BuildEnvironment, provide_environment
from wheelsmith.toolchain.host import HostCompiler, find_host_compiler
from wheelsmith.toolchain.python import Interpreter, find_interpreter
from wheelsmith.toolchain.uv import Uv

__all__ = [
    "BuildEnvironment",
    "CudaToolkit",
    "HostCompiler",
    "Interpreter",
    "Uv",
    "find_host_compiler",
    "find_interpreter",
    "find_toolkits",
    "pick_toolkit",
    "provide_environment",
    "provide_toolkit",
]
