#!/usr/bin/env python3
"""openai_sync.py under a seccomp filter like a container's: seccomp.py [SCENARIO[=COUNT]…]

The filter kills the process for the system calls that return probes and optimised probes make on x86-64
(uretprobe 335, uprobe 336), as filters do that were written before these calls existed; newer kernels let the calls
pass by any filter. Everything else may pass."""

import ctypes
import runpy
import struct
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000

# struct sock_filter {u16 code; u8 jt, jf; u32 k}; the call's number is the first word of seccomp_data.
program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (LOAD_WORD, 0, 0, 0),
        (JUMP_EQUAL, 2, 0, 335),
        (JUMP_EQUAL, 1, 0, 336),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL_PROCESS),
    )
)


class SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
filter_program = SockFprog(len(program) // 8, program)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0
):
    sys.exit("seccomp is refused here")

sys.path.insert(0, str(Path(__file__).parent))
runpy.run_path(str(Path(__file__).with_name("openai_sync.py")), run_name="__main__")
