"""GPUs by name, as nvidia-smi prints them and as people write them.

In: text such as `NVIDIA A100-SXM4-80GB` or `5090`. Out: a `Gpu`. A name is decided word by word, never by likeness:
words that do not change the compute capability (vendor, memory, form, edition) are left out, and what remains must be a
name of the table, or the part of one that has its number. Fails with `UnknownGpuError`, which lists what was meant.
"""

from __future__ import annotations

from functools import cache

from wheelsmith.errors import UnknownGpuError
from wheelsmith.gpu.facts import Gpu, all_gpus
from wheelsmith.gpu.tables import facts_key
from wheelsmith.gpu.words import words

_SHOWN = 8


def find_gpu(name: str) -> Gpu:
    """Look a GPU up by name.

    Raises:
        UnknownGpuError: no such GPU, or several with different compute capabilities; the remedy names them.
    """
    table = _by_words(facts_key())
    wanted = words(name)
    if exact := table.get(wanted) or _joined(facts_key()).get("".join(wanted)):
        return exact
    model = {word for word in wanted if any(letter.isdigit() for letter in word)}
    partial = [gpu for known, gpu in table.items() if model and set(wanted) <= set(known)]
    if len({gpu.arch for gpu in partial}) == 1:
        return min(partial, key=lambda gpu: len(words(gpu.name)))
    if partial:
        raise UnknownGpuError(
            f"{name.strip()!r} may be one of several GPUs, which do not run the same code.",
            f"Say which: {_listed(partial)}.",
        )
    import difflib  # only for what is not found

    near = [gpu for known, gpu in table.items() if model and model <= set(known)]
    near += [gpu for known, gpu in table.items() if not model and wanted and set(wanted) <= set(known)]
    near.sort(key=lambda gpu: gpu.arch, reverse=True)
    joined = _joined(facts_key())
    near += [joined[key] for key in difflib.get_close_matches("".join(wanted), joined, n=3, cutoff=0.6)]
    unique = list(dict.fromkeys(near))[:6]
    hint = f"Did you mean {', '.join(gpu.name for gpu in unique)}? " if unique else ""
    raise UnknownGpuError(
        f"No GPU is known by the name {name.strip()!r}.",
        f"{hint}`wheelsmith gpus` lists them; a compute capability such as 12.0 is taken instead of a name.",
    )


def is_model(word: str) -> bool:
    """Whether a GPU of the table has this word, such as `980`, in its name."""
    return any(word in known for known in _by_words(facts_key()))


def _listed(gpus: list[Gpu]) -> str:
    shown = [f"{gpu.name} ({gpu.arch})" for gpu in gpus[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(gpus) - _SHOWN} more" if len(gpus) > _SHOWN else "")


@cache
def _by_words(_key: tuple[str | None, ...]) -> dict[tuple[str, ...], Gpu]:
    found: dict[tuple[str, ...], Gpu] = {}
    for gpu in all_gpus():
        for name in (gpu.name, *gpu.aliases):
            found.setdefault(words(name), gpu)
    return found


@cache
def _joined(key: tuple[str | None, ...]) -> dict[str, Gpu]:
    """For names written in one word: `rtxpro6000blackwell`, `dgxspark`."""
    return {"".join(known): gpu for known, gpu in _by_words(key).items()}
