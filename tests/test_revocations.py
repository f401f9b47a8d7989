"""Revocations: the five codes, watermarks, staleness, versions, and the strict form of a snapshot."""

import pickle
from base64 import b64encode, urlsafe_b64encode

import pytest

from helpers import (
    DAY,
    DEVICE,
    ISSUER,
    KEYRING,
    NOW,
    SECOND_ISSUER,
    SIGNERS,
    STRANGER,
    code_of,
    delegation,
    entry,
    public,
    ring,
    snapshot,
    token,
)
from itron_core import (
    Code,
    InputError,
    ItronCoreError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Revocations,
    TokenRefused,
    issue_revocations,
    process_route,
)
from itron_core._rust import accepted_revocations
from itron_core.enums import TOKEN_TYPES
from reference.build import sign, token_id

pytestmark = pytest.mark.kernels

FRESH = {"version": 1, "expires_at": NOW + 60}
CTI = token_id(100_000_001, 7)


def refusal(made, keyring=KEYRING, *, signer=ISSUER, now=NOW, **options):
    """Return the code with which a snapshot is refused, 0 when it is taken."""
    try:
        Revocations.from_token(sign(signer, "revocation", made), keyring, now=now, **options)
    except TokenRefused as refused:
        return int(refused.code)
    return 0


# The five codes.


def test_a_stale_snapshot_refuses_everything_and_without_skew():
    """600 from its expiry on, whatever the skew of the call."""
    empty = Revocations(version=1, expires_at=NOW)
    for now, code in ((NOW - 1, 0), (NOW, 600), (NOW + 1, 600)):
        for skew in (0, 120, 600):
            assert code_of(token(issued_at=NOW - 9), revocations=empty, now=now, skew=skew) == code


def test_a_revoked_issuer_is_601():
    revoked = Revocations(issuers=[ISSUER.kid], **FRESH)
    assert code_of(token(), revocations=revoked) == 601
    assert code_of(token(signer=SECOND_ISSUER), revocations=revoked) == 0


@pytest.mark.parametrize(
    "marks,changes,code",
    [
        ((0, 0, 0), {"sequence": 0, "epoch": 0}, 0),
        ((7, 0, 0), {"sequence": 7}, 0),
        ((8, 0, 0), {"sequence": 7}, 602),
        ((0, NOW, 0), {}, 0),
        ((0, NOW + 1, 0), {}, 602),
        ((0, 0, 4), {"epoch": 4}, 0),
        ((0, 0, 5), {"epoch": 4}, 602),
        ((8, NOW + 1, 5), {}, 602),
        ((2**64 - 1, 0, 0), {"sequence": 2**63 - 1}, 602),
        ((0, 2**64 - 1, 0), {}, 602),
        ((0, 0, 2**64 - 1), {"epoch": 2**32 - 1}, 602),
    ],
)
def test_below_any_of_three_watermarks_is_602(marks, changes, code):
    revoked = Revocations(devices={DEVICE: marks}, **FRESH)
    assert code_of(token(**changes), revocations=revoked) == code
    assert code_of(token(device="ert:2", **changes), revocations=revoked) == 0


def test_an_epoch_below_the_device_s_is_603():
    for revocations in (None, Revocations(**FRESH)):
        assert code_of(token(epoch=3), epoch=4, revocations=revocations) == 603
        assert code_of(token(epoch=4), epoch=4, revocations=revocations) == 0


def test_a_revoked_token_is_604_by_kid_and_cti_together():
    revoked = Revocations(tokens=[(ISSUER.kid, CTI)], **FRESH)
    assert code_of(token(), revocations=revoked) == 604
    assert code_of(token(sequence=8), revocations=revoked) == 0
    assert code_of(token(signer=SECOND_ISSUER), revocations=revoked) == 0


def test_both_forms_of_an_ecdsa_signature_are_one_token_to_revocation():
    """r, n - s is another token of the same (kid, cti): it is revoked as well."""
    from reference.signatures import P256_N

    one = token(signer=SECOND_ISSUER)
    s = int.from_bytes(one[-32:], "big")
    twin = one[:-32] + (P256_N - s).to_bytes(32, "big")
    assert twin != one
    assert code_of(twin) == 0
    revoked = Revocations(tokens=[(SECOND_ISSUER.kid, CTI)], **FRESH)
    assert [code_of(each, revocations=revoked) for each in (one, twin)] == [604, 604]


