"""wheelsmith: compile CUDA packages into wheels proved to run natively on your GPUs, and publish them.

This is the API: what the command line calls, and what a program may call. Every function raises a subclass of
`wheelsmith.errors.WheelsmithError` (with `cause`, `remedy` and `exit_code`) for everything that can be expected to go
wrong, and tells what it does through `listener` (see `wheelsmith.events`).

>>> import wheelsmith
>>> wheelsmith.plan("vllm==0.15.1", gpu="RTX 5090,A40").target.archs.torch
'8.6;12.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

    from wheelsmith.api.building import TargetOptions as TargetOptions
    from wheelsmith.api.building import build as build
    from wheelsmith.api.building import fetch as fetch
    from wheelsmith.api.building import plan as plan
    from wheelsmith.api.building import rebuild as rebuild
    from wheelsmith.api.containers import Place as Place
    from wheelsmith.api.containers import build_in_container as build_in_container
    from wheelsmith.api.containers import choose_place as choose_place
    from wheelsmith.api.defaults import DEFAULT_INDEX as DEFAULT_INDEX
    from wheelsmith.api.defaults import PathLike as PathLike
    from wheelsmith.api.drafting import Checked as Checked
    from wheelsmith.api.drafting import Drafted as Drafted
    from wheelsmith.api.drafting import recipe_catalogue as recipe_catalogue
    from wheelsmith.api.drafting import recipe_check as recipe_check
    from wheelsmith.api.drafting import recipe_new as recipe_new
    from wheelsmith.api.drafting import recipe_record as recipe_record
    from wheelsmith.api.drafting import support_matrix as support_matrix
    from wheelsmith.api.farming import FarmResult as FarmResult
    from wheelsmith.api.farming import farm_build as farm_build
    from wheelsmith.api.farming import farm_simulate as farm_simulate
    from wheelsmith.api.images import Rendered as Rendered
    from wheelsmith.api.images import image_build as image_build
    from wheelsmith.api.images import image_parts as image_parts
    from wheelsmith.api.images import image_push as image_push
    from wheelsmith.api.images import image_render as image_render
    from wheelsmith.api.images import image_sizes as image_sizes
    from wheelsmith.api.indexing import index_gc as index_gc
    from wheelsmith.api.indexing import index_list as index_list
    from wheelsmith.api.indexing import index_rebuild as index_rebuild
    from wheelsmith.api.indexing import index_rm as index_rm
    from wheelsmith.api.indexing import index_status as index_status
    from wheelsmith.api.indexing import index_unyank as index_unyank
    from wheelsmith.api.indexing import index_verify as index_verify
    from wheelsmith.api.indexing import index_yank as index_yank
    from wheelsmith.api.indexing import publish as publish
    from wheelsmith.api.indexing import try_install as try_install
    from wheelsmith.api.machine import annotation as annotation
    from wheelsmith.api.machine import build_page as build_page
    from wheelsmith.api.machine import doctor as doctor
    from wheelsmith.api.machine import explain as explain
    from wheelsmith.api.machine import failure_page as failure_page
    from wheelsmith.api.machine import gpus as gpus
    from wheelsmith.api.machine import refuse_other_machine as refuse_other_machine
    from wheelsmith.api.machine import timeline as timeline
    from wheelsmith.api.machine import timeline_trace as timeline_trace
    from wheelsmith.api.machine import toolkits as toolkits
    from wheelsmith.api.machine import torches as torches
    from wheelsmith.api.matrices import BuildOptions as BuildOptions
    from wheelsmith.api.matrices import Matrix as Matrix
    from wheelsmith.api.matrices import build_matrix as build_matrix
    from wheelsmith.api.matrices import matrix as matrix
    from wheelsmith.api.matrices import matrix_jobs as matrix_jobs
    from wheelsmith.api.matrices import matrix_report as matrix_report
    from wheelsmith.api.matrices import matrix_schema as matrix_schema
    from wheelsmith.api.notebook import load_ipython_extension as load_ipython_extension
    from wheelsmith.api.notebook import notebook_progress as notebook_progress
    from wheelsmith.api.recipes import ReadingOptions as ReadingOptions
    from wheelsmith.api.recipes import recipe_bump as recipe_bump
    from wheelsmith.api.recipes import recipe_lock as recipe_lock
    from wheelsmith.api.recipes import recipe_mirror as recipe_mirror
    from wheelsmith.api.recipes import recipe_schema as recipe_schema
    from wheelsmith.api.recipes import recipe_status as recipe_status
    from wheelsmith.api.recipes import recipe_status_page as recipe_status_page
    from wheelsmith.api.recipes import recipes as recipes
    from wheelsmith.api.serving import client_config as client_config
    from wheelsmith.api.serving import index_export as index_export
    from wheelsmith.api.serving import index_links as index_links
    from wheelsmith.api.serving import index_serve as index_serve
    from wheelsmith.api.serving import index_token_create as index_token_create
    from wheelsmith.api.serving import index_token_revoke as index_token_revoke
    from wheelsmith.api.serving import index_tokens as index_tokens
    from wheelsmith.api.wheels import advise as advise
    from wheelsmith.api.wheels import fits as fits
    from wheelsmith.api.wheels import inspect as inspect
    from wheelsmith.api.wheels import verify as verify
    from wheelsmith.api.wheels import wheel_page as wheel_page
    from wheelsmith.attest.verify import WheelVerification as WheelVerification
    from wheelsmith.builder.matrix import CellResult as CellResult
    from wheelsmith.builder.matrix import PlannedCell as PlannedCell
    from wheelsmith.builder.model import BuildResult as BuildResult
    from wheelsmith.builder.rebuild import Rebuilt as Rebuilt
    from wheelsmith.compat.advise import Advice as Advice
    from wheelsmith.compat.judge import Fits as Fits
    from wheelsmith.compat.model import LibraryFit as LibraryFit
    from wheelsmith.compat.model import Machine as Machine
    from wheelsmith.compile.checks import Check as Check
    from wheelsmith.container.engines import Engine as Engine
    from wheelsmith.container.parts import Pin as Pin
    from wheelsmith.container.sizes import ImageSizes as ImageSizes
    from wheelsmith.contract import Alternative as Alternative
    from wheelsmith.contract import Choice as Choice
    from wheelsmith.contract import Lack as Lack
    from wheelsmith.contract import LibraryRule as LibraryRule
    from wheelsmith.contract import Limits as Limits
    from wheelsmith.diagnostics.diagnose import Explanation as Explanation
    from wheelsmith.documents.table import DOCUMENTS as DOCUMENTS
    from wheelsmith.documents.table import document_schema as document_schema
    from wheelsmith.errors import BROKEN_PIPE as BROKEN_PIPE
    from wheelsmith.errors import DIFFERS as DIFFERS
    from wheelsmith.errors import DOES_NOT_FIT as DOES_NOT_FIT
    from wheelsmith.errors import BusyError as BusyError
    from wheelsmith.errors import CompileError as CompileError
    from wheelsmith.errors import ContractError as ContractError
    from wheelsmith.errors import DiskFullError as DiskFullError
    from wheelsmith.errors import EngineError as EngineError
    from wheelsmith.errors import EngineNotFoundError as EngineNotFoundError
    from wheelsmith.errors import EnvironmentBuildError as EnvironmentBuildError
    from wheelsmith.errors import FactsError as FactsError
    from wheelsmith.errors import FarmError as FarmError
    from wheelsmith.errors import HashMismatchError as HashMismatchError
    from wheelsmith.errors import ImageError as ImageError
    from wheelsmith.errors import IndexConflictError as IndexConflictError
    from wheelsmith.errors import InstallError as InstallError
    from wheelsmith.errors import InterruptedBuildError as InterruptedBuildError
    from wheelsmith.errors import InvalidWheelError as InvalidWheelError
    from wheelsmith.errors import IsolationError as IsolationError
    from wheelsmith.errors import NetworkError as NetworkError
    from wheelsmith.errors import NoCompilerError as NoCompilerError
    from wheelsmith.errors import NotPortableError as NotPortableError
    from wheelsmith.errors import OfflineError as OfflineError
    from wheelsmith.errors import PatchError as PatchError
    from wheelsmith.errors import PythonNotFoundError as PythonNotFoundError
    from wheelsmith.errors import RecipeError as RecipeError
    from wheelsmith.errors import SourceError as SourceError
    from wheelsmith.errors import StoreError as StoreError
    from wheelsmith.errors import TargetError as TargetError
    from wheelsmith.errors import ToolkitError as ToolkitError
    from wheelsmith.errors import UnknownGpuError as UnknownGpuError
    from wheelsmith.errors import UnknownPackageError as UnknownPackageError
    from wheelsmith.errors import UnknownVersionError as UnknownVersionError
    from wheelsmith.errors import UsageError as UsageError
    from wheelsmith.errors import VerificationError as VerificationError
    from wheelsmith.errors import WheelsmithError as WheelsmithError
    from wheelsmith.events import CellDone as CellDone
    from wheelsmith.events import CellStarted as CellStarted
    from wheelsmith.events import Compiling as Compiling
    from wheelsmith.events import Event as Event
    from wheelsmith.events import Listener as Listener
    from wheelsmith.events import Note as Note
    from wheelsmith.events import Progress as Progress
    from wheelsmith.events import StageDone as StageDone
    from wheelsmith.events import StageStarted as StageStarted
    from wheelsmith.events import ToolLine as ToolLine
    from wheelsmith.events import UnitAtWork as UnitAtWork
    from wheelsmith.events import UnitDone as UnitDone
    from wheelsmith.events import ignore as ignore
    from wheelsmith.gpu.arch import Arch as Arch
    from wheelsmith.gpu.arch import ArchSet as ArchSet
    from wheelsmith.gpu.drivers import Driver as Driver
    from wheelsmith.gpu.drivers import gpu_driver as gpu_driver
    from wheelsmith.gpu.facts import Gpu as Gpu
    from wheelsmith.index.entry import Entry as Entry
    from wheelsmith.index.manage import Collected as Collected
    from wheelsmith.index.publish import Published as Published
    from wheelsmith.index.record import ProjectRecord as ProjectRecord
    from wheelsmith.index.smoke_test import TryoutResult as TryoutResult
    from wheelsmith.index.verify import IndexVerification as IndexVerification
    from wheelsmith.maintenance.lock import Lock as Lock
    from wheelsmith.maintenance.lock import LockedTree as LockedTree
    from wheelsmith.maintenance.mirror import Mirrored as Mirrored
    from wheelsmith.maintenance.proposal import Change as Change
    from wheelsmith.maintenance.support import SupportMatrix as SupportMatrix
    from wheelsmith.maintenance.update import Bump as Bump
    from wheelsmith.maintenance.update import Bumps as Bumps
    from wheelsmith.planning.model import Plan as Plan
    from wheelsmith.planning.model import Rewrite as Rewrite
    from wheelsmith.planning.model import Target as Target
    from wheelsmith.recipe.loader import LoadedRecipe as LoadedRecipe
    from wheelsmith.recipe.schema import Recipe as Recipe
    from wheelsmith.server.tokens import Token as Token
    from wheelsmith.wheel.report import LibraryReport as LibraryReport
    from wheelsmith.wheel.report import WheelReport as WheelReport

#: Where each name is; it is imported when it is first asked for, so that `import wheelsmith` costs nothing.
_MODULES = {
    "wheelsmith.api.building": "TargetOptions build fetch plan rebuild",
    "wheelsmith.api.containers": "Place build_in_container choose_place",
    "wheelsmith.api.defaults": "DEFAULT_INDEX PathLike",
    "wheelsmith.api.drafting": "Checked Drafted recipe_catalogue recipe_check recipe_new recipe_record support_matrix",
    "wheelsmith.api.farming": "FarmResult farm_build farm_simulate",
    "wheelsmith.api.images": "Rendered image_build image_parts image_push image_render image_sizes",
    "wheelsmith.api.indexing": (
        "index_gc index_list index_rebuild index_rm index_status index_unyank index_verify "
        "index_yank publish try_install"
    ),
    "wheelsmith.api.serving": (
        "client_config index_export index_links index_serve index_token_create index_token_revoke index_tokens"
    ),
    "wheelsmith.api.machine": (
        "annotation build_page doctor explain failure_page gpus refuse_other_machine timeline timeline_trace "
        "toolkits torches"
    ),
    "wheelsmith.api.matrices": "BuildOptions Matrix build_matrix matrix matrix_jobs matrix_report matrix_schema",
    "wheelsmith.api.notebook": "load_ipython_extension notebook_progress",
    "wheelsmith.api.recipes": "ReadingOptions recipe_bump recipe_lock recipe_mirror recipe_schema recipe_status"
    " recipe_status_page recipes",
    "wheelsmith.api.wheels": "advise fits inspect verify wheel_page",
    "wheelsmith.attest.verify": "WheelVerification",
    "wheelsmith.builder.matrix": "CellResult PlannedCell",
    "wheelsmith.builder.model": "BuildResult",
    "wheelsmith.builder.rebuild": "Rebuilt",
    "wheelsmith.compat.advise": "Advice",
    "wheelsmith.compat.judge": "Fits",
    "wheelsmith.compat.model": "LibraryFit Machine",
    "wheelsmith.compile.checks": "Check",
    "wheelsmith.container.engines": "Engine",
    "wheelsmith.container.parts": "Pin",
    "wheelsmith.container.sizes": "ImageSizes",
    "wheelsmith.diagnostics.diagnose": "Explanation",
    "wheelsmith.documents.table": "DOCUMENTS document_schema",
    "wheelsmith.errors": (
        "BROKEN_PIPE BusyError CompileError ContractError DIFFERS DOES_NOT_FIT DiskFullError EngineError "
        "EngineNotFoundError EnvironmentBuildError FactsError FarmError HashMismatchError ImageError "
        "IndexConflictError InstallError InterruptedBuildError InvalidWheelError IsolationError NetworkError "
        "NoCompilerError NotPortableError OfflineError PatchError PythonNotFoundError RecipeError SourceError "
        "StoreError TargetError ToolkitError UnknownGpuError UnknownPackageError UnknownVersionError "
        "UsageError VerificationError WheelsmithError"
    ),
    "wheelsmith.events": (
        "CellDone CellStarted Compiling Event Listener Note Progress StageDone StageStarted ToolLine UnitAtWork "
        "UnitDone ignore"
    ),
    "wheelsmith.gpu.arch": "Arch ArchSet",
    "wheelsmith.gpu.drivers": "Driver gpu_driver",
    "wheelsmith.gpu.facts": "Gpu",
    "wheelsmith.index.entry": "Entry",
    "wheelsmith.index.manage": "Collected",
    "wheelsmith.index.publish": "Published",
    "wheelsmith.index.record": "ProjectRecord",
    "wheelsmith.index.smoke_test": "TryoutResult",
    "wheelsmith.index.verify": "IndexVerification",
    "wheelsmith.maintenance.lock": "Lock LockedTree",
    "wheelsmith.maintenance.mirror": "Mirrored",
    "wheelsmith.maintenance.proposal": "Change",
    "wheelsmith.maintenance.support": "SupportMatrix",
    "wheelsmith.maintenance.update": "Bump Bumps",
    "wheelsmith.contract": "Alternative Choice Lack LibraryRule Limits",
    "wheelsmith.planning.model": "Plan Rewrite Target",
    "wheelsmith.recipe.loader": "LoadedRecipe",
    "wheelsmith.recipe.schema": "Recipe",
    "wheelsmith.server.tokens": "Token",
    "wheelsmith.wheel.report": "LibraryReport WheelReport",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted({*_WHERE, "__version__"})  # noqa: PLE0605 - a list of names all the same

if not TYPE_CHECKING:  # it would give every misspelt name a type

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from wheelsmith.distribution import own_version

            value = own_version()
        elif name in _WHERE:
            value = getattr(import_module(_WHERE[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
