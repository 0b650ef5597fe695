"""Run the PEP 517 backend at one canonical path, isolated as far as the machine allows, and resume where it stopped."""

from wheelsmith.compile.checks import Check
from wheelsmith.compile.diagnose import Explanation, diagnose
from wheelsmith.compile.preflight import preflight
from wheelsmith.compile.run import Compiled, compile_wheel
from wheelsmith.compile.sandbox import Isolation, isolation_here

__all__ = [
    "Check",
    "Compiled",
    "Explanation",
    "Isolation",
    "compile_wheel",
    "diagnose",
    "isolation_here",
    "preflight",
]
