"""Run by the interpreter of a try-out environment, never imported: prints what is true in there as JSON.

In: the folder that holds `packaging`, as the only argument. Out, on stdout: the environment's markers
(PEP 508), its wheel tags, best first, and its installed distributions with their Requires-Dist. It stays
within what every supported Python knows, and fails with a traceback.
"""

import json
import sys

sys.path.append(sys.argv[1])

from importlib import metadata

from packaging.markers import default_environment
from packaging.tags import sys_tags

# Distributions of the environment itself: the folder of `packaging` holds the caller's. Of two the first counts.
own = reversed(list(metadata.distributions(path=sys.path[:-1])))
print(
    json.dumps(
        {
            "markers": default_environment(),
            "tags": [str(tag) for tag in sys_tags()],
            "installed": {
                found.metadata["Name"]: {"version": found.version, "requires": found.requires or []} for found in own
            },
        }
    )
)
