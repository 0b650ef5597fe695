"""Ask one place after the other for a source, as the mirrors say.

In: a URL, the mirrors, and a function that asks one place. Out: what the first place gave that has it, and that place.
Fails as the last place did, with the reasons of all. Only "cannot be reached" and "does not have it" lead to the next
place: wrong bytes, a moved tag or a full disk end the search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from wheelsmith.errors import NetworkError, OfflineError, WheelsmithError
from wheelsmith.events import Note
from wheelsmith.sources.model import STAGE, AbsentError, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from wheelsmith.config import Mirrors
    from wheelsmith.events import Listener

T = TypeVar("T")

_NO_PLACE = "Run it without --offline, or name a directory that stands for it in [mirrors]."


def ask_places(url: str, mirrors: Mirrors, ask: Callable[[str], T], listener: Listener) -> tuple[T, str]:
    """What `ask(place)` returns for the first place that has `url`, and that place without credentials.

    Raises:
        NetworkError, AbsentError: no place has it; the detail lists every one with its reason.
        OfflineError: there is no place that may be asked.
        WheelsmithError: what `ask` raises else.
    """
    places = mirrors.of(url)
    if not places:
        raise OfflineError(f"Offline, {redact(url)} is not asked, and no mirror on this machine has it.", _NO_PLACE)
    failed: list[WheelsmithError] = []
    for place in places:
        try:
            answer = ask(place)
        except (NetworkError, AbsentError) as error:
            failed.append(error)
            if place != places[-1]:
                listener(Note(STAGE, f"{error.cause} The next place is asked.", warning=True))
            continue
        if place != url:
            listener(Note(STAGE, f"{redact(url)} was served by its mirror {redact(place)}"))
        return answer, redact(place)
    last = failed[-1]
    if places == (url,):
        raise last
    if mirrors.closed:
        said = "\n".join(error.cause for error in failed)
        raise OfflineError(
            f"Offline, no mirror on this machine has it: {redact(url)}.", _NO_PLACE, detail=said
        ) from last
    raise type(last)(
        f"No mirror of {redact(url)} serves it: {len(places)} asked.",
        "Correct [mirrors] in the configuration file, or complete the mirror: `wheelsmith recipes mirror` writes one.",
        detail="\n".join(f"{error.cause}\n{error.detail}".strip() for error in failed),
    ) from last
