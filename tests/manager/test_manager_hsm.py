"""The security manager with its keys in an HSM: a real SoftHSM 2; skipped where the library is not installed."""

import shutil

import pytest

from itron_core import LocalSigner, MasterKey, SignerError, derive_keys, verify_token, verify_tokens
from itron_core.hsm import Pkcs11MasterKey, Pkcs11Signer
from itron_core.manager.security_manager import SecurityManager
from itron_core.stores import open_store
from test_hsm import KDFS, UTILITY, at, library, new_token, restart, token, tokens_folder  # noqa: F401  # fixtures, by name
from test_manager import DEVICES, NOW, disconnect, issued, peopled

NUMBERS = {"kbkdf-hmac-sha256": 1, "kbkdf-cmac-aes256": 2, "kbkdf-cmac-aes128": 4}


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "manager.db")
    yield store
    store.close()


def test_a_root_and_an_issuing_key_in_an_hsm(store, at):  # noqa: F811
    with (
        Pkcs11Signer.generate(**at, label="root", algorithm="ESP256") as root,
        Pkcs11Signer.generate(**at, label="issuing", algorithm="Ed25519") as signer,
    ):
        manager = peopled(SecurityManager(store, signer, root=root))
        manager.rotate(signer, now=NOW)
        disconnect(manager, DEVICES[:5])
        assert manager.issue(now=NOW).issued == 5
        tokens = [row.token for row in issued(manager)]
        codes = verify_tokens(tokens, manager.keyring(now=NOW), now=NOW, token_type="secure_command")["code"]
        assert codes.to_pylist() == [0] * 5


def test_a_token_that_is_gone_loses_nothing(store, at, library):  # noqa: F811
    with Pkcs11Signer.generate(**at, label="issuing", algorithm="Ed25519") as signer:
        manager = peopled(SecurityManager(store, signer))
        disconnect(manager, DEVICES[:5])
        shutil.rmtree(tokens_folder())
        tokens_folder().mkdir()
        restart(library)
        with pytest.raises(SignerError):
            manager.issue(now=NOW)
    assert issued(manager) == []
    assert SecurityManager(store, LocalSigner.generate()).issue(now=NOW + 5).issued == 5
    assert {(row.sequence, row.issued_at) for row in issued(manager)} == {(1, NOW)}


@pytest.mark.parametrize("kdf", NUMBERS)
def test_reading_keys_of_a_master_key_in_an_hsm(store, at, kdf):  # noqa: F811
    with Pkcs11MasterKey.import_bytes(KDFS[kdf], **at, label="master", kdf=kdf) as master:
        manager = peopled(SecurityManager(store, LocalSigner.generate(), master=master, utility=UTILITY))
        manager.request("olga", DEVICES[:3], token_type="reading_key", actions=1, now=NOW)
        manager.issue(now=NOW)
        rows = issued(manager)
    keys = derive_keys(MasterKey.from_bytes(KDFS[kdf]), [row.device for row in rows], utility=UTILITY, kdf=kdf)
    expected = memoryview(keys.check_values()).tolist()
    for row, value in zip(rows, expected, strict=True):
        grant = verify_token(row.token, manager.keyring(now=NOW), now=NOW, token_type="reading_key")
        assert grant.reading_key == (NUMBERS[kdf], 1, bytes(value))
