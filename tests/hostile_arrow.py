"""Arrow producers that break the rules of the interface, one rule each, made of nothing but ctypes.

A `Node` is an array with its type; it is honest unless told otherwise. `Producer` hands it out as an array, `Streamer` as a
stream. `CASES` are the hostile ones: a name, the kind of column that it poses as, what makes it, and what the refusal says.
"""

import ctypes
import struct
from dataclasses import dataclass, field

INT64 = ctypes.c_int64
POINTER = ctypes.c_void_p


class ArrowSchema(ctypes.Structure):
    _fields_ = (
        ("format", POINTER),
        ("name", POINTER),
        ("metadata", POINTER),
        ("flags", INT64),
        ("n_children", INT64),
        ("children", POINTER),
        ("dictionary", POINTER),
        ("release", POINTER),
        ("private_data", POINTER),
    )


class ArrowArray(ctypes.Structure):
    _fields_ = (
        ("length", INT64),
        ("null_count", INT64),
        ("offset", INT64),
        ("n_buffers", INT64),
        ("n_children", INT64),
        ("buffers", POINTER),
        ("children", POINTER),
        ("dictionary", POINTER),
        ("release", POINTER),
        ("private_data", POINTER),
    )


class ArrowStream(ctypes.Structure):
    _fields_ = (
        ("get_schema", POINTER),
        ("get_next", POINTER),
        ("get_last_error", POINTER),
        ("release", POINTER),
        ("private_data", POINTER),
    )


KEPT = []  # memory that a consumer may point into: a test's, never freed
RELEASED = {"schema": 0, "array": 0, "stream": 0}
HANDED = {"schema": 0, "array": 0, "stream": 0}


def kept(thing):
    KEPT.append(thing)
    return thing


def address(thing):
    return ctypes.addressof(kept(thing))


def releaser(kind, of):
    def release(pointer):
        place = of.from_address(pointer)
        assert place.release, f"{kind} released twice"
        place.release = None
        RELEASED[kind] += 1

    return ctypes.cast(kept(ctypes.CFUNCTYPE(None, POINTER)(release)), POINTER).value


RELEASE_SCHEMA = releaser("schema", ArrowSchema)
RELEASE_ARRAY = releaser("array", ArrowArray)
RELEASE_STREAM = releaser("stream", ArrowStream)


@ctypes.CFUNCTYPE(None, POINTER)
def release_child(pointer):
    raise AssertionError("a child is released by its parent, never by a consumer")


RELEASE_CHILD = ctypes.cast(release_child, POINTER).value


@dataclass
class Crooked:
    """A buffer at an odd address."""

    data: bytes


@dataclass
class Node:
    format: bytes | None
    length: int
    buffers: list
    offset: int = 0
    null_count: int = 0
    name: bytes = b""
    children: list["Node | None"] = field(default_factory=list)
    dictionary: "Node | None" = None
    schema: dict = field(default_factory=dict)  # fields that lie
    array: dict = field(default_factory=dict)

    def write_schema(self, place, release):
        text = None if self.format is None else kept(ctypes.create_string_buffer(self.format))
        place.format = None if text is None else ctypes.addressof(text)
        place.name = address(ctypes.create_string_buffer(self.name))
        place.flags = 2
        place.n_children = len(self.children)
        place.children = pointers([child and child.heap_schema() for child in self.children])
        place.dictionary = None if self.dictionary is None else self.dictionary.heap_schema()
        place.release = release
        for name, value in self.schema.items():
            setattr(place, name, value)

    def write_array(self, place, release):
        place.length, place.null_count, place.offset = self.length, self.null_count, self.offset
        place.n_buffers = len(self.buffers)
        place.buffers = pointers([pointer(buffer) for buffer in self.buffers])
        place.n_children = len(self.children)
        place.children = pointers([child and child.heap_array() for child in self.children])
        place.dictionary = None if self.dictionary is None else self.dictionary.heap_array()
        place.release = release
        for name, value in self.array.items():
            setattr(place, name, value)

    def heap_schema(self):
        place = kept(ArrowSchema())
        self.write_schema(place, RELEASE_CHILD)
        return ctypes.addressof(place)

    def heap_array(self):
        place = kept(ArrowArray())
        self.write_array(place, RELEASE_CHILD)
        return ctypes.addressof(place)


