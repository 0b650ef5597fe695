"""A build done again from its provenance, and the result held against the wheel.

In: a wheel and its provenance. Out: `Rebuilt`: identical, or which member and which ELF section differs, and which
tools of this machine are others than then. Fails as verifying and building do. The recipe is not looked at: the
provenance holds the whole plan. It also says what is run: repeat only what you trust, or give the signer's key.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wheelsmith.attest.verify import verify_wheel
from wheelsmith.builder.build import make_wheel, prepare
from wheelsmith.builder.model import Settings
from wheelsmith.fsutil import remove_tree, sha256_of
from wheelsmith.planning.planfile import read_plan
from wheelsmith.store import Store
from wheelsmith.wheel.compare import Difference, compare
from wheelsmith.wheel.rewrite import repack_as_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wheelsmith.documents.builds import RebuildDocument
    from wheelsmith.events import Listener

SCHEMA_VERSION = 1
_PLACES = ("cuda_origin", "packages_served_by")  # where tools came from: another place may serve the same tool


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a repeated build came to.

    Attributes:
        wheel: the wheel that was to be repeated.
        sha256: its digest.
        again: the new wheel; it is kept only if it differs.
        sha256_again: the new wheel's digest.
        differences: by member; empty if the bytes are identical.
        packing: how the bytes came out that are compared: `blocks`, or `one stream`, as older versions deflated
            members; that is tried where every member is the same and the archive is not.
        tools: name, version then and version now, of each tool that is another one now.
        seconds: how long the backend ran.
    """

    wheel: Path
    sha256: str
    again: Path | None
    sha256_again: str
    differences: tuple[Difference, ...]
    tools: tuple[tuple[str, str, str], ...]
    seconds: float
    packing: Literal["blocks", "one stream"] = "blocks"

    @property
    def identical(self) -> bool:
        """Whether the same bytes came out."""
        return self.sha256 == self.sha256_again

    def to_dict(self) -> RebuildDocument:
        """JSON-ready form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "wheel": str(self.wheel),
            "identical": self.identical,
            "sha256": self.sha256,
            "again": str(self.again) if self.again else None,
            "sha256_again": self.sha256_again,
            "differences": [difference.to_dict() for difference in self.differences],
            "tools": [{"name": name, "then": then, "now": now} for name, then, now in self.tools],
            "seconds": round(self.seconds, 3),
            "packing": self.packing,
        }


def run_rebuild(
    wheel: Path, store: Store, settings: Settings, listener: Listener, *, provenance: Path | None, key: Path | None
) -> Rebuilt:
    """Verify the wheel, build its plan again from nothing, and compare. Nothing is published."""
    verified, origin = verify_wheel(wheel, provenance=provenance, key=key)
    plan = read_plan(origin.plan, origin.plan_digest, origin.lock)
    if plan.target.environment == "isolated":
        # A plan without a lock was resolved when it was built: what was installed then is installed again.
        plan = dataclasses.replace(plan, lock=origin.lock)
    tools = prepare(plan, store, settings, listener)
    name = f"{tools.key}.again"  # a work directory of its own: nothing that was compiled before is taken over
    with store.lock(f"build-{name}"):
        made = make_wheel(plan, name, tools, store, settings, listener)
        differences, digest, again = compare(wheel, made.wheel), sha256_of(made.wheel), None
        packing: Literal["blocks", "one stream"] = "blocks"
        if [difference.kind for difference in differences] == ["archive"]:
            before = repack_as_before(made.wheel, made.wheel.with_suffix(".before"))
            if sha256_of(before) == verified.sha256:
                differences, digest, packing = (), verified.sha256, "one stream"
        if digest != verified.sha256:
            again = store.place("rebuilt", made.wheel.name)
            shutil.move(made.wheel, again)
        remove_tree(store.place("work", name))
    return Rebuilt(
        wheel=wheel,
        sha256=verified.sha256,
        again=again,
        sha256_again=digest,
        differences=differences,
        tools=tuple(_changed(origin.toolchain, made.record["toolchain"])),
        seconds=made.record["compile"]["seconds"],
        packing=packing,
    )


def _changed(then: Mapping[str, object], now: Mapping[str, object]) -> list[tuple[str, str, str]]:
    flat = [_flat(then), _flat(now)]
    names = sorted(flat[0].keys() | flat[1].keys())
    pairs = [(name, flat[0].get(name, "none"), flat[1].get(name, "none")) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2] and pair[0] not in _PLACES]


def _flat(toolchain: Mapping[str, object]) -> dict[str, str]:
    packages = toolchain.get("packages")
    tools = {name: str(value) for name, value in toolchain.items() if name != "packages"}
    return tools | ({name: str(value) for name, value in packages.items()} if isinstance(packages, dict) else {})
