"""Login to a token by the library's own functions: python-pkcs11 leaks the session of a failed login.

Every session opened here is closed here, whatever the token answers.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OK", "logged_in"]

# PKCS#11 v2.40, section 4 and header pkcs11t.h.
OK = "ok"
ANSWERS = {
    0x00: OK,
    0x100: OK,  # CKR_USER_ALREADY_LOGGED_IN: a login holds for the whole process
    0xA0: "incorrect",
    0xA1: "incorrect",
    0xA2: "incorrect",
    0xA3: "expired",
    0xA4: "locked",
}
SERIAL_SESSION, RW_SESSION = 4, 2
USER = 1
# Positions of the functions in CK_FUNCTION_LIST, after its version.
OPEN_SESSION, CLOSE_SESSION, LOGIN = 12, 13, 18
FUNCTIONS = 68


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * FUNCTIONS))


def _function(listed: _FunctionList, number: int, *arguments: type) -> ctypes._FuncPointer:
    return ctypes.CFUNCTYPE(ctypes.c_ulong, *arguments)(listed.functions[number])


@contextmanager
def logged_in(library: str, slot: int, pin: bytes, *, rw: bool) -> Iterator[str]:
    """Log the user of a slot in and yield the answer: ok, incorrect, expired, locked, or the number of another error.

    Sessions opened inside the block are logged in, and stay so while one of them is open.
    """
    library_functions = ctypes.POINTER(_FunctionList)()
    answer = ctypes.CDLL(library).C_GetFunctionList(ctypes.byref(library_functions))
    session = ctypes.c_ulong()
    if answer:
        yield f"error {answer:#x}"
        return
    listed = library_functions.contents
    open_session = _function(
        listed,
        OPEN_SESSION,
        *(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulong)),
    )
    answer = open_session(slot, SERIAL_SESSION | RW_SESSION * rw, None, None, ctypes.byref(session))
    if answer:
        yield f"error {answer:#x}"
        return
    try:
        login = _function(listed, LOGIN, *(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong))
        answer = login(session, USER, pin, len(pin))
        yield ANSWERS.get(answer, f"error {answer:#x}")
    finally:
        _function(listed, CLOSE_SESSION, ctypes.c_ulong)(session)
