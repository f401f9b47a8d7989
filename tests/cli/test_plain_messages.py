"""What a command says of a wrong file or name: which one, and the command that makes it right."""

import pytest

pytest.importorskip("typer")

from itron_core.cli.columns import device_ids
from itron_core.cli.failures import Exit

pytestmark = pytest.mark.slow

NOW = "1795000000"


@pytest.fixture
def run(command, tmp_path):
    """Run a command in a folder with a key that is no JWK set."""
    (tmp_path / "root.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    return command


@pytest.mark.parametrize("line", ["server init tools", "field init tablet --tool t"])
def test_a_keyring_that_is_no_jwk_set_is_named(run, line):
    code, printed = run(f"{line} --keyring root.pem")
    assert (code, printed.startswith("itron-core: root.pem: ")) == (Exit.UNREADABLE, True)
    assert "itron-core keys public" in printed


def test_an_unknown_role_names_the_command_that_adds_one(run):
    assert run(f"manager init ism --utility UTIL0001 --now {NOW}")[0] == Exit.OK
    code, printed = run("manager user ism olga --role officer --unit gas")
    assert (code, "itron-core manager role HOME NAME" in printed) == (Exit.REFUSED, True)
    assert "set_role" not in printed


def test_a_field_tool_s_bearer_token_names_its_tool(run, tmp_path):
    assert run(f"manager init ism --utility UTIL0001 --now {NOW}")[0] == Exit.OK
    assert run("server init tools --keyring ism/root.jwks")[0] == Exit.OK
    code, printed = run("server bearer tools fred.bearer --user fred --role field_tool --unit gas")
    assert (code, "--tool TOOL" in printed) == (Exit.USAGE, True)
    assert not (tmp_path / "fred.bearer").exists()


@pytest.mark.parametrize(
    "text,says", [(None, "cannot be read: No such file"), ("{}", "is not the file of a simulated")]
)
def test_a_file_that_is_no_device_is_said_to_be_none(run, tmp_path, text, says):
    if text is not None:
        (tmp_path / "meter.json").write_text(text)
    code, printed = run("device show meter.json")
    assert (code, says in printed) == (Exit.UNREADABLE, True)
    assert "Errno" not in printed


def test_a_device_on_the_command_line_is_read_as_one_in_a_file():
    assert device_ids(["100000001", "ERT:7", "eui64:00078100AABBCCDD", "1,5e+08", "x"]) == [
        "ert:100000001",
        "ert:7",
        "eui64:00078100aabbccdd",
        "1,5e+08",
        "x",
    ]
    assert device_ids(None) is None