def pointers(addresses):
    return address((POINTER * len(addresses))(*addresses)) if addresses else None


def pointer(buffer):
    if buffer is None or isinstance(buffer, int):
        return buffer
    if isinstance(buffer, Crooked):
        return address(ctypes.create_string_buffer(b"\0" + buffer.data)) + 1
    return address(ctypes.create_string_buffer(buffer + bytes(8)))


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = (POINTER, ctypes.c_char_p, POINTER)


def capsule(place, name):
    return new_capsule(address(place), kept(name), None)


@dataclass
class Producer:
    """Hands out one array."""

    node: Node
    names: tuple[bytes, bytes] = (b"arrow_schema", b"arrow_array")
    shape: object = tuple  # what the pair of capsules is made into

    def __arrow_c_array__(self, requested_schema=None):
        schema, array = ArrowSchema(), ArrowArray()
        self.node.write_schema(schema, RELEASE_SCHEMA)
        self.node.write_array(array, RELEASE_ARRAY)
        HANDED["schema"] += bool(schema.release)
        HANDED["array"] += bool(array.release)
        return self.shape((capsule(schema, self.names[0]), capsule(array, self.names[1])))


@dataclass
class Streamer:
    """Hands out a stream of arrays; an exception among them is the error that the stream ends with."""

    schema: Node | Exception
    arrays: list
    lies: dict = field(default_factory=dict)
    name: bytes = b"arrow_array_stream"
    silent: bool = False

    def __arrow_c_stream__(self, requested_schema=None):
        stream, rest, last = ArrowStream(), iter(self.arrays), [b""]

        def write(thing, write):
            if isinstance(thing, Exception):
                last[0] = kept(ctypes.create_string_buffer(thing.args[0]))
                return 5
            write(thing)
            return 0

        def get_schema(_, out):
            def put(node):
                place = ArrowSchema.from_address(out)
                node.write_schema(place, RELEASE_SCHEMA)
                HANDED["schema"] += bool(place.release)

            return write(self.schema, put)

        def get_next(_, out):
            def put(node):
                place = ArrowArray.from_address(out)
                if node is None:
                    place.release = None
                    return
                node.write_array(place, RELEASE_ARRAY)
                HANDED["array"] += 1

            return write(next(rest, None), put)

        def last_error(_):
            return None if self.silent else ctypes.addressof(last[0])

        stream.get_schema = callback(get_schema, 2)
        stream.get_next = callback(get_next, 2)
        stream.get_last_error = ctypes.cast(kept(ctypes.CFUNCTYPE(POINTER, POINTER)(last_error)), POINTER).value
        stream.release = RELEASE_STREAM
        for name, value in self.lies.items():
            setattr(stream, name, value)
        HANDED["stream"] += bool(stream.release)
        return capsule(stream, self.name)


def callback(function, arguments):
    kind = ctypes.CFUNCTYPE(ctypes.c_int, *[POINTER] * arguments)
    return ctypes.cast(kept(kind(function)), POINTER).value


def i32(*values):
    return struct.pack(f"{len(values)}i", *values)


def i64(*values):
    return struct.pack(f"{len(values)}q", *values)


def view(length, data=b"", buffer=0, offset=0):
    if length <= 12 and length >= 0 and buffer == 0:
        return struct.pack("i12s", length, data)
    return struct.pack("i4sii", length, data[:4], buffer, offset)


def binary(offsets=(0, 1, 3), data=b"abc", *, large=False, **lies):
    """Rows b"a" and b"bc"."""
    pack = i64 if large else i32
    lies = {"length": len(offsets) - 1} | lies
    return Node(b"Z" if large else b"z", buffers=[None, pack(*offsets), data], **lies)


def views(*rows, data=(b"x" * 40,), lengths=None, validity=None, **lies):
    lengths = i64(*map(len, data)) if lengths is None else lengths
    return Node(b"vz", **{"length": len(rows), "buffers": [validity, b"".join(rows), *data, lengths]} | lies)


