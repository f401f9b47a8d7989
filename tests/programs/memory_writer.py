"""Write two values in turn at places of a file, through a mapping, until standard input ends: the other process of an attack.

Arguments: the file, then the two values, then the places. A line on standard output says that it has begun.
"""

import mmap
import sys
import threading
from pathlib import Path


def main() -> None:
    path, first, second, *places = sys.argv[1:]
    ends = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ends.set()), daemon=True).start()
    values, at = (int(first), int(second)), [int(place) for place in places]
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        print("writing", flush=True)
        while not ends.is_set():
            for value in values:
                for place in at:
                    memory[place] = value


if __name__ == "__main__":
    main()
