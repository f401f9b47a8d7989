"""What an engineer writes to open protected readings: loops over `cryptography`, and the libraries that know the telegrams."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

import peers

if TYPE_CHECKING:
    from collections.abc import Sequence

Opened = list[bytes | None]


def mode_5(telegrams: Sequence[bytes], keys: Sequence[bytes]) -> Opened:
    """Open wmbus mode 5 with short headers, wholly encrypted."""
    opened: Opened = []
    for telegram, key in zip(telegrams, keys, strict=True):
        iv = telegram[2:10] + telegram[11:12] * 8
        plain = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor().update(telegram[15:])
        opened.append(plain if plain[:2] == b"\x2f\x2f" else None)
    return opened


def mode_5_derived(telegrams: Sequence[bytes], master: bytes, utility: bytes) -> Opened:
    """Derive each device's key, then open its telegram."""
    contexts = [cbor2.dumps([1, utility, telegram[2:10], 1]) for telegram in telegrams]
    return mode_5(telegrams, peers.pyca_derive(master, contexts, b"itron_core/v1/read-enc"))


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def mode_7(telegrams: Sequence[bytes], keys: Sequence[bytes]) -> Opened:
    """Open wmbus mode 7 behind an authentication layer with a MAC of 8 bytes."""
    opened: Opened = []
    for telegram, key in zip(telegrams, keys, strict=True):
        control, counter, mac, transport = telegram[14:15], telegram[15:19], telegram[19:27], telegram[27:]
        derived = counter + telegram[4:8] + b"\x07" * 7
        genuine = _cmac(_cmac(key, b"\1" + derived), control + counter + transport)[:8]
        if not hmac.compare_digest(genuine, mac):
            opened.append(None)
            continue
        cipher = Cipher(algorithms.AES(_cmac(key, b"\0" + derived)), modes.CBC(bytes(16)))
        opened.append(cipher.decryptor().update(transport[6:]))
    return opened


def dlms(messages: Sequence[bytes], keys: Sequence[bytes], authentication_keys: Sequence[bytes]) -> Opened:
    """Open general-glo-ciphering with encryption and a tag of 12 bytes."""
    opened: Opened = []
    for message, key, authentication_key in zip(messages, keys, authentication_keys, strict=True):
        nonce, tag = message[2:10] + message[12:16], message[-12:]
        decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, tag, min_tag_length=12)).decryptor()
        decryptor.authenticate_additional_data(message[11:12] + authentication_key)
        try:
            opened.append(decryptor.update(message[16:-12]) + decryptor.finalize())
        except InvalidTag:
            opened.append(None)
    return opened


def cose(readings: Sequence[bytes], keys: Sequence[bytes]) -> Opened:
    """Open COSE_Encrypt0 with A128GCM."""
    opened: Opened = []
    for reading, key in zip(readings, keys, strict=True):
        protected, _, sealed = cbor2.loads(reading).value
        nonce = cbor2.loads(protected)[5]
        try:
            opened.append(AESGCM(key).decrypt(nonce, sealed, cbor2.dumps(["Encrypt0", protected, b""])))
        except InvalidTag:
            opened.append(None)
    return opened


def dlms_cosem(messages: Sequence[bytes], keys: Sequence[bytes], authentication_keys: Sequence[bytes]) -> Opened:
    """Open with dlms-cosem's own classes."""
    from dlms_cosem import security
    from dlms_cosem.protocol.xdlms import GeneralGlobalCipher

    opened: Opened = []
    for message, key, authentication_key in zip(messages, keys, authentication_keys, strict=True):
        read = GeneralGlobalCipher.from_bytes(message)
        opened.append(
            security.decrypt(
                read.security_control,
                read.system_title,
                read.invocation_counter,
                key,
                read.ciphered_text,
                authentication_key,
            )
        )
    return opened


def pymbusparser(telegrams: Sequence[bytes], keys: Sequence[bytes]) -> list[object]:
    """Open and parse with m-bus-parser's binding."""
    from pymbusparser import parse

    return [parse(telegram, key=key) for telegram, key in zip(telegrams, keys, strict=True)]