LONG = view(20, b"xxxx", 0, 0)
LONG_AT_8 = struct.pack("i4sii", 20, b"xxxx", 0, 8)


def dictionary(codes=b"\0\1\1", code=b"c", values=None, **lies):
    return Node(code, **{"length": 3, "buffers": [None, codes], "dictionary": values or binary()} | lies)


ONE_TO_THREE = i64(1, 2, 3)


def ints(data=ONE_TO_THREE, code=b"l", **lies):
    return Node(code, **{"length": 3, "buffers": [None, data]} | lies)


def table(*columns, length=3, **lies):
    return Node(b"+s", **{"length": length, "buffers": [None], "children": list(columns)} | lies)


def text(name, *rows, **lies):
    ends = [sum(map(len, rows[:end])) for end in range(len(rows) + 1)]
    return Node(b"u", **{"length": len(rows), "buffers": [None, i32(*ends), b"".join(rows)], "name": name} | lies)


def route(**lies):
    """Three rows of the four columns that a route must have."""
    return table(
        text(b"device", *[b"ert:100000001"] * 3),
        ints(b"\0\1\2", b"c", name=b"device_class"),
        ints(b"\0\1\2", b"c", name=b"security_level"),
        ints(b"\0\1\2", b"c", name=b"action"),
        **lies,
    )


def route_with(at, **lies):
    node = route()
    for name, value in lies.items():
        setattr(node.children[at], name, value)
    return node


def with_child(at, child):
    node = route()
    node.children[at] = child
    return node


HUGE = 2**62
TOP = 2**63 - 1