def test_watermarks_do_not_apply_to_a_delegation():
    made = delegation(STRANGER, aud=DEVICE)
    revoked = Revocations(devices={DEVICE: (2**63, 2**63, 2**63)}, **FRESH)
    assert code_of(sign(ISSUER, "delegation", made), token_type="delegation", revocations=revoked) == 0
    revoked = Revocations(tokens=[(ISSUER.kid, STRANGER.kid * 2)], **FRESH)
    assert code_of(sign(ISSUER, "delegation", made), token_type="delegation", revocations=revoked) == 604


def test_a_route_is_decided_with_the_snapshot_s_codes():
    route = {
        "device": [DEVICE, "ert:2"],
        "device_class": ["enhanced"] * 2,
        "security_level": ["full"] * 2,
        "action": ["read_endpoint"] * 2,
        "reading_key": [token("reading_key"), token("reading_key", device="ert:2")],
    }
    revoked = Revocations(devices={DEVICE: (8, 0, 0)}, **FRESH)
    results = process_route(route, KEYRING, now=NOW, permissions=31, revocations=revoked).to_pydict()
    assert (results["reason"], results["reading_key_code"]) == ([602, 0], [602, 0])
    stale = Revocations(version=1, expires_at=NOW)
    results = process_route(route, KEYRING, now=NOW, permissions=31, revocations=stale).to_pydict()
    assert results["reason"] == [600, 600]


# Snapshots.


def test_a_signed_snapshot_may_come_as_text():
    """As every token may: base64, base64url or hexadecimal (format.md, code 2)."""
    one = sign(ISSUER, "revocation", snapshot(version=7))
    for text in (b64encode(one).decode(), urlsafe_b64encode(one).decode().rstrip("="), one.hex()):
        assert Revocations.from_token(text, KEYRING, now=NOW) == Revocations.from_token(one, KEYRING, now=NOW)
        assert accepted_revocations(text).version == 7
    for text, code in (("0oR!", Code.TEXT_UNREADABLE), ("", Code.NO_TOKEN), (None, Code.NO_TOKEN)):
        with pytest.raises(TokenRefused) as refused:
            Revocations.from_token(text, KEYRING, now=NOW)
        assert refused.value.code == code


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_signed_snapshot_is_read_whole(algorithm):
    kids = sorted(bytes([n]) * 8 for n in range(5))
    devices = [("ert:1", 1, 2, 3), (DEVICE, 2**63, 2**64 - 1, 0), ("eui64:0001000000000000", 0, 0, 0)]
    tokens = sorted([(kids[1], bytes(16)), (kids[1], b"\x01" * 16), (kids[2], bytes(16))])
    made = snapshot(version=2**64 - 1, issuers=kids, devices=sorted(devices), tokens=tokens)
    one = sign(SIGNERS[algorithm], "revocation", made)
    read = Revocations.from_token(one, KEYRING, now=NOW)
    assert (read.version, read.expires_at) == (2**64 - 1, NOW + 3_600)
    assert read.issuers == kids
    assert read.devices == {device: marks for device, *marks in ((d[0], d[1:]) for d in devices) for marks in marks}
    assert read.tokens == tokens


@pytest.mark.slow
def test_a_snapshot_may_be_larger_than_a_token():
    """30,000 revoked devices; the limit of 1,024 bytes is that of tokens."""
    devices = sorted((f"ert:{n}", n, NOW, 1) for n in range(30_000))
    one = sign(ISSUER, "revocation", snapshot(devices=devices))
    assert len(one) > 400_000
    read = Revocations.from_token(one, KEYRING, now=NOW)
    assert len(read.devices) == 30_000
    assert code_of(token(device="ert:29999", sequence=29_998), revocations=read) == 602
    assert code_of(token(device="ert:29999", sequence=29_999), revocations=read) == 0


def test_a_snapshot_is_refused_as_a_row_s_token():
    one = sign(ISSUER, "revocation", snapshot())
    assert code_of(one) == Code.TYP_MISMATCH
    with pytest.raises(InputError, match="from_token"):
        code_of(one, token_type="revocation")


def test_a_token_is_refused_as_a_snapshot():
    with pytest.raises(TokenRefused) as refused:
        Revocations.from_token(token(), KEYRING, now=NOW)
    assert refused.value.code is Code.TYP_MISMATCH


def test_a_version_below_the_last_one_taken_is_refused():
    """The same version is taken again; a lower one raises, but is no fault of the token."""
    one = sign(ISSUER, "revocation", snapshot(version=7))
    for newer_than in (None, 0, 6, 7):
        assert Revocations.from_token(one, KEYRING, now=NOW, newer_than=newer_than).version == 7
    with pytest.raises(ItronCoreError, match=r"7.*8") as raised:
        Revocations.from_token(one, KEYRING, now=NOW, newer_than=8)
    assert not isinstance(raised.value, TokenRefused)


