"""The words of a GPU's name that decide its compute capability.

In: a name as nvidia-smi prints it, or as people write it. Out: words. Nothing fails.
"""

from __future__ import annotations

import re

#: Words that say nothing about the compute capability: vendor, form, edition, cooling, kind of memory.
_SILENT = re.compile(
    "nvidia|geforce|tesla|grid|graphics|card|gpu|device|nvgpu"
    "|laptop|notebook|mobile|max|q|maxq|with|design|edition|generation|workstation|server|active|dc|ac|ls|lc"
    "|pcie|nvl\\d*|oam|mxm|hgx|dgxs|cnx|mig|developer|engineering|reference|special|jhh|kit|module|lhr|gb|gddr\\dx?|hbm\\de?"
)
# Memory (80GB, 144G, 3e), the socket (SXM4), a MIG slice (1g, 5gb) or a vGPU profile (48Q, 4C, 8B, 2A, 5CME).
_SIZE = re.compile(r"\d+g(?:b|ib)?|sxm\d?|\d{1,3}(?:[qcba]|cme)|3e|h")
_SLICES = re.compile(r"\d \d{1,3}(?:[qcba]|cme)")  # of a vGPU on MIG: 1-10C
_LEADS = re.compile(r"(geforce|nvidia|tesla|quadro|titan|rtx|gtx|gt|pro)(?=(?:rtx|gtx|pro|a?\d|[pm]\d))")
_TAILS = re.compile(r"(?<=\d{4})(?=(?:ti|super|d)(?:super)?$)|(?<=ti)(?=super$)")


def words(text: str) -> tuple[str, ...]:
    """The words of a GPU's name that decide: lower case, without vendor, memory, form and edition."""
    found: list[str] = []
    for word in re.findall(r"[a-z0-9]+", text.casefold()):
        rest = word
        while lead := _LEADS.match(rest):
            found.append(lead[1])
            rest = rest[lead.end() :]
        found += _TAILS.sub(" ", rest).split()
    return tuple(
        word
        for index, word in enumerate(found)
        if not _SILENT.fullmatch(word)
        and not (index and _SIZE.fullmatch(word))
        and not (word.isdigit() and found[index + 1 : index + 2] == ["gb"])
        and not (index and _SLICES.fullmatch(" ".join(found[index : index + 2])))
    )
