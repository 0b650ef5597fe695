"""What the functions of the API share: where things are when nothing is said, and a full disk said once.

In: optional arguments. Out: paths, a store, a recipe book. Fails with `DiskFullError`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.errors import UsageError

if TYPE_CHECKING:
    from wheelsmith.recipe.loader import RecipeBook
    from wheelsmith.store import Store

#: Where wheels and the index go when nothing else is said.
DEFAULT_INDEX = Path("dist")

PathLike = str | os.PathLike[str]


def book(directories: Sequence[PathLike]) -> RecipeBook:
    """The recipe book: the directories given, WHEELSMITH_RECIPES, the user's, ours; the first that has a name wins.

    Raises:
        UsageError: one of those given is no directory.
    """
    from platformdirs import user_config_path

    from wheelsmith.recipe.loader import RecipeBook

    own = [Path(directory) for directory in directories]
    for path in own:
        if not path.is_dir():
            there = f"is a file; its directory is {path.parent}" if path.is_file() else "does not exist"
            raise UsageError(f"--recipes {path}: {there}.", "Name a directory that holds recipes (NAME.toml).")
    own += [Path(item) for item in os.environ.get("WHEELSMITH_RECIPES", "").split(os.pathsep) if item]
    return RecipeBook([*own, user_config_path("wheelsmith") / "recipes"])


def show_people(index: PathLike, projects: Sequence[str] | None = None) -> None:
    """Bring the pages for people up to date; a bucket has none."""
    from wheelsmith.index.location import local_directory
    from wheelsmith.index.web.site import render

    if (directory := local_directory(index)) is not None and directory.is_dir():
        render(directory, projects=projects)


def optional_path(path: PathLike | None) -> Path | None:
    """A path, or None."""
    return None if path is None else Path(path)


def store_root(store: PathLike | None) -> Path:
    """Where the store is: as given, WHEELSMITH_STORE, or the user's cache directory."""
    from wheelsmith.store import default_root

    return Path(store) if store else default_root()


def open_store(store: PathLike | None) -> Store:
    """The store itself."""
    from wheelsmith.store import Store

    return Store(store_root(store))


def chosen_index_url(index_url: str | None) -> str | None:
    """The package index as given, WHEELSMITH_INDEX_URL, or as pip and uv are configured."""
    from wheelsmith.sources.client_index import configured_index

    return index_url or os.environ.get("WHEELSMITH_INDEX_URL") or configured_index()


@contextmanager
def disk_full() -> Iterator[None]:
    """A full disk can show at any write; say it in one place."""
    from wheelsmith.errors import DiskFullError

    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" ({error.filename})" if error.filename else ""
        raise DiskFullError(
            f"The disk is full{place}.", "Free some space, then run again: what is finished is kept."
        ) from error