def test_a_snapshot_lives_a_day_and_a_week_at_most():
    assert refusal(snapshot(lifetime=DAY)) == 0
    assert refusal(snapshot(lifetime=DAY + 1)) == Code.LIFETIME_TOO_LONG
    assert refusal(snapshot(lifetime=7 * DAY), max_lifetime=7 * DAY) == 0
    assert refusal(snapshot(lifetime=7 * DAY + 1), max_lifetime=7 * DAY) == Code.LIFETIME_TOO_LONG
    assert refusal(snapshot(lifetime=61), max_lifetime=60) == Code.LIFETIME_TOO_LONG
    for wrong in (0, -1, 604_801, 2**64, True, 60.0, None):
        with pytest.raises(InputError, match="max_lifetime: got"):
            refusal(snapshot(), max_lifetime=wrong)


@pytest.mark.parametrize("wrong", [-1, 2**64, True, 1.0, "1"])
def test_newer_than_is_a_version(wrong):
    with pytest.raises(InputError, match="newer_than: got"):
        Revocations.from_token(snapshot(), KEYRING, now=NOW, newer_than=wrong)


def test_a_snapshot_is_verified_like_every_token():
    assert refusal(snapshot()) == 0
    assert refusal(snapshot(), signer=STRANGER) == Code.KEY_UNKNOWN
    assert refusal(snapshot(issued_at=NOW + 121)) == Code.IAT_IN_FUTURE
    assert refusal(snapshot(), now=NOW + 3_600 + 120) == Code.EXPIRED
    assert refusal(snapshot() | {9: b"\x80"}) == Code.CLAIM_UNKNOWN
    assert refusal(snapshot() | {5: NOW}) == Code.CLAIM_UNKNOWN
    assert refusal(snapshot(iss=None)) == Code.CLAIM_MISSING
    assert refusal(snapshot(), ring(ISSUER, token_types=["authorization"])) == Code.KEY_NOT_FOR_TYPE
    assert refusal(snapshot(), ring(ISSUER, valid_from=NOW + 1)) == Code.ISSUER_WINDOW


def test_an_entry_with_an_audience_prefix_signs_no_snapshot():
    assert refusal(snapshot(), ring(ISSUER, audience_prefix="ert:")) == Code.CEILING_EXCEEDED
    assert refusal(snapshot(), ring(ISSUER, actions=0)) == 0


@pytest.mark.parametrize(
    "name,key,rising,equal",
    [
        ("issuers", -65542, [b"\x00" * 8, b"\x00" * 7 + b"\x01", b"\xff" * 8], [b"a" * 8, b"a" * 8]),
        (
            "devices",
            -65543,
            [["ert:10", 9, 9, 9], ["ert:2", 0, 0, 0], ["eui64:0001000000000000", 1, 1, 1]],
            [["ert:2", 0, 0, 0], ["ert:2", 1, 1, 1]],
        ),
        (
            "tokens",
            -65544,
            [[b"a" * 8, b"b" * 16], [b"a" * 8, b"c" * 16], [b"b" * 8, b"a" * 16]],
            [[b"a" * 8, b"b" * 16], [b"a" * 8, b"b" * 16]],
        ),
    ],
)
def test_lists_rise_strictly(name, key, rising, equal):
    """Bytewise; equal neighbours, falling ones, and equal ones apart are 404."""
    assert refusal(snapshot(**{name: rising})) == 0
    assert refusal(snapshot(**{name: rising[::-1]})) == Code.CLAIM_RANGE
    assert refusal(snapshot(**{name: equal})) == Code.CLAIM_RANGE
    assert refusal(snapshot(**{name: [*rising, rising[0]]})) == Code.CLAIM_RANGE


@pytest.mark.parametrize(
    "key,value,code",
    [
        (-65541, -1, 402),
        (-65541, "1", 402),
        (-65542, b"", 402),
        (-65542, [b"short"], 404),
        (-65542, [7], 402),
        (-65543, [["ert:1", 0, 0]], 402),
        (-65543, [["ert:1", 0, 0, 0, 0]], 402),
        (-65543, [["ert:1", -1, 0, 0]], 402),
        (-65543, [["ert:01", 0, 0, 0]], 404),
        (-65543, [[b"ert:1", 0, 0, 0]], 402),
        (-65543, ["ert:1"], 402),
        (-65544, [[b"a" * 8]], 402),
        (-65544, [[b"a" * 8, b"b" * 15]], 404),
        (-65544, [[b"a" * 7, b"b" * 16]], 404),
        (-65544, [["a" * 8, b"b" * 16]], 402),
    ],
    ids=str,
)
def test_a_row_of_another_form_has_its_code(key, value, code):
    assert refusal(snapshot() | {key: value}) == code