# name, kind of column, what makes it, what the refusal says
ARRAYS = [
    # Lengths, offsets and counts
    ("negative length", "bytes", lambda: binary(length=-1), "length -1"),
    ("least length", "bytes", lambda: binary(length=-(2**63)), "length -"),
    ("negative offset", "bytes", lambda: binary(offset=-1), "offset -1"),
    ("huge length", "bytes", lambda: binary(length=HUGE), "length"),
    ("length and offset wrap", "bytes", lambda: binary(length=TOP, offset=TOP), "length"),
    ("length over the limit", "bytes", lambda: binary(length=2**31), "length"),
    ("huge length, no buffers", "bytes", lambda: Node(b"z", HUGE, [None, None, None]), "length"),
    ("huge length of nulls", "bytes", lambda: Node(b"n", HUGE, []), "length"),
    ("huge length of ints", "ints", lambda: ints(length=HUGE), "length"),
    ("length without offsets", "bytes", lambda: Node(b"z", 2, [None, None, None]), "without its offsets"),
    ("length without data", "bytes", lambda: binary(data=None), "without its data"),
    ("length without values", "ints", lambda: ints(data=None), "without its values"),
    ("fixed without values", "bytes", lambda: Node(b"w:4", 2, [None, None]), "without its values"),
    ("fixed of two terabytes", "bytes", lambda: Node(b"w:2147483647", 2**30, [None, b""]), "bytes in all"),
    ("null count below -1", "bytes", lambda: binary(null_count=-2), "nulls"),
    ("null count above length", "bytes", lambda: binary(null_count=3), "nulls"),
    ("nulls without a bitmap", "bytes", lambda: binary(null_count=1), "validity"),
    ("int nulls without a bitmap", "ints", lambda: ints(null_count=1), "validity"),
    ("values at the end of memory", "ints", lambda: ints(data=2**63 - 8), "memory"),
    # Offsets
    ("offsets fall", "bytes", lambda: binary((0, 3, 1)), "fall from 3 to 1 in row 1"),
    ("offsets fall far", "bytes", lambda: binary((0, 10, 2**28, 20)), "fall"),
    ("offsets fall below zero", "bytes", lambda: binary((0, -1, 3)), "fall"),
    ("offsets begin below zero", "bytes", lambda: binary((-1, 1, 3)), "from -1"),
    ("offsets all below zero", "bytes", lambda: binary((-3, -2, -1)), "from -3"),
    ("large offsets fall", "bytes", lambda: binary((0, 3, 1), large=True), "fall"),
    ("large offsets huge", "bytes", lambda: binary((0, 1, HUGE), large=True), "offsets from 0"),
    ("large offsets of two terabytes", "bytes", lambda: binary((0, 2**41, 2**41), large=True), "offsets from 0"),
    ("large offset negative", "bytes", lambda: binary((-HUGE, 0, 1), large=True), "offsets from -"),
    ("offsets fall in a slice", "bytes", lambda: binary((0, 1, 3, 2), length=2, offset=1), "fall from 3 to 2"),
    ("text offsets fall", "text", lambda: Node(b"u", 2, [None, i32(0, 3, 1), b"abc"]), "fall"),
    # Views
    ("view of negative length", "bytes", lambda: views(LONG, view(-1)), "view of -1 bytes"),
    (
        "view of negative offset",
        "bytes",
        lambda: views(view(20, b"xxxx", 0, 0), struct.pack("i4sii", 20, b"", 0, -1)),
        "at -1",
    ),
    ("view of a negative buffer", "bytes", lambda: views(struct.pack("i4sii", 20, b"", -1, 0)), "data buffer -1"),
    ("view of no such buffer", "bytes", lambda: views(struct.pack("i4sii", 20, b"", 1, 0)), "data buffer 1"),
    ("view beyond its buffer", "bytes", lambda: views(struct.pack("i4sii", 20, b"", 0, 21)), "reaches beyond"),
    ("view longer than its buffer", "bytes", lambda: views(struct.pack("i4sii", 41, b"", 0, 0)), "reaches beyond"),
    (
        "view of the greatest numbers",
        "bytes",
        lambda: views(struct.pack("i4sii", 2**31 - 1, b"", 0, 2**31 - 1)),
        "reaches",
    ),
    ("view without data buffers", "bytes", lambda: views(LONG, data=()), "among the 0"),
    ("view buffer of negative length", "bytes", lambda: views(LONG, lengths=i64(-1)), "data buffer of -1 bytes"),
    ("view buffer of huge length", "bytes", lambda: views(LONG, lengths=i64(HUGE)), "data buffer of"),
    ("view buffer null", "bytes", lambda: views(LONG, data=(None,), lengths=i64(40)), "without its data buffer"),
    ("view lengths null", "bytes", lambda: views(LONG, buffers=[None, LONG, b"x" * 40, None]), "without its lengths"),
    ("views null", "bytes", lambda: views(LONG, buffers=[None, None, b"x" * 40, i64(40)]), "without its views"),
    ("view of two buffers only", "bytes", lambda: views(LONG, buffers=[None, LONG]), "2 buffers"),
    ("view of a million million buffers", "bytes", lambda: views(LONG, array={"n_buffers": 10**12}), "buffers"),
    # Dictionaries
    ("code beyond the values", "bytes", lambda: dictionary(b"\0\1\2"), "index 2 in row 2"),
    ("code negative", "bytes", lambda: dictionary(b"\0\1\xff"), "index -1 in row 2"),
    ("code huge", "bytes", lambda: dictionary(i64(0, 1, -1), b"L"), "index -1"),
    ("code least", "bytes", lambda: dictionary(i64(0, 1, -(2**63)), b"l"), "index -"),
    ("code of an empty dictionary", "bytes", lambda: dictionary(values=binary((0,))), "below 0"),
    ("dictionary missing", "bytes", lambda: dictionary(array={"dictionary": None}), "without its dictionary"),
    ("dictionary unannounced", "bytes", lambda: dictionary(schema={"dictionary": None}), "integer|int8|dictionary"),
    (
        "dictionary on plain bytes",
        "bytes",
        lambda: binary(dictionary=binary(), schema={"dictionary": None}),
        "dictionary",
    ),
    ("dictionary itself broken", "bytes", lambda: dictionary(values=binary((0, 3, 1))), "fall"),
    ("dictionary released", "bytes", lambda: dictionary(values=binary(array={"release": None})), "released"),
    ("dictionary crooked", "bytes", lambda: dictionary(array={"dictionary": 3}), "misaligned"),
    ("dictionary of dictionaries", "bytes", lambda: dictionary(values=dictionary()), "dictionary"),
    ("dictionary indexed by text", "bytes", lambda: dictionary(code=b"u"), "indexed by string"),
    # Buffers and children
    ("one buffer too few", "bytes", lambda: Node(b"z", 2, [None, i32(0, 1, 3)]), "2 buffers"),
    ("one buffer too many", "bytes", lambda: Node(b"z", 2, [None, i32(0, 1, 3), b"abc", None]), "4 buffers"),
    ("no buffers", "ints", lambda: Node(b"l", 3, []), "0 buffers"),
    ("negative buffers", "ints", lambda: ints(array={"n_buffers": -1}), "-1 buffers"),
    ("buffers null", "ints", lambda: ints(array={"buffers": None}), "null or misaligned"),
    ("buffers crooked", "ints", lambda: ints(array={"buffers": 5}), "null or misaligned"),
    ("null type with a buffer", "bytes", lambda: Node(b"n", 3, [None]), "1 buffers"),
    ("children on a leaf", "bytes", lambda: binary(array={"n_children": 1}), "1 children"),
    (
        "announced children on a leaf",
        "bytes",
        lambda: binary(schema={"n_children": 1, "children": pointers([None])}),
        "children",
    ),
    ("negative children", "bytes", lambda: binary(array={"n_children": -1}), "-1 children"),
    ("negative announced children", "bytes", lambda: binary(schema={"n_children": -1}), "-1 children"),
    # Types
    ("no format", "bytes", lambda: Node(None, 0, []), "without a format"),
    ("empty format", "bytes", lambda: Node(b"", 0, []), "format"),
    ("format not UTF-8", "bytes", lambda: Node(b"\xff\xfe", 0, []), "not UTF-8"),
    ("format unknown", "bytes", lambda: Node(b"?", 0, []), "format"),
    ("format endless", "bytes", lambda: Node(b"z" * 100_000, 0, []), "4096"),
    ("fixed of negative width", "bytes", lambda: Node(b"w:-4", 0, [None, None]), "width"),
    ("fixed of no width", "bytes", lambda: Node(b"w:", 0, [None, None]), "width"),
    ("fixed of huge width", "bytes", lambda: Node(b"w:99999999999999999999", 0, [None, None]), "width"),
    ("floats for integers", "ints", lambda: ints(code=b"g"), "expected"),
    ("integers for bytes", "bytes", ints, "got int64"),
    ("bytes for integers", "ints", binary, "got binary"),
    ("bytes for text", "text", binary, "got binary"),
    ("a table for a column", "bytes", route, "table of 4"),
    ("a column for a table", "table", binary, "expected a table"),
    ("unsigned beyond 63 bits", "ints", lambda: ints(i64(1, 2, -1), b"L"), "18446744073709551615 in row 2"),
    # Released
    ("array released", "bytes", lambda: binary(array={"release": None}), "used up"),
    ("schema released", "bytes", lambda: binary(schema={"release": None}), "used up"),
    # Tables
    (
        "child null",
        "table",
        lambda: with_child(1, None) and route(array={"children": pointers([None] * 4)}),
        "misaligned",
    ),
    ("children null", "table", lambda: route(array={"children": None}), "null or misaligned"),
    ("children crooked", "table", lambda: route(array={"children": 9}), "null or misaligned"),
    ("announced children null", "table", lambda: route(schema={"children": None}), "without a list"),
    ("announced child null", "table", lambda: route(schema={"children": pointers([None] * 4)}), "misaligned"),
    ("a child too few", "table", lambda: route(array={"n_children": 3}), "3 children"),
    ("a million million children", "table", lambda: route(schema={"n_children": 10**12}), "children"),
    ("child shorter than its table", "table", lambda: route(length=4), "of 3 rows in a batch that spans 4"),
    ("child shorter than the table's slice", "table", lambda: route(offset=1), "of 3 rows in a batch that spans 4"),
    ("child of negative length", "table", lambda: route_with(0, length=-1), "of -1 rows"),
    ("child of negative offset", "table", lambda: route_with(1, offset=-1), "offset -1"),
    ("child of huge offset", "table", lambda: route_with(1, offset=TOP), "offset"),
    ("child of no buffers", "table", lambda: route_with(1, buffers=[]), "0 buffers"),
    ("child released", "table", lambda: route_with(1, array={"release": None}), "released"),
    ("announced child released", "table", lambda: route_with(1, schema={"release": None}), "released"),
    ("child without a format", "table", lambda: route_with(1, format=None), "without a format"),
    ("child of another type", "table", lambda: route_with(0, format=b"g", buffers=[None, bytes(24)]), "expected"),
    ("child offsets fall", "table", lambda: route_with(0, buffers=[None, i32(0, 9, 3, 1), bytes(20)]), "fall"),
    ("table of negative length", "table", lambda: route(length=-1), "length -1"),
    ("table of huge length", "table", lambda: route(length=HUGE), "length"),
    ("table nulls without a bitmap", "table", lambda: route(null_count=2), "validity"),
    ("table with two buffers", "table", lambda: route(buffers=[None, None]), "2 buffers"),
    ("a name twice", "table", lambda: route_with(1, name=b"device"), "two columns named"),
    ("a name not UTF-8", "table", lambda: route_with(1, name=b"\xff"), "not UTF-8"),
    (
        "a child list for text",
        "table",
        lambda: with_child(0, Node(b"+l", 3, [None, i32(0, 0, 0, 0)], name=b"device", children=[text(b"item")])),
        "expected",
    ),
]

