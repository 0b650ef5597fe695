"""The other end of `wheelsmith.container.building`: what runs in the container.

In: the path of an order, a JSON file with the words of `wheelsmith`, the variables it gets and the authorities that the
caller trusts. Out: its exit code. The order is removed before anything else happens, as it may hold credentials. Fails
with `OSError` where the engine has not mounted it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from wheelsmith.container.settings import bundle
from wheelsmith.errors import UsageError


def main(path: Path) -> None:
    """Carry the order out; ends the program."""
    order = json.loads(path.read_text("utf-8"))
    path.unlink()
    home = Path(tempfile.mkdtemp(prefix="wheelsmith-"))
    variables: dict[str, str] = {"HOME": str(home), **order["variables"]}
    if "NETRC" in variables:  # which git does not know
        (home / ".netrc").symlink_to(variables["NETRC"])
    if order["authorities"]:
        # The caller's and the image's: either may know a company's own.
        own = b""
        with suppress(UsageError):  # the image names some that it does not have
            own = bundle() or b""
        variables["SSL_CERT_FILE"] = str(home / "authorities.pem")
        (home / "authorities.pem").write_bytes(order["authorities"].encode() + own)
    os.environ.update(variables)
    sys.argv[1:] = order["words"]
    runpy.run_module("wheelsmith", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
