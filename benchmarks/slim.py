"""How much smaller a wheel gets by the recipe settings `strip` and `compress`, with its contract still kept.

    python -m benchmarks.slim [REQUIREMENT] [--recipes DIR] [--toolkit wheels]

The package is built once for each setting, from a copy of its recipe with that setting put in. A build only ends well
when its contract holds, so every size printed is that of a wheel that runs on all requested archs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from pathlib import Path

import wheelsmith

VARIANTS: dict[str, tuple[str, ...]] = {
    "as the project does": (),
    "strip": ("strip = true",),
    "compress = none": ('compress = "none"',),
    "compress = speed": ('compress = "speed"',),
    "compress = balance": ('compress = "balance"',),
    "compress = size": ('compress = "size"',),
    "strip, compress = size": ("strip = true", 'compress = "size"'),
}


def variant_of(recipe: Path, settings: tuple[str, ...], directory: Path) -> Path:
    """A recipe directory in `directory`: the recipe, its locks and patches, the settings in place of its own."""
    directory.mkdir()
    for companion in ("locks", "patches"):
        if (recipe.parent / companion).is_dir():
            shutil.copytree(recipe.parent / companion, directory / companion)
    text = recipe.read_text("utf-8")
    for setting in settings:
        table = "[wheel]" if setting.startswith("strip") else "[build]"
        if f"\n{table}\n" not in text:
            raise SystemExit(f"{recipe} has no table {table}: put an empty one in.")
        text = re.sub(rf"^{setting.partition(' ')[0]} = .*\n", "", text, flags=re.MULTILINE)
        text = text.replace(f"\n{table}\n", f"\n{table}\n{setting}\n", 1)
    (directory / recipe.name).write_text(text, "utf-8")
    return directory


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirement", nargs="?", default="cuvec==6.0.1")
    parser.add_argument("--recipes", action="append", default=[])
    parser.add_argument("--toolkit", default="wheels")
    options = parser.parse_args()
    recipe = Path(wheelsmith.plan(options.requirement, recipes=options.recipes).recipe)

    print(f"{options.requirement}: {'setting':<24} {'wheel':>12} {'libraries':>12} {'ratio':>7} {'build':>8}")
    first = 0
    with tempfile.TemporaryDirectory(prefix="wheelsmith-slim-") as name:
        for number, (label, settings) in enumerate(VARIANTS.items()):
            recipes = variant_of(recipe, settings, Path(name, f"recipes-{number}"))
            started = time.perf_counter()
            result = wheelsmith.build(
                options.requirement,
                recipes=[recipes],
                store=Path(name, "store"),
                index=Path(name, f"dist-{number}"),
                toolkit=options.toolkit,
            )
            seconds = time.perf_counter() - started
            size = result.record["wheel"]["size"]
            first = first or size
            libraries = sum(library["size"] for library in result.record["report"]["libraries"])
            line = f"{label:<24} {size:>12,} {libraries:>12,} {size / first:>7.2f} {seconds:>6.0f} s"
            print(f"{'':<{len(options.requirement) + 1}} {line}", flush=True)


if __name__ == "__main__":
    main()