def test_a_delegated_key_may_sign_snapshots_where_its_delegation_says_so():
    made = sign(ISSUER, "delegation", delegation(STRANGER, types=("revocation",)))
    keyring = ring(ISSUER).with_delegations([made], now=NOW)
    assert refusal(snapshot(), keyring, signer=STRANGER) == 0
    made = sign(ISSUER, "delegation", delegation(STRANGER, types=("revocation",), aud="ert:"))
    keyring = ring(ISSUER).with_delegations([made], now=NOW)
    assert refusal(snapshot(), keyring, signer=STRANGER) == Code.CEILING_EXCEEDED


# Under the snapshot in force.


@pytest.mark.parametrize(
    "revoked,code",
    [
        ({"issuers": [ISSUER.kid]}, 601),
        ({"issuers": [SECOND_ISSUER.kid]}, 0),
        ({"tokens": [(ISSUER.kid, CTI)]}, 0),
        ({"devices": {DEVICE: (2**63, 2**63, 2**63)}}, 0),
    ],
    ids=str,
)
def test_a_revoked_key_signs_no_later_snapshot(revoked, code):
    """However long ago the one in force expired: it refuses its signer still, and never its successor."""
    for expires_at in (NOW + 60, NOW, NOW - DAY):
        in_force = Revocations(version=1, expires_at=expires_at, **revoked)
        assert refusal(snapshot(version=2), revocations=in_force) == code


@pytest.mark.parametrize(
    "revoked,code",
    [
        ({"issuers": [ISSUER.kid]}, 601),
        ({"issuers": [STRANGER.kid]}, 601),
        ({"tokens": [(ISSUER.kid, STRANGER.kid * 2)]}, 604),
        ({"tokens": [(STRANGER.kid, STRANGER.kid * 2)]}, 0),
    ],
    ids=str,
)
def test_a_delegated_signer_goes_with_its_parent_and_its_delegation(revoked, code):
    made = sign(ISSUER, "delegation", delegation(STRANGER, types=("revocation",)))
    keyring = ring(ISSUER).with_delegations([made], now=NOW)
    in_force = Revocations(version=1, expires_at=NOW + 60, **revoked)
    assert refusal(snapshot(version=2), keyring, signer=STRANGER, revocations=in_force) == code


@pytest.mark.parametrize(
    "copied", [lambda one: one, lambda one: pickle.loads(pickle.dumps(one))], ids=["read", "pickled"]
)
def test_the_version_in_force_is_taken_again_only_as_the_same_bytes(copied):
    one = sign(ISSUER, "revocation", snapshot(version=7, issuers=[STRANGER.kid]))
    in_force = copied(Revocations.from_token(one, KEYRING, now=NOW))
    assert Revocations.from_token(one, KEYRING, now=NOW, revocations=in_force) == in_force
    others = [
        sign(SECOND_ISSUER, "revocation", snapshot(version=7, issuers=[STRANGER.kid])),
        sign(ISSUER, "revocation", snapshot(version=7)),
        sign(ISSUER, "revocation", snapshot(version=6, issuers=[STRANGER.kid])),
    ]
    for other in others:
        with pytest.raises(ItronCoreError, match=r"snapshot: got .*version") as raised:
            Revocations.from_token(other, KEYRING, now=NOW, revocations=in_force)
        assert not isinstance(raised.value, TokenRefused)
    later = sign(ISSUER, "revocation", snapshot(version=8))
    assert Revocations.from_token(later, KEYRING, now=NOW, newer_than=3, revocations=in_force).version == 8


def test_a_plain_key_signs_neither_snapshots_nor_delegations():
    plain, named = Keyring([public(ISSUER)]), Keyring([KeyringEntry(public(ISSUER), token_types=["revocation"])])
    assert refusal(snapshot(), plain) == Code.KEY_NOT_FOR_TYPE
    assert refusal(snapshot(), named) == 0
    with pytest.raises(TokenRefused, match="key_not_for_type"):
        plain.with_delegations([sign(ISSUER, "delegation", delegation(STRANGER))], now=NOW)