ERROR = ValueError(b"disk on fire")

STREAMS = [
    ("error for a schema", "bytes", lambda: Streamer(ERROR, []), "disk on fire"),
    ("error at once", "bytes", lambda: Streamer(binary(), [ERROR]), "disk on fire"),
    ("error in mid-stream", "bytes", lambda: Streamer(binary(), [binary(), binary(), ERROR]), "disk on fire"),
    ("error without a word", "bytes", lambda: Streamer(binary(), [binary(), ERROR], silent=True), "error 5"),
    ("error not UTF-8", "bytes", lambda: Streamer(binary(), [ValueError(b"\xff\xfe")]), "error 5"),
    ("error of a million bytes", "bytes", lambda: Streamer(binary(), [ValueError(b"x" * 10**6)]), "xxx"),
    ("error and no get_last_error", "bytes", lambda: Streamer(binary(), [ERROR], {"get_last_error": None}), "error 5"),
    ("no get_schema", "bytes", lambda: Streamer(binary(), [], {"get_schema": None}), "without get_schema"),
    ("no get_next", "bytes", lambda: Streamer(binary(), [], {"get_next": None}), "without get_next"),
    ("stream released", "bytes", lambda: Streamer(binary(), [], {"release": None}), "used up"),
    ("stream schema released", "bytes", lambda: Streamer(binary(schema={"release": None}), []), "released"),
    ("second array of another type", "bytes", lambda: Streamer(binary(), [binary(), ints()]), "2 buffers"),
    ("second array broken", "bytes", lambda: Streamer(binary(), [binary(), binary((0, 3, 1))]), "fall"),
    (
        "second array of negative length",
        "bytes",
        lambda: Streamer(binary(), [binary(), binary(length=-5)]),
        "length -5",
    ),
    (
        "second batch short of a child",
        "table",
        lambda: Streamer(route(), [route(), table(*route().children[:3])]),
        "3 children",
    ),
    (
        "arrays of over the limit in all",
        "bytes",
        lambda: Streamer(Node(b"n", 0, []), [Node(b"n", 2**30, [])] * 2),
        "2147483648 rows",
    ),
    ("stream of another name", "bytes", lambda: Streamer(binary(), [], name=b"arrow_stream"), "capsule"),
]

