"""Whether the body of a kernel does anything, seen from its first instructions.

In: the first bytes of a kernel's machine code and its arch. Out: `code`, `empty` or `trapping`. Nothing fails. The
check goes this far and no further: instructions are followed from the entry in a straight line, for at most `LOOK`
bytes. `empty` means that only registers are written before an unconditional EXIT, or a jump back that never ends;
`trapping`, that an unconditional BPT.TRAP (`__trap()`, `__brkpt()`) comes before any branch or EXIT, whatever was
printed or stored on the way. A body that hides its emptiness behind another branch, an `assert` (a call that does not
return) or an unknown instruction counts as code. Encodings: 128-bit instructions since 7.0, 64-bit ones in bundles of
four before; found with nvdisasm 13.5 on what nvcc 13.0 and ptxas 12.0 to 12.9 write for 7.5 to 12.0, and by reading
what ptxas 12.4 and 12.8 write for 5.0 to 9.0.
"""

from __future__ import annotations

import re
from typing import Literal

Body = Literal["code", "empty", "trapping"]

LOOK = 1024

# Opcodes (low 12 bits) that write registers only: MOV, IMAD, IADD3, LOP3, SHF, ISETP, S2R, CS2R, LDC, NOP, SHFL and
# their uniform forms.
_QUIET = (
    *(0x202, 0x602, 0x802, 0xA02, 0xC02, 0x224, 0x424, 0x624, 0x824, 0xC24, 0x210, 0x810, 0xA10, 0xC10),
    *(0x212, 0x812, 0xA12, 0xC12, 0x219, 0x819, 0xA19, 0x20C, 0x80C, 0xA0C, 0xC0C, 0x919, 0x9C3, 0x805, 0xB82, 0xAB9),
    *(0x7AC, 0x918, 0x389, 0x882, 0xC82, 0x235, 0x835),
)


def _opcode(number: int) -> bytes:
    """A pattern for its two bytes, under any guard predicate."""
    second = b"".join(b"\\x%02x" % (guard << 4 | number >> 8) for guard in range(16))
    return b"\\x%02x[%s]" % (number & 0xFF, second)


_EXIT = rb"\x4d\x79[\s\S]{8}\x80\x03[\s\S]{4}"  # guard PT, condition PT
_TRAP = rb"\x5c\x79[\s\S]{8}\x30\x00[\s\S]{4}"
_SPIN = rb"\x47\x79(?:\x00\x00[\x80-\xf0]|\xfc\x00\xfc)\xff{5}\x83\x03[\s\S]{4}"  # before 9.0, and from there on
_EMPTY_128 = re.compile(
    rb"(?:(?:" + b"|".join(map(_opcode, _QUIET)) + rb")[\s\S]{14})*+(?:" + _EXIT + rb"|" + _SPIN + rb")"
)
# Control flow has opcodes 0x?40 to 0x?5f; CALL (43, 44), BSSY (45) and LEPC (4e) go on with the next instruction.
_TRAP_128 = re.compile(rb"(?:(?!" + _TRAP + rb")[^\x40-\x42\x46-\x4d\x4f-\x5f][\s\S]{15})*+" + _TRAP)

_LATER_64 = rb"(?:[\s\S]{6}(?:[\x98-\x9f]\x4c|[\x98-\x9f]\x5c|\xb0\x50|[\xc8-\xcf]\xf0|[\x00-\x0f]\x01))"
_EXIT_64 = rb"\x0f[\s\S][\x07\x17\x27\x37\x47\x57\x67\x77\x87\x97\xa7\xb7\xc7\xd7\xe7\xf7][\s\S]{3}\x00\xe3"
_TRAP_64 = rb"\xc0[\s\S]{5}\xa0\xe3"
_SPIN_64 = rb"\x0f\x00\x87\xff\xff\x0f\x40\xe2"
_EMPTY_64_BIT = re.compile(_LATER_64 + rb"*+(?:" + _EXIT_64 + rb"|" + _SPIN_64 + rb")")
_TRAP_64_BIT = re.compile(rb"(?:(?!" + _TRAP_64 + rb")[\s\S]{7}[^\xe2\xe3])*+" + _TRAP_64)


def judge_body(code: bytes, major: int) -> Body:
    """What the first instructions of a kernel show; `code` is at most the first `LOOK` bytes."""
    if major >= 7:
        empty, trap = _EMPTY_128, _TRAP_128
    elif major >= 5:
        code = b"".join(code[start + 8 : start + 32] for start in range(0, len(code), 32))
        empty, trap = _EMPTY_64_BIT, _TRAP_64_BIT
    else:
        return "code"
    if empty.match(code):
        return "empty"
    return "trapping" if trap.match(code) else "code"