def test_an_accepted_snapshot_is_read_without_its_signer():
    """As the snapshot in force it still refuses a signer after it expired, when no keyring would verify it."""
    one = sign(ISSUER, "revocation", snapshot(version=7, issuers=[ISSUER.kid], lifetime=60))
    in_force = accepted_revocations(one)
    assert in_force == Revocations.from_token(one, KEYRING, now=NOW)
    later = sign(ISSUER, "revocation", snapshot(version=8, issued_at=NOW + DAY))
    with pytest.raises(TokenRefused, match="issuer_revoked"):
        Revocations.from_token(later, KEYRING, now=NOW + DAY, revocations=in_force)
    for wrong in (b"", one[:-70], token(), one + b"\0"):
        with pytest.raises(TokenRefused):
            accepted_revocations(wrong)


# The object.


def signs_snapshots(signer):
    return KeyringEntry(signer.public_key, token_types=TOKEN_TYPES)


def test_a_snapshot_issued_is_read_as_it_was():
    signer = LocalSigner.generate()
    wanted = Revocations(
        issuers=[b"b" * 8, b"a" * 8],
        devices={"ert:10": (1, 2, 3), "ert:2": (0, 0, 0)},
        tokens=[(b"b" * 8, b"x" * 16), (b"a" * 8, b"y" * 16)],
        version=9,
        expires_at=NOW + DAY,
    )
    one = issue_revocations(wanted, signer, issuer="officer", now=NOW)
    assert Revocations.from_token(one, Keyring([signs_snapshots(signer)]), now=NOW) == wanted
    empty = Revocations(**FRESH)
    one = issue_revocations(empty, signer, issuer="officer", now=NOW)
    assert Revocations.from_token(one, Keyring([signs_snapshots(signer)]), now=NOW) == empty


@pytest.mark.parametrize(
    "expires_at,issuer", [(NOW, "officer"), (NOW + 7 * DAY + 1, "officer"), (NOW + 60, ""), (NOW + 60, "x" * 65)]
)
def test_a_snapshot_that_the_reader_would_refuse_is_not_issued(expires_at, issuer):
    with pytest.raises(InputError):
        issue_revocations(Revocations(version=1, expires_at=expires_at), LocalSigner.generate(), issuer=issuer, now=NOW)


def test_a_snapshot_is_pickled_and_compared():
    one = Revocations(issuers=[ISSUER.kid], devices={DEVICE: (1, 2, 2**64 - 1)}, tokens=[(ISSUER.kid, CTI)], **FRESH)
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(pickle.loads(pickle.dumps(one))) == hash(one)
    assert one != Revocations(issuers=[ISSUER.kid], **FRESH)
    assert code_of(token(), revocations=pickle.loads(pickle.dumps(one))) == 601


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuers": [b"short"]},
        {"issuers": ["eight678"]},
        {"issuers": 7},
        {"devices": {"ert:01": (0, 0, 0)}},
        {"devices": {"nothing": (0, 0, 0)}},
        {"devices": {DEVICE: (0, 0)}},
        {"devices": {DEVICE: (-1, 0, 0)}},
        {"devices": {DEVICE: 5}},
        {"devices": [DEVICE]},
        {"tokens": [(b"a" * 8,)]},
        {"tokens": [(b"a" * 8, b"b" * 15)]},
        {"tokens": [b"a" * 24]},
        {"version": -1},
        {"version": 1.0},
        {"version": True},
        {"version": None},
        {"expires_at": "tomorrow"},
        {"expires_at": -1},
        {"expires_at": 1.5},
    ],
    ids=str,
)
def test_an_invalid_revocation_raises(wrong):
    with pytest.raises((ItronCoreError, TypeError)):
        Revocations(**FRESH | wrong)


def test_a_version_has_64_bits_as_in_a_signed_snapshot():
    """The signed form carries any uint; the object must be able to say the same."""
    assert Revocations(version=2**64 - 1, expires_at=NOW).version == 2**64 - 1


def test_a_snapshot_of_the_object_and_of_the_token_are_pickled_alike():
    one = sign(ISSUER, "revocation", snapshot(version=2**64 - 1))
    read = Revocations.from_token(one, KEYRING, now=NOW)
    assert pickle.loads(pickle.dumps(read)) == read


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_a_signed_snapshot_is_any_buffer(make):
    """As the stub says of `token`, and as `verify_token` takes it."""
    one = sign(ISSUER, "revocation", snapshot(version=5))
    assert Revocations.from_token(make(one), KEYRING, now=NOW).version == 5


def test_a_call_takes_only_a_snapshot():
    for wrong in ([], {}, 5, "none", entry(ISSUER)):
        with pytest.raises(InputError, match="Revocations"):
            code_of(token(), revocations=wrong)
