"""Which modules each module of a Rust crate names, read from its `use` lines and paths."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

Module = tuple[str, ...]
Arrow = tuple[Module, Module]


def module_of(path: Path) -> Module:
    """Return the module that a file below `src` is: `route/mod.rs` is ("route",), `lib.rs` is ()."""
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def paths_of(code: str) -> Iterator[Module]:
    """Yield every path that begins with crate, self or super, each member of a braced list on its own."""
    for found in re.finditer(r"\b(?:crate|self|super)\b(?=::)", code):
        yield from members(code, found.start())


def members(code: str, at: int) -> list[Module]:
    found = re.compile(r"\s*(\w+|\*)?((?:\s*::\s*\w+)*)\s*(::\s*[{*])?").match(code, at)
    assert found
    own = tuple(re.findall(r"\w+", (found[1] or "") + (found[2] or "")))
    if not (found[3] or "").endswith("{"):
        return [own]
    inner, depth, start = [], 1, found.end()
    for place in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[place], 0)
        if depth == 0 or (depth == 1 and code[place] == ","):
            inner += members(code, start)
            start = place + 1
        if depth == 0:
            break
    return [own + path for path in inner]


def absolute(module: Module, path: Module) -> Module:
    """Return a path as seen from the root of the crate."""
    if path[0] == "crate":
        return path[1:]
    while path and path[0] in ("self", "super"):
        module, path = (module[:-1] if path[0] == "super" else module), path[1:]
    return module + path


def arrows(source: Path) -> set[Arrow]:
    """Return (module, module that it names) for the files below `source`, without tests and without a module's own folder."""
    files = {module_of(path.relative_to(source)): path.read_text() for path in source.rglob("*.rs")}
    found = set()
    for module, text in files.items():
        if "tests" in module:
            continue
        code = re.sub(r"//[^\n]*", "", text).split("#[cfg(test)]\nmod tests {")[0]
        children = {path[-1] for path in files if path[:-1] == module and path}
        own = {("self", name) for name in re.findall(r"(?<!::)\b(\w+)::", code) if name in children}
        for path in own.union(paths_of(code)):
            target = absolute(module, path)
            while target and target not in files:
                target = target[:-1]
            if target != module[: len(target)]:
                found.add((module, target))
    return found


def upward(found: Iterable[Arrow], layers: list[str]) -> list[str]:
    """Return the arrows that do not point to a lower layer; `|` parts modules of one layer."""
    layer_of = {name.strip(): at for at, layer in enumerate(layers) for name in layer.split("|")}
    return sorted(
        f"{'::'.join(module)} names {'::'.join(target)}"
        for module, target in found
        if module and target and module[0] != target[0] and layer_of[module[0]] >= layer_of[target[0]]
    )


def circle(found: Iterable[Arrow]) -> list[str]:
    """Return the modules that name each other in circles, or that lie between two of these; nothing if there is none."""
    left = set(found)
    while kept := {
        arrow for arrow in left if arrow[0] in {to for _, to in left} and arrow[1] in {of for of, _ in left}
    }:
        if kept == left:
            break
        left = kept
    return sorted("::".join(module) for module in {module for arrow in kept for module in arrow})
