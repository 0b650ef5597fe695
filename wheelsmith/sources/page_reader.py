"""Reads one page of a package index, as a program of its own: `python -I page_reader.py`.

In: on stdin a line of JSON (`project`, `url`, `headers`, `cpu_seconds`, `memory` in bytes), then the page. Out: JSON on
stdout: `files`, or `problem`, what is wrong with the page. Whoever wrote it decides how long parsing takes (100 kB of
anchors that are never closed cost minutes), so this process has limits, and the kernel ends it when it passes them.
"""

from __future__ import annotations

import json
import resource
import sys


def main() -> None:
    """Run."""
    head = json.loads(sys.stdin.buffer.readline())
    seconds, memory = head["cpu_seconds"], head["memory"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    import requests
    from pypi_simple import ProjectPage, UnsupportedRepoVersionError

    response = requests.Response()
    response.url = head["url"]
    response.headers.update(head["headers"])
    response._content = sys.stdin.buffer.read()  # what requests itself sets
    try:
        page = ProjectPage.from_response(response, head["project"])
    except RecursionError:
        answer: dict[str, object] = {"problem": "it is nested too deeply"}
    except MemoryError:
        answer = {"problem": "reading it takes too much memory"}
    except (ValueError, UnsupportedRepoVersionError) as error:  # another content type, or JSON of another shape
        answer = {"problem": str(error)[:1000]}
    else:
        answer = {
            "files": [
                {
                    "filename": file.filename,
                    "url": file.url,
                    "kind": file.package_type,
                    "version": file.version,
                    "sha256": file.digests.get("sha256"),
                    "requires_python": file.requires_python,
                    "yanked": bool(file.is_yanked),
                }
                for file in page.packages
                if file.package_type in ("sdist", "wheel")
            ]
        }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
