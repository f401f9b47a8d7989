"""Writes docs/reference/: the public names from the stub and the docstrings, and every column of every result.

`docs/columns.toml` is the only source of what columns mean; their types are those of the results. A test holds the two together.
"""

import ast
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import itron_core
from itron_core import _rust

GROUPS = {
    "Verify": [
        "verify_tokens",
        "verify_token",
        "verify_stream",
        "verify_signatures",
        "Token",
        "TokenResults",
        "SignatureResults",
    ],
    "Keys": [
        "PublicKey",
        "Keyring",
        "KeyringEntry",
        "Revocations",
        "MasterKey",
        "DerivedKeys",
        "derive_keys",
        "derive_key",
    ],
    "Routes and policy": ["process_route", "process_batches", "RouteResults", "needs", "policy_table", "PolicyOptions"],
    "Times": ["check_sessions", "check_windows", "SessionResults"],
    "Readings": [
        *("open_readings", "open_reading_stream", "protect_readings", "ReadingKeys", "KeySource", "ReadingResults"),
        *("last_counters", "rising_counters"),
    ],
    "Issue": [
        "issue_tokens",
        "issue_delegation",
        "issue_revocations",
        "Signer",
        "LocalSigner",
        "Pkcs11Signer",
        "Pkcs11MasterKey",
    ],
    "Parties": ["SecurityManager", "ToolsServer", "FieldTool", "Device", "DeviceState", "Message", "Answer", "Outcome"],
    "The machine": ["cpu_features", "Column"],
    "Errors": [
        *("ItronCoreError", "InputError", "TokenRefused", "KeyRefused", "SignerError", "PinRefused", "StoreError"),
        *("ExchangeError", "RequestRefused", "AuditError"),
    ],
    "Enumerations": [
        *("Action", "ActionGroup", "Code", "Decision", "DeviceClass", "Mode", "Need", "Permission", "Protection"),
        *("ReadingCode", "ReadingKey", "Reason", "SecurityLevel"),
    ],
}
# Modules beside the package's own names, with the names that they offer.
MODULES = ("frames", "schemas", "keys_over_http", "report", "service", "service.metrics")
STUB = Path(itron_core.__file__).with_name("_rust.pyi")


def stub() -> dict:
    """Return the definitions of the stub by name."""
    return {
        node.name: node
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }


def signatures(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """Return the public signatures of a definition in the stub."""
    if isinstance(node, ast.FunctionDef):
        return [_signature(node)]
    found = []
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and (not part.name.startswith("_") or part.name == "__new__"):
            kinds = {one.id for one in part.decorator_list if isinstance(one, ast.Name)}
            if "property" in kinds:
                found.append(f"{node.name}.{part.name} -> {ast.unparse(part.returns)}")
            else:
                part.args.args = [one for one in part.args.args if one.arg not in {"self", "cls"}]
                part.args.posonlyargs = [one for one in part.args.posonlyargs if one.arg not in {"self", "cls"}]
                name = node.name if part.name == "__new__" else f"{node.name}.{part.name}"
                found.append(_signature(part, name))
    return list(dict.fromkeys(found))


def _signature(node: ast.FunctionDef, name: str | None = None) -> str:
    returned = "" if node.returns is None or node.name == "__new__" else f" -> {ast.unparse(node.returns)}"
    return f"{name or node.name}({ast.unparse(node.args)}){returned}"


def described(name: str, known: dict, module: object = itron_core) -> str:
    """Return a public name as Markdown: its signatures and its docstring."""
    value = getattr(module, name)
    # A function of the package may have the name of one of the extension.
    if name in known and value is getattr(_rust, name):
        lines = signatures(known[name])
    elif inspect.isclass(value) and issubclass(value, BaseException):
        lines = []
    elif inspect.isclass(value) and hasattr(value, "__members__"):
        return (
            f"### {name}\n\n{inspect.getdoc(value)}\n\n"
            + ", ".join(f"`{one.name}` {one.value}" for one in value)
            + "\n"
        )
    else:
        lines = [f"{name}{_python_signature(value)}"]
        if inspect.isclass(value):
            lines += [
                f"{name}.{part}{_python_signature(of)}"
                for part, of in vars(value).items()
                if inspect.isfunction(of) and not part.startswith("_")
            ]
    shown = "```python\n" + "\n".join(lines) + "\n```\n\n" if lines else ""
    return f"### {name}\n\n{shown}{inspect.getdoc(value) or ''}\n"


def _python_signature(value: object) -> str:
    try:
        shown = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()")
        return re.sub(r"(: |-> )'([^']*)'", r"\1\2", shown)  # annotations, which are texts
    except (TypeError, ValueError):
        return "(...)"


def api_page() -> str:
    """Return the page of all public names."""
    known = stub()
    parts = [
        "# Names",
        (
            "All names are in `itron_core`; [results](results.md) lists the columns that the calls return. A *column* is anything with Arrow's "
            "capsules, a buffer, or a plain sequence; a *time* is whole seconds since 1970 or an aware `datetime`."
        ),
    ]
    for title, names in GROUPS.items():
        parts += [f"## {title}", *(described(name, known) for name in names)]
    for module in MODULES:
        found = import_module(f"itron_core.{module}")
        parts += [f"## itron_core.{module}", (inspect.getdoc(found) or "").partition("\n\n")[0]]
        parts += [described(name, {}, found) for name in found.__all__ if callable(getattr(found, name))]
    return "\n\n".join(parts) + "\n"


def columns() -> dict:
    """Return what the columns of results mean, by result and name."""
    return tomllib.loads((Path(__file__).parents[1] / "columns.toml").read_text())


def results_page() -> str:
    """Return the page of all columns of all results."""
    parts = [
        "# Columns of results",
        (
            "One row per input row, in the same order. `names()` has the same columns with names in place of the numbers of codes, decisions, "
            "reasons and needs."
        ),
    ]
    for result, table in columns().items():
        lines = ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{name}` | {one['type']} | {one.get('unit', '')} | {one.get('null', 'never')} | {one['meaning']} |"
            for name, one in table["columns"].items()
        ]
        parts += [f"## {result}", table["of"], "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def write(app: object) -> None:
    """Write both pages."""
    folder = Path(app.srcdir) / "reference"
    folder.mkdir(exist_ok=True)
    for name, text in (("names.md", api_page()), ("results.md", results_page())):
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: object) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
