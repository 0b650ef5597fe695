"""Run the PEP 517 backend at one canonical path, isolated as far as the machine allows, and resume where it stopped."""

from wheelsmith.compile.diagnose import Diagnosis, diagnose
from wheelsmith.compile.preflight import Check, preflight
from wheelsmith.compile.run import Compiled, compile_wheel
from wheelsmith.compile.sandbox import Isolation, isolation_here

__all__ = [
    "Check",
    "Compiled",
    "Diagnosis",
    "Isolation",
    "compile_wheel",
    "diagnose",
    "isolation_here",
    "preflight",
]