CAPSULES = [
    ("schema of another name", "bytes", lambda: Producer(binary(), names=(b"schema", b"arrow_array")), "capsule"),
    ("array of another name", "bytes", lambda: Producer(binary(), names=(b"arrow_schema", b"arrow_schema")), "capsule"),
    ("capsules swapped", "bytes", lambda: Producer(binary(), shape=lambda pair: pair[::-1]), "capsule"),
    ("one capsule", "bytes", lambda: Producer(binary(), shape=lambda pair: pair[0]), "pair"),
    ("three capsules", "bytes", lambda: Producer(binary(), shape=lambda pair: (*pair, None)), "pair"),
    ("a list of capsules", "bytes", lambda: Producer(binary(), shape=list), "pair"),
    ("nothing", "bytes", lambda: Producer(binary(), shape=lambda _: None), "pair"),
    ("no capsules", "bytes", lambda: Producer(binary(), shape=lambda _: (1, 2)), "capsule"),
]

CASES = [
    *((name, kind, lambda make=make: Producer(make()), says) for name, kind, make, says in ARRAYS),
    *STREAMS,
    *CAPSULES,
]

# What must be taken all the same: name, kind, what makes it, the rows (bytes and ints only)
HONEST = [
    ("plain", "bytes", binary, [b"a", b"bc"]),
    ("large", "bytes", lambda: binary(large=True), [b"a", b"bc"]),
    ("slice", "bytes", lambda: binary((0, 1, 3, 3), offset=1, length=2), [b"bc", b""]),
    ("unknown null count", "bytes", lambda: binary(null_count=-1), [b"a", b"bc"]),
    ("nulls", "bytes", lambda: Node(b"z", 2, [b"\2", i32(0, 1, 3), b"abc"], null_count=-1), [None, b"bc"]),
    (
        "nulls in a slice",
        "bytes",
        lambda: Node(b"z", 2, [b"\4", i32(0, 0, 1, 3), b"abc"], offset=1, null_count=1),
        [None, b"bc"],
    ),
    ("no rows, no buffers", "bytes", lambda: Node(b"z", 0, [None, None, None]), []),
    ("no rows, huge offset", "ints", lambda: Node(b"l", 0, [None, None], offset=2**30), []),
    ("empty rows without data", "bytes", lambda: Node(b"z", 2, [None, i32(0, 0, 0), None]), [b"", b""]),
    ("empty rows far out without data", "bytes", lambda: Node(b"z", 2, [None, i32(9, 9, 9), None]), [b"", b""]),
    ("crooked offsets", "bytes", lambda: Node(b"z", 2, [None, Crooked(i32(0, 1, 3)), b"abc"]), [b"a", b"bc"]),
    (
        "crooked large offsets",
        "bytes",
        lambda: Node(b"Z", 2, [None, Crooked(i64(0, 1, 3)), Crooked(b"abc")]),
        [b"a", b"bc"],
    ),
    (
        "crooked views",
        "bytes",
        lambda: views(buffers=[None, Crooked(LONG_AT_8 + view(2, b"hi")), b"x" * 40, Crooked(i64(40))], length=2),
        [b"x" * 20, b"hi"],
    ),
    ("views inline", "bytes", lambda: views(view(12, b"0123456789ab"), view(0), data=()), [b"0123456789ab", b""]),
    ("views inline, lengths null", "bytes", lambda: views(buffers=[None, view(1, b"a"), None], length=1), [b"a"]),
    (
        "a null view of nonsense",
        "bytes",
        lambda: views(LONG, struct.pack("i4sii", 99, b"", 7, -1), validity=b"\1", null_count=1),
        [b"x" * 20, None],
    ),
    ("dictionary", "bytes", dictionary, [b"a", b"bc", b"bc"]),
    (
        "a null code of nonsense",
        "bytes",
        lambda: dictionary(buffers=[b"\3", b"\0\1\x63"], null_count=1),
        [b"a", b"bc", None],
    ),
    ("ints", "ints", ints, [1, 2, 3]),
    ("crooked ints", "ints", lambda: ints(Crooked(i64(1, 2, 3))), [1, 2, 3]),
    (
        "crooked ints with nulls",
        "ints",
        lambda: ints(buffers=[b"\5", Crooked(i64(1, 2, 3))], null_count=-1),
        [1, None, 3],
    ),
    (
        "a null beyond 63 bits",
        "ints",
        lambda: ints(buffers=[b"\3", i64(1, 2, -1)], code=b"L", null_count=1),
        [1, 2, None],
    ),
    ("bitmap that says more than the count", "ints", lambda: ints(buffers=[b"\3", i64(1, 2, 3)]), [1, 2, None]),
]
