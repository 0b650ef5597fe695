"""Plans recipes, one after the other, and tells what came of each. A program: `python -m tests.hostile.runner LIST`.

In: a JSON list of (label, directory, name). Out: a line of JSON for each: label, what came, seconds of CPU time. It
ends itself when one takes too long, or all together more memory than they may have.
"""

from __future__ import annotations

import faulthandler
import json
import math
import resource
import sys
import time
from pathlib import Path

import wheelsmith
from wheelsmith.errors import WheelsmithError

MEMORY, SECONDS = 3 << 30, 300  # of wall time, on a machine that others use


def outcome(directory: str, name: str) -> str:
    """What came of planning the recipe."""
    try:
        made = wheelsmith.plan(name, recipes=[directory])
    except WheelsmithError as error:
        text = f"{error.cause}\n{error.remedy}"
        if not error.cause or not error.remedy:
            return "an error without cause or remedy"
        if len(error.cause) > 2000:
            return f"a cause of {len(error.cause):,} characters"
        if "\x1b" in text or "\0" in text or "\u202e" in text:
            return "an error with control characters"
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    expect = made.expect
    if not all(0 <= value < math.inf for value in (expect.memory_gb, expect.disk_gb, expect.cpu_minutes)):
        return f"a plan that expects {expect}"
    json.dumps(made.to_dict(), allow_nan=False)
    return "planned"


def main() -> None:
    """Run."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for label, directory, name in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        started = time.process_time()
        print(json.dumps([label, outcome(directory, name), round(time.process_time() - started, 2)]), flush=True)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
