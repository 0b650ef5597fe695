"""What compiles: the interpreter, the hash-locked build environment, and the CUDA toolkit."""

from wheelsmith.toolchain.cache import CacheUse, CompileCache, cache_use, check_setting, open_cache
from wheelsmith.toolchain.cuda import CudaToolkit, find_toolkits, pick_toolkit, provide_toolkit
from wheelsmith.toolchain.environment import BuildEnvironment, provide_environment
from wheelsmith.toolchain.host import HostCompiler, find_host_compiler
from wheelsmith.toolchain.python import Interpreter, find_interpreter
from wheelsmith.toolchain.uv import Uv

__all__ = [
    "BuildEnvironment",
    "CacheUse",
    "CompileCache",
    "CudaToolkit",
    "HostCompiler",
    "Interpreter",
    "Uv",
    "cache_use",
    "check_setting",
    "find_host_compiler",
    "find_interpreter",
    "find_toolkits",
    "open_cache",
    "pick_toolkit",
    "provide_environment",
    "provide_toolkit",
]
