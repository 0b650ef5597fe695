"""Every way wheelsmith can fail, each with its own exit code, one sentence of cause and one of remedy.

In: nothing. Out: exception classes that any room may raise; the command line turns one into two lines
on stderr and its `exit_code`. Codes are part of the interface: they never change meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from wheelsmith.documents.machines import ErrorFacts

# Controls but for tab and newline, what turns the direction of text around, and half characters, which no stream takes.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*[mK]")

#: Exit code of `recipes lock` and `recipes bump` where the recipe must change for other reasons than its patches.
DIFFERS = 3
#: Exit code of `fits` where the answer is no.
DOES_NOT_FIT = 54
#: Exit code of a command whose output nobody reads any more: the shell's 128 + SIGPIPE.
BROKEN_PIPE = 141


def harmless(text: str) -> str:
    """A text that strangers may have written, for a terminal: colours are left out, other control sequences are shown
    and do nothing."""
    return _HARMFUL.sub(lambda found: repr(found[0])[1:-1], _COLOUR.sub("", text))


class WheelsmithError(Exception):
    """Base of all expected failures. What a build, a server or a file has put into the texts is made `harmless`.

    Args:
        cause: one sentence: what is wrong, with the value that is wrong in it.
        remedy: one sentence: what to do about it.
        detail: optional further lines (a table, an excerpt of a log), printed between the two.
    """

    exit_code = 1
    #: The whole log of what failed, where there is one.
    log: Path | None = None

    def __init__(self, cause: str, remedy: str, *, detail: str = "") -> None:
        self.cause, self.remedy, self.detail = harmless(_short(cause)), harmless(_short(remedy)), harmless(detail)
        super().__init__(self.cause)

    def to_dict(self) -> ErrorFacts:
        """JSON-ready form."""
        return {
            "code": self.exit_code,
            "name": type(self).__name__,
            "cause": self.cause,
            "remedy": self.remedy,
            "detail": self.detail,
        }


_LONGEST = 1600  # characters of a sentence: a value in it may be a megabyte


def _short(sentence: str) -> str:
    if len(sentence) <= _LONGEST:
        return sentence
    half = _LONGEST // 2
    return f"{sentence[:half]} […] {sentence[-half:]}"


class UsageError(WheelsmithError):
    """The command line or an argument cannot be understood."""

    exit_code = 2


class UnknownPackageError(WheelsmithError):
    """No recipe has this name."""

    exit_code = 10


class UnknownVersionError(WheelsmithError):
    """The recipe does not cover, or does not pin, this version."""

    exit_code = 11


class RecipeError(WheelsmithError):
    """A recipe file has an unknown key, a bad value, or names a file that is not there."""

    exit_code = 12


class UnknownGpuError(WheelsmithError):
    """No GPU has this name, or the text is no compute capability."""

    exit_code = 13


class TargetError(WheelsmithError):
    """The requested target contradicts itself, the recipe, or what the toolkit can compile for."""

    exit_code = 14


class FactsError(WheelsmithError):
    """A table of facts (GPUs, toolkits, drivers, torch) has an unknown key, a bad value or another schema version."""

    exit_code = 15


class NetworkError(WheelsmithError):
    """A host could not be reached, or it answered with an error."""

    exit_code = 20


class HashMismatchError(WheelsmithError):
    """Downloaded, stored or uploaded bytes are not the ones that were pinned or announced."""

    exit_code = 21


class PatchError(WheelsmithError):
    """A patch does not match its target exactly."""

    exit_code = 22


class OfflineError(WheelsmithError):
    """`--offline` was given and something is not in the store."""

    exit_code = 23


class SourceError(WheelsmithError):
    """The source exists but is not usable: no sdist, no such commit, an unsafe archive."""

    exit_code = 24


class NoCompilerError(WheelsmithError):
    """A host compiler, or another tool that the build needs, is not installed."""

    exit_code = 30


class ToolkitError(WheelsmithError):
    """No CUDA toolkit fits the plan."""

    exit_code = 31


class EnvironmentBuildError(WheelsmithError):
    """The build environment cannot be made, or lacks what the project requires."""

    exit_code = 32


class PythonNotFoundError(WheelsmithError):
    """The Python version of the plan is not installed."""

    exit_code = 33


class EngineNotFoundError(WheelsmithError):
    """No container engine works on this machine, or not the one that was asked for."""

    exit_code = 34


class EngineError(WheelsmithError):
    """A container engine failed: it could not build, pull, push, run or describe an image."""

    exit_code = 35


class IsolationError(WheelsmithError):
    """The kernel allows no confinement of a build, and `--require-isolation` asks for it."""

    exit_code = 36


class ImageError(WheelsmithError):
    """The image to build in is not to be had, is of another architecture, or lacks what a build needs."""

    exit_code = 37


class CompileError(WheelsmithError):
    """The build backend failed."""

    exit_code = 40


class ContractError(WheelsmithError):
    """The finished wheel does not hold what its contract promises (GPU code, paths, libraries)."""

    exit_code = 50


class InvalidWheelError(WheelsmithError):
    """A wheel, ELF file or fatbin cannot be read, or contradicts itself."""

    exit_code = 51


class NotPortableError(WheelsmithError):
    """`auditwheel` finds no manylinux policy that the wheel meets."""

    exit_code = 52


class VerificationError(WheelsmithError):
    """A wheel, its RECORD, its SBOM and its provenance do not belong together, or a signature is missing or wrong."""

    exit_code = 53


class IndexConflictError(WheelsmithError):
    """The index already holds other bytes under this file name, or the project takes no more files."""

    exit_code = 60


class InstallError(WheelsmithError):
    """pip could not install the wheel from the index, or it does not import."""

    exit_code = 61


class DiskFullError(WheelsmithError):
    """No space is left, or less than the recipe expects to need."""

    exit_code = 70


class BusyError(WheelsmithError):
    """Another wheelsmith process holds what this one needs."""

    exit_code = 71


class StoreError(WheelsmithError):
    """The store cannot be written, or holds something damaged."""

    exit_code = 72


class FarmError(WheelsmithError):
    """A build farm is not there, speaks another version, or has no worker that fits."""

    exit_code = 73


class InterruptedBuildError(WheelsmithError):
    """Ctrl-C or a termination signal. The exit code is the shell's 128 + SIGINT."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a word that is none of the known ones: the nearest, or all of them."""
    from difflib import get_close_matches

    words = list(known)
    near = get_close_matches(word, words, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else f"Choose one of {', '.join(words)}."
