"""Call `verify_tokens` with tokens whose offsets, views, codes or validity are moved while the audiences are exported.

The argument names what is moved. The codes are printed, as JSON: those of the tokens as they were when they were taken.
"""

import json
import sys

import numpy as np
import pyarrow as pa

from helpers import DEVICE, KEYRING, NOW, token
from itron_core import verify_tokens

ROWS = 300
TOKEN = token()
DATA = pa.py_buffer(TOKEN * ROWS)
FAR = 2**30


def of_offsets(dtype, offsets):
    return pa.Array.from_buffers(dtype, ROWS, [None, pa.py_buffer(offsets), DATA])


def offsets():
    moved = np.arange(ROWS + 1, dtype=np.int32) * len(TOKEN)
    return of_offsets(pa.binary(), moved), moved


def large_offsets():
    moved = np.arange(ROWS + 1, dtype=np.int64) * len(TOKEN)
    return of_offsets(pa.large_binary(), moved), moved


def views():
    views = np.zeros((ROWS, 4), np.int32)
    views[:, 0], views[:, 3] = len(TOKEN), np.arange(ROWS) * len(TOKEN)
    views[:, 1] = np.frombuffer(TOKEN[:4], np.int32)[0]
    return of_offsets(pa.binary_view(), views), views[:, 3]


def codes():
    moved = np.zeros(ROWS, np.int32)
    numbers = pa.Array.from_buffers(pa.int32(), ROWS, [None, pa.py_buffer(moved)])
    return pa.DictionaryArray.from_arrays(numbers, pa.array([TOKEN])), moved


def validity():
    bits = np.full(ROWS, 254, np.uint8)
    starts = pa.py_buffer(np.arange(ROWS + 1, dtype=np.int32) * len(TOKEN))
    return pa.Array.from_buffers(pa.binary(), ROWS, [pa.py_buffer(bits), starts, DATA]), bits


MOVED = {function.__name__: function for function in (offsets, large_offsets, views, codes, validity)}


def codes_of(column, moved):
    class Audiences:
        """Devices whose export moves what was checked before."""

        def __arrow_c_array__(self, requested_schema=None):
            moved[...] = moved + (1 if moved.dtype == np.uint8 else FAR)
            return pa.array([DEVICE] * ROWS).__arrow_c_array__(requested_schema)

    return verify_tokens(column, KEYRING, now=NOW, audience=Audiences(), threads=1)["code"].to_pylist()


if __name__ == "__main__":
    print(json.dumps(codes_of(*MOVED[sys.argv[1]]())))
