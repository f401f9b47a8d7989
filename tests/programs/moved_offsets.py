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


def main() -> None:  # noqa: C901  # one branch a layout
    what, one = sys.argv[1], token()
    tokens = np.frombuffer(one * ROWS, np.uint8)
    data = pa.py_buffer(tokens)
    match what:
        case "offsets" | "validity":
            moved = np.arange(ROWS + 1, dtype=np.int32) * len(one)
            bits = np.full(ROWS, 255, np.uint8)
            bits[0] -= what == "validity"
            column = pa.Array.from_buffers(pa.binary(), ROWS, [pa.py_buffer(bits), pa.py_buffer(moved), data])
            moved = bits if what == "validity" else moved
        case "large_offsets":
            moved = np.arange(ROWS + 1, dtype=np.int64) * len(one)
            column = pa.Array.from_buffers(pa.large_binary(), ROWS, [None, pa.py_buffer(moved), data])
        case "views":
            moved = np.zeros((ROWS, 4), np.int32)
            moved[:, 0], moved[:, 3] = len(one), np.arange(ROWS) * len(one)
            moved[:, 1] = np.frombuffer(one[:4], np.int32)[0]
            column = pa.Array.from_buffers(pa.binary_view(), ROWS, [None, pa.py_buffer(moved), data])
        case "codes":
            moved = np.zeros(ROWS, np.int32)
            codes = pa.Array.from_buffers(pa.int32(), ROWS, [None, pa.py_buffer(moved)])
            column = pa.DictionaryArray.from_arrays(codes, pa.array([one]))

    class Audiences:
        """Devices whose export moves what was checked before."""

        def __arrow_c_array__(self, requested_schema=None):
            match what:
                case "offsets":
                    moved[:] += 2**30
                case "large_offsets":
                    moved[:] += 2**39
                case "views":
                    moved[:, 3] += 2**30
                case "codes":
                    moved[:] += 2**30
                case "validity":
                    moved[:] = 255
            return pa.array([DEVICE] * ROWS).__arrow_c_array__(requested_schema)

    results = verify_tokens(column, KEYRING, now=NOW, audience=Audiences(), threads=1)
    print(json.dumps(results["code"].to_pylist()))


if __name__ == "__main__":
    main()
