"""Tokens through the public calls: the worked example, damage of every kind, the order of checks, what columns tell."""

import base64
import copy
import datetime as dt
import random

import cbor2
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from helpers import (
    ALGORITHMS,
    COLUMNS,
    DAY,
    DEVICE,
    ISSUER,
    KEYRING,
    NOW,
    SECOND_ISSUER,
    SIGNERS,
    STRANGER,
    claims,
    code_of,
    codes_of,
    delegation,
    entry,
    ring,
    rows_of,
    scope,
    snapshot,
    token,
)
from itron_core import (
    Action,
    Code,
    Keyring,
    LocalSigner,
    PublicKey,
    ReadingKey,
    Revocations,
    TokenRefused,
    issue_tokens,
    verify_stream,
    verify_token,
    verify_tokens,
)
from reference.build import Parts, Signer, cose_key, envelope, header, sign, token_id
from reference.cbor import write
from reference.claims import TYPS

pytestmark = pytest.mark.kernels

TYPES = ("authorization", "secure_command", "reading_key", "delegation")
EXAMPLE = bytes.fromhex(
    "d284582aa3013204488 66eefbd6718c88410781a6170706c69636174696f6e2f782e6d74722d617574682b637774"
    "a05840"
    "a7036d6572743a313030303030303031041a6b06c140061a6afd86c007500000000005f5e1010000000000000007"
    "0945818201183f1828190e103a0001000004"
    "5840"
    "85362f7c599b2e158c87c74f1bd7428321655dba5aa63cdd3c00dfa9eaec981b57509d0e773c89b94063647b05ca2cc4910c84c13c3c8167"
    "af2323382c1acf02".replace(" ", "")
)
EXAMPLE_KEY = PublicKey.from_raw(
    "Ed25519", bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
)
EXAMPLE_TIME = 1_795_000_000


def utc(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


# The worked example of format.md.


def test_the_worked_example_verifies():
    """The page's 179 bytes: kid, claims and code as the page says; bit 5 of group 1 has no action."""
    assert len(EXAMPLE) == 179
    assert EXAMPLE_KEY.kid.hex() == "866eefbd6718c884"
    read = verify_token(EXAMPLE, Keyring([EXAMPLE_KEY]), now=EXAMPLE_TIME, audience=DEVICE, epoch=4)
    assert read.actions == {Action(number) for number in range(5)}
    assert (read.sequence, read.epoch, read.session_seconds, read.audience) == (7, 4, 3600, DEVICE)
    assert (read.issued_at, read.expires_at) == (utc(1_795_000_000), utc(1_795_604_800))
    assert read.not_before == read.issued_at


def test_issuing_reproduces_the_worked_example_except_the_bit_without_an_action():
    """The same request gives the same protected header and the same claims, with bits 31 in the place of 63."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = LocalSigner(Ed25519PrivateKey.from_private_bytes(seed))
    request = {"device": [DEVICE], "actions": [31], "sequence": [7], "epoch": [4], "session_seconds": [3600]}
    (issued,) = issue_tokens(request, signer, now=EXAMPLE_TIME).to_pylist()
    assert issued[:-66] == EXAMPLE[:-66].replace(b"\x82\x01\x18\x3f", b"\x82\x01\x18\x1f")


# A hundred tokens of each algorithm, all types, with every kind of optional claim.


def varied_claims(number, rng):
    token_type = TYPES[number % 4]
    if token_type == "delegation":
        child = Signer("ESP256" if number % 8 < 4 else "Ed25519", f"child {number}")
        made = delegation(child, types=rng.sample(list(TYPS), rng.randrange(1, 6)))
        return token_type, made | ({3: "ert:1"} if number % 3 else {}) | ({5: NOW - 60} if number % 5 else {})
    device = rng.choice([DEVICE, "ert:0", "ert:281474976710655", "eui64:0001000000000000", "eui64:00078100aabbccdd"])
    actions = [rng.randrange(5)] if token_type == "secure_command" else rng.sample(range(5), rng.randrange(1, 6))
    actions = (24,) if number % 8 == 1 else tuple(actions)
    made = claims(token_type, device=device, sequence=rng.randrange(2**63), actions=actions, issued_at=NOW - number)
    made |= {2: rng.choice(["worker 7", "é", "x" * 64])} if number % 3 else {}
    made |= {5: NOW - rng.randrange(DAY)} if number % 5 else {}
    confirmation = rng.choice([{3: rng.randbytes(8)}, {1: cose_key(ISSUER)}, {1: cose_key(SECOND_ISSUER)}])
    made |= {8: confirmation} if number % 7 > 3 else {}
    made |= {40: rng.randrange(60, 28_801)} if 40 in made else {}
    made |= {-65538: rng.randbytes(rng.choice([1, 16, 200]))} if token_type == "secure_command" else {}
    return token_type, made


def varied_tokens(algorithm, count=100):
    rng = random.Random(f"varied {algorithm}")
    for number in range(count):
        token_type, made = varied_claims(number, rng)
        yield token_type, sign(SIGNERS[algorithm], token_type, made)


@pytest.fixture(scope="module", params=ALGORITHMS)
def hundred(request):
    return list(varied_tokens(request.param))


def test_the_hundred_are_good_and_carry_every_optional_claim(hundred):
    """What follows damages good tokens: of all four types, with sub, nbf, cnf of every form, exi, and aud of both kinds."""
    seen, forms = set(), set()
    for token_type, one in hundred:
        assert code_of(one, now=NOW, token_type=token_type) == 0
        read = cbor2.loads(cbor2.loads(one).value[2])
        seen |= read.keys()
        forms |= {tuple(read[8])} if 8 in read else set()
    assert len(hundred) == 100
    assert seen == {1, 2, 3, 4, 5, 6, 7, 8, 9, 40, -65537, -65538, -65539, -65540}
    assert forms == {(1,), (3,)}


def by_type(hundred, damage):
    """Return all damaged tokens of each type in one list."""
    damaged = {token_type: [] for token_type in TYPES}
    for token_type, one in hundred:
        damaged[token_type] += damage(one)
    return damaged.items()


def bit_flips(data):
    whole = int.from_bytes(data, "big")
    return [(whole ^ 1 << bit).to_bytes(len(data), "big") for bit in range(len(data) * 8)]


@pytest.mark.slow
def test_every_single_bit_flip_is_refused_before_any_claim_is_trusted(hundred):
    """Each bit of each token, one at a time: 1xx, 2xx or 3xx, never a code that rests on the claims."""
    for token_type, damaged in by_type(hundred, bit_flips):
        codes = codes_of(damaged, now=NOW, token_type=token_type)
        assert len(codes) > 25 * 150 * 8
        assert {code // 100 for code in codes} <= {1, 2, 3}
        assert 1 not in codes
        assert Code.SIGNATURE_INVALID in codes


def test_a_token_cut_off_anywhere_is_refused(hundred):
    for token_type, damaged in by_type(hundred, lambda one: [one[:end] for end in range(len(one))]):
        codes = codes_of(damaged, now=NOW, token_type=token_type)
        assert set(codes) <= {Code.NO_TOKEN, Code.TOO_SMALL, Code.CBOR_MALFORMED}
        assert codes.count(1) == 25


@pytest.mark.slow
def test_a_token_that_lost_bytes_anywhere_is_refused(hundred):
    """One byte, two, or eight in a row taken out at every place."""

    def without(one):
        return [one[:at] + one[at + size :] for size in (1, 2, 8) for at in range(len(one) - size + 1)]

    for token_type, damaged in by_type(hundred, without):
        assert {code // 100 for code in codes_of(damaged, now=NOW, token_type=token_type)} <= {1, 2, 3}


@pytest.mark.slow
def test_a_token_that_gained_a_byte_anywhere_is_refused(hundred):
    """At every place, the end included: zero, all ones, a break, the byte that is there, a random one."""
    rng = random.Random(5)

    def longer(one):
        return [
            one[:at] + new + one[at:]
            for at in range(len(one) + 1)
            for new in (b"\x00", b"\xff", b"\xf6", one[at : at + 1] or b"\xa0", rng.randbytes(1))
        ]

    for token_type, damaged in by_type(hundred, longer):
        assert {code // 100 for code in codes_of(damaged, now=NOW, token_type=token_type)} <= {1, 2, 3}


@pytest.mark.slow
def test_every_byte_value_inserted_at_every_place_is_refused():
    for signer in SIGNERS.values():
        one = token(signer=signer)
        damaged = [one[:at] + bytes([new]) + one[at:] for at in range(len(one) + 1) for new in range(256)]
        assert {code // 100 for code in codes_of(damaged)} <= {1, 2, 3}


@pytest.mark.slow
def test_every_byte_put_in_the_place_of_another_is_refused():
    for signer in SIGNERS.values():
        one = token(signer=signer)
        damaged = [
            one[:at] + bytes([new]) + one[at + 1 :] for at in range(len(one)) for new in range(256) if new != one[at]
        ]
        assert {code // 100 for code in codes_of(damaged)} <= {1, 2, 3}


def test_parts_of_two_good_tokens_make_no_third():
    """Header, claims and signature of two tokens in all mixtures: only the two whole ones are good."""
    for first, second in (("Ed25519", "Ed25519"), ("ESP256", "ESP256"), ("Ed25519", "ESP256")):
        parts = [
            Parts(write(header(SIGNERS[name], "authorization")), write(claims(sequence=sequence)), SIGNERS[name])
            for sequence, name in enumerate((first, second))
        ]
        mixed = {
            (h, c, s): envelope(parts[h].protected, parts[c].payload, parts[s].signature())
            for h in (0, 1)
            for c in (0, 1)
            for s in (0, 1)
        }
        # With one key for both, the headers are the same bytes.
        alike = parts[0].protected == parts[1].protected
        for (h, c, s), one in mixed.items():
            is_whole = c == s and (alike or h == c)
            assert (code_of(one) == 0) == is_whole


def test_every_bit_flip_of_a_snapshot_of_revocations_is_refused():
    for signer in SIGNERS.values():
        made = snapshot(issuers=[b"12345678"], devices=[(DEVICE, 1, 2, 3)], tokens=[(b"12345678", bytes(16))])
        one = sign(signer, "revocation", made)
        assert Revocations.from_token(one, KEYRING, now=NOW).version == 1
        for damaged in bit_flips(one):
            with pytest.raises(TokenRefused) as refused:
                Revocations.from_token(damaged, KEYRING, now=NOW)
            assert refused.value.code // 100 in {1, 2, 3}


# Tokens as text.


def texts_of(token):
    plain, url = base64.b64encode(token).decode(), base64.urlsafe_b64encode(token).decode()
    wrapped = "\n".join(plain[at : at + 60] for at in range(0, len(plain), 60)) + "\r\n"
    return [
        *(plain, plain.rstrip("="), url, url.rstrip("="), wrapped, f"\t {url} "),
        *(token.hex(), token.hex().upper(), f"0x{token.hex()}", f"\\x{token.hex()}"),
    ]


UNREADABLE = [
    "no token",
    "0oR*",
    "0oRA=",
    "d28",
    "d284f",
    "d284 58",
    " d284",
    "0x",
    "9" * 20_000,
    "0oR\u00e9",
    "\ud800",
]


def columns_of_text(texts):
    yield texts
    yield tuple(texts)
    for dtype in (pa.string(), pa.large_string(), pa.string_view()):
        yield pa.array(texts, dtype)
        yield pa.array(["", *texts], dtype)[1:]
    yield pa.array(texts).dictionary_encode()
    yield pl.Series(texts)
    yield pd.Series(texts)
    yield pa.chunked_array([texts[:1], texts[1:]])


def test_a_token_may_come_as_text_in_every_column():
    whole = verify_tokens([token()] * 10, KEYRING, now=NOW).to_pydict()
    for column in columns_of_text(texts_of(token())):
        assert verify_tokens(column, KEYRING, now=NOW).to_pydict() == whole


def test_any_other_text_is_unreadable_before_all_checks():
    assert [codes_of([text])[0] for text in UNREADABLE] == [2] * len(UNREADABLE)
    written = [text for text in UNREADABLE if text.isascii()]
    for column in columns_of_text(written):
        assert verify_tokens(column, KEYRING, now=NOW)["code"].to_pylist() == [2] * len(written)
    assert codes_of(["", None, "d284", "d284" * 3_000]) == [1, 1, 101, 100]
    assert codes_of([texts_of(bytes.fromhex("d28458") + bytes(5_000))[0]]) == [100]


def test_bytes_and_text_stand_in_one_list():
    good = token()
    rows = [good, good.hex(), None, bytearray(good), "x", texts_of(good)[0], b""]
    assert codes_of(rows) == [0, 0, 1, 0, 2, 0, 1]
    assert codes_of(list(reversed(rows))) == [1, 0, 2, 0, 1, 0, 0]
    # Bytes are a token as it is, never its text.
    assert codes_of([good.hex().encode()]) == [110]


def test_one_token_may_be_text():
    for text in texts_of(token()):
        assert verify_token(text, KEYRING, now=NOW).audience == verify_token(token(), KEYRING, now=NOW).audience
    for text in UNREADABLE:
        with pytest.raises(TokenRefused) as refused:
            verify_token(text, KEYRING, now=NOW)
        assert refused.value.code is Code.TEXT_UNREADABLE


# What columns tell.


def test_columns_have_the_names_and_types_of_the_page():
    schema = pa.record_batch(verify_tokens([token()], KEYRING, now=NOW)).schema
    moment = pa.timestamp("us", "UTC")
    assert schema.names == list(COLUMNS)
    types = [
        pa.int16(),
        pa.int32(),
        moment,
        moment,
        moment,
        pa.int32(),
        pa.int64(),
        pa.int64(),
        pa.int64(),
        pa.binary(),
        pa.string(),
    ]
    assert schema.types == types


def test_claims_are_null_unless_the_signature_verified():
    """A forged token, however well-formed, shows no claim; one that is expired shows them all."""
    good = token(nbf=NOW - 5)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    unknown = token(signer=STRANGER)
    malformed = sign(ISSUER, "authorization", claims(exp="later"))
    expired = token(issued_at=NOW - 3 * DAY)
    results = verify_tokens([good, forged, unknown, malformed, expired, None, b""], KEYRING, now=NOW).to_pydict()
    assert results["code"][:5] == [0, results["code"][1], 230, 402, 502]
    assert results["code"][1] in {301, 302}
    assert results["code"][5:] == [1, 1]
    for name in ("issued_at", "not_before", "expires_at", "session_seconds", "actions", "sequence", "epoch"):
        assert [value is None for value in results[name]] == [False, True, True, True, False, True, True]
    assert results["key"] == [0, 0, None, 0, 0, None, None]
    # The kid stands in the header and is told when it could be read; it is no claim.
    assert results["kid"][0] == results["kid"][1] == ISSUER.kid
    assert results["kid"][5:] == [None, None]
    assert results["not_before"][0] == utc(NOW - 5)


@pytest.mark.parametrize("sequence", [0, 1, 2**32, 2**62, 2**63 - 1])
def test_a_sequence_is_below_2_to_63(sequence):
    assert verify_tokens([token(sequence=sequence)], KEYRING, now=NOW)["sequence"].to_pylist() == [sequence]
    too_high = token(cti=token_id(100_000_001, sequence + 2**63))
    assert code_of(too_high) == Code.CLAIM_RANGE


@pytest.mark.parametrize("epoch", [0, 1, 2**31, 2**32 - 1])
def test_an_epoch_has_32_bits(epoch):
    results = verify_tokens([token(epoch=epoch)], KEYRING, now=NOW)
    assert results["epoch"].to_pylist() == [epoch]
    assert code_of(token(epoch=epoch + 2**32)) == Code.CLAIM_RANGE


def test_a_token_object_tells_everything():
    key = token("reading_key", sub="worker 7", nbf=NOW - 9)
    read = verify_token(key, KEYRING, now=NOW, token_type="reading_key")
    assert read.reading_key == ReadingKey(1, 4, b"kcv.")
    assert (read.token_type, read.issuer, read.subject, read.audience) == ("reading_key", None, "worker 7", DEVICE)
    assert (read.cti, read.kid) == (token_id(100_000_001, 7), ISSUER.kid)
    assert (read.session_seconds, read.command) == (None, None)
    command = verify_token(token("secure_command"), KEYRING, now=NOW, token_type="secure_command")
    assert (command.command, command.session_seconds, command.reading_key) == (b"command", None, None)
    opener = token("secure_command", actions=(24,))
    assert verify_token(opener, KEYRING, now=NOW, token_type="secure_command").session_seconds == 3_600
    delegated = sign(ISSUER, "delegation", delegation(STRANGER, aud="ert:1"))
    read = verify_token(delegated, KEYRING, now=NOW, token_type="delegation")
    assert (read.audience, read.sequence, read.epoch, read.cti) == ("ert:1", None, None, STRANGER.kid * 2)
    assert read.issuer is None  # the keyring entry's, not the delegation's own iss
    named = Keyring([entry(ISSUER, issuer="root")])
    assert verify_token(token(), named, now=NOW).issuer == "root"


def test_a_token_object_is_a_value_that_does_not_change():
    one, same, other = (verify_token(t, KEYRING, now=NOW) for t in (token(), token(), token(sequence=8)))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert len({one, same, other}) == 2
    for name in ("audience", "actions", "sequence"):
        with pytest.raises(AttributeError):
            setattr(one, name, None)
    assert DEVICE in repr(one)


def test_a_delegation_s_sequence_is_null():
    delegated = sign(ISSUER, "delegation", delegation(STRANGER))
    results = verify_tokens([delegated], KEYRING, now=NOW, token_type="delegation").to_pydict()
    assert results["code"] == [0]
    assert (results["sequence"], results["epoch"], results["session_seconds"]) == ([None], [None], [None])


def test_bits_and_groups_without_an_action_grant_nothing_and_are_no_error():
    """Group 0, groups above 5, bits 5 and above: the token is good and `actions` has the 24 alone."""
    odd = write([[0, 1], [1, 0xFFFFFFFF], [2, 1 << 31], [5, 0xF0], [6, 255], [2**64 - 1, 1]])
    results = verify_tokens([token(scope=odd)], KEYRING, now=NOW).to_pydict()
    assert (results["code"], results["actions"]) == ([0], [0b11111])


def test_actions_are_bits_of_their_numbers():
    for action in Action:
        (bits,) = verify_tokens([token(actions=(action,))], KEYRING, now=NOW)["actions"].to_pylist()
        assert bits == 1 << action


# Options.


def test_an_audience_is_one_for_all_or_one_per_row():
    tokens = [token(), token(device="ert:2"), token(device="ert:2")]
    assert codes_of(tokens, audience=DEVICE) == [0, 700, 700]
    assert codes_of(tokens, audience=[DEVICE, "ert:2", None]) == [0, 0, 0]
    assert codes_of(tokens, audience=["ert:2", DEVICE, DEVICE]) == [700] * 3
    assert codes_of(tokens, audience=["", "ert", "ert:22"]) == [700] * 3
    assert codes_of(tokens, audience=[DEVICE + "0", DEVICE, "no device"]) == [700] * 3


def test_an_epoch_is_one_for_all_or_one_per_row():
    """603 when the token's is lower than the device's; null is not asked."""
    tokens = [token(epoch=4)] * 5
    assert codes_of(tokens, epoch=4) == [0] * 5
    assert codes_of(tokens, epoch=5) == [603] * 5
    assert codes_of(tokens, epoch=[3, 4, 5, None, 2**40]) == [0, 0, 603, 0, 603]


@pytest.mark.parametrize("action", Action)
def test_an_authorization_covers_its_scope_and_open_session(action):
    covered = token(actions=(action,))
    others = token(actions=tuple(other for other in Action if other not in {action, Action.OPEN_SESSION}))
    assert code_of(covered, action=action) == 0
    assert code_of(others, action=action) == (0 if action is Action.OPEN_SESSION else 701)


def test_open_session_by_type_is_an_authorization_s_alone():
    assert code_of(token(), action=Action.OPEN_SESSION) == 0
    assert code_of(token("secure_command"), token_type="secure_command", action=Action.OPEN_SESSION) == 701
    assert code_of(token("reading_key"), token_type="reading_key", action=Action.OPEN_SESSION) == 701


@pytest.mark.parametrize("asked", TYPES)
@pytest.mark.parametrize("given", TYPES)
def test_a_token_of_another_type_is_refused(given, asked):
    made = delegation(STRANGER) if given == "delegation" else claims(given)
    one = sign(ISSUER, given, made)
    assert code_of(one, token_type=asked) == (0 if given == asked else Code.TYP_MISMATCH)


@pytest.mark.parametrize("skew", [0, 1, 120, 600])
def test_windows_are_half_open_and_widened_by_the_skew(skew):
    """nbf - skew <= now < exp + skew, and iat - skew <= now."""
    one = token(issued_at=NOW, nbf=NOW + 500, exp=NOW + 2_000)
    for now, code in (
        (NOW - skew - 1, 500),
        (NOW - skew, 501),
        (NOW + 499 - skew, 501),
        (NOW + 500 - skew, 0),
        (NOW + 1_999 + skew, 0),
        (NOW + 2_000 + skew, 502),
    ):
        assert code_of(one, now=now, skew=skew) == code
        assert code_of(one, now=utc(now), skew=skew) == code
    assert code_of(one, now=utc(NOW + 1_999 + skew) + dt.timedelta(microseconds=999_999), skew=skew) == 0


@pytest.mark.parametrize("skew", [0, 120, 600])
def test_no_arithmetic_wraps_at_the_ends_of_now(skew):
    one = token(issued_at=NOW)
    first, last = 1_577_836_800, 4_102_444_800
    assert code_of(one, now=first, skew=skew) == Code.IAT_IN_FUTURE
    assert code_of(one, now=last, skew=skew) == Code.EXPIRED
    assert code_of(one, now=last, skew=skew, epoch=2**63 - 1) == Code.EXPIRED
    assert code_of(one, epoch=-(2**63)) == 0


def test_the_default_skew_is_two_minutes():
    one = token(issued_at=NOW, exp=NOW + 60)
    assert [code_of(one, now=now) for now in (NOW - 121, NOW - 120, NOW + 179, NOW + 180)] == [500, 0, 0, 502]


@pytest.mark.parametrize(
    "token_type,default,hard",
    [("authorization", 7, 31), ("secure_command", 7, 31), ("reading_key", 7, 31), ("delegation", 400, 400)],
)
def test_lifetimes_have_a_default_and_a_hard_limit(token_type, default, hard):
    def living(seconds):
        made = delegation(STRANGER, lifetime=seconds) if token_type == "delegation" else claims(token_type)
        return sign(ISSUER, token_type, made | {4: NOW + seconds})

    assert code_of(living(default * DAY), token_type=token_type) == 0
    assert code_of(living(default * DAY + 1), token_type=token_type) == 405
    assert code_of(living(hard * DAY), token_type=token_type, max_lifetime=hard * DAY) == 0
    assert code_of(living(hard * DAY + 1), token_type=token_type, max_lifetime=hard * DAY) == 405
    assert code_of(living(60), token_type=token_type, max_lifetime=60) == 0
    assert code_of(living(61), token_type=token_type, max_lifetime=60) == 405


def with_alg(signer, alg):
    return Parts(write(header(signer, "authorization") | {1: alg}), write(claims()), signer).token()


@pytest.mark.parametrize("algorithm,alg,legacy", [("Ed25519", -19, -8), ("ESP256", -9, -7)])
def test_deprecated_algorithms_only_with_the_switch(algorithm, alg, legacy):
    """-8 and -7 are 221 without `legacy_algorithms`; with it they fit their keys, and -19 and -9 stay."""
    signer = SIGNERS[algorithm]
    assert code_of(with_alg(signer, legacy)) == Code.ALG_NOT_ALLOWED
    assert code_of(with_alg(signer, legacy), legacy_algorithms=True) == 0
    assert code_of(with_alg(signer, alg), legacy_algorithms=True) == 0
    other = {-8: -7, -7: -8}[legacy]
    assert code_of(with_alg(signer, other), legacy_algorithms=True) == Code.KEY_MISMATCH
    assert code_of(with_alg(signer, {-19: -9, -9: -19}[alg])) == Code.KEY_MISMATCH


@pytest.mark.parametrize("alg", [-47, -50, -51, -35, -36, -37, -257, -6, -10, -20, 0, 5, 19, 2**63, -(2**64)])
def test_foreign_algorithms_are_220(alg):
    """ML-DSA-87 (-50) too."""
    for legacy in (False, True):
        assert code_of(with_alg(ISSUER, alg), legacy_algorithms=legacy) == Code.ALG_UNSUPPORTED


# The order of checks.


def test_the_first_check_that_fails_is_the_answer():
    """One token that fails everything from its time on: repaired one by one, the codes come in the page's order."""
    keyring = Keyring([entry(ISSUER, actions=0b11, audience_prefix="ert:1", valid_from=NOW - 10 * DAY)])
    revoked = Revocations(
        issuers=[ISSUER.kid],
        devices={"ert:100000001": (10, 0, 0), "ert:22": (10, 0, 0)},
        tokens=[(ISSUER.kid, token_id(100_000_001, 7)), (ISSUER.kid, token_id(100_000_001, 70))],
        version=1,
        expires_at=NOW,
    )
    fresh = {"expires_at": NOW + 60, "version": 1}
    without_issuer = Revocations(devices=revoked.devices, tokens=revoked.tokens, **fresh)
    without_device = Revocations(tokens=revoked.tokens, **fresh)
    ask = {"audience": "ert:5", "action": Action.READ_ON_DEMAND, "epoch": 9, "revocations": revoked}
    found = []
    old = NOW - 11 * DAY
    bad = {"device": "ert:22", "actions": (0, 3), "issued_at": old}
    found.append((404, code_of(token(**bad, exi=59), keyring, **ask)))
    found.append((405, code_of(token(**bad, exp=NOW - 1), keyring, **ask)))
    found.append((406, code_of(token(**bad, exp=old), keyring, **ask)))
    found.append((407, code_of(token(**bad, cti=token_id(1, 1)), keyring, **ask)))
    found.append((410, code_of(token(**bad), keyring, **ask)))
    bad |= {"actions": (0, 1)}
    found.append((410, code_of(token(**bad), keyring, **ask)))
    bad |= {"device": DEVICE}
    found.append((411, code_of(token(**bad), keyring, **ask)))
    found.append((500, code_of(token(**bad | {"issued_at": NOW + 200}, nbf=NOW + 300), keyring, **ask)))
    bad |= {"issued_at": NOW - 2 * DAY}
    found.append((501, code_of(token(**bad, nbf=NOW + 300, exp=NOW + 301), keyring, **ask)))
    found.append((502, code_of(token(**bad), keyring, **ask)))
    bad |= {"issued_at": NOW}
    found.append((600, code_of(token(**bad), keyring, **ask)))
    ask |= {"revocations": Revocations(issuers=[ISSUER.kid], devices=revoked.devices, tokens=revoked.tokens, **fresh)}
    found.append((601, code_of(token(**bad), keyring, **ask)))
    ask |= {"revocations": without_issuer}
    found.append((602, code_of(token(**bad), keyring, **ask)))
    ask |= {"revocations": without_device}
    found.append((603, code_of(token(**bad), keyring, **ask)))
    ask |= {"epoch": 4}
    found.append((604, code_of(token(**bad), keyring, **ask)))
    bad |= {"sequence": 8}
    found.append((700, code_of(token(**bad), keyring, **ask)))
    ask |= {"audience": DEVICE}
    found.append((701, code_of(token(**bad), keyring, **ask)))
    ask |= {"action": Action.READ_ENDPOINT}
    found.append((0, code_of(token(**bad), keyring, **ask)))
    assert [got for _, got in found] == [expected for expected, _ in found]


def test_the_header_is_judged_before_the_key_and_the_key_before_the_signature():
    payload = write(claims())
    keyring = Keyring([entry(ISSUER, token_types=["reading_key"]), entry(SECOND_ISSUER)])

    def of(fields, *, signature=b"", tag=b"\xd2"):
        return (tag + envelope(write(fields), payload, signature)[1:]).ljust(96, b"\x00")

    good = header(ISSUER, "authorization")
    long = {"signature": bytes(63)}
    assert code_of(of(good | {3: 1}, **long, tag=b"\xd1"), keyring) == 110
    assert code_of(of(good | {3: 1}, **long), keyring) == 200
    assert code_of(of({1: -19, 16: TYPS["reading_key"]}, **long), keyring) == 201
    assert code_of(of(good | {4: b"short", 16: TYPS["reading_key"]}, **long), keyring) == 202
    assert code_of(of(good | {2: [1], 16: TYPS["reading_key"]}, **long), keyring) == 203
    assert code_of(of(good | {1: -50, 4: bytes(8), 16: TYPS["reading_key"]}, **long), keyring) == 210
    assert code_of(of(good | {1: -50, 4: bytes(8)}, **long), keyring) == 220
    assert code_of(of(good | {1: -8, 4: bytes(8)}, **long), keyring) == 221
    assert code_of(of(good | {1: -9, 4: bytes(8)}, **long), keyring) == 230
    assert code_of(of(good | {1: -9}, **long), keyring) == 231
    assert code_of(of(good, **long), keyring) == 232
    assert code_of(of(good, **long), KEYRING) == 300
    assert code_of(of(good, signature=b"\xff" * 64), KEYRING) == 301
    assert code_of(of(good, signature=ISSUER.sign(b"another")), KEYRING) == 302


# Sizes.


@pytest.mark.parametrize("size,code", [(95, 101), (4_097, 100), (5_000, 100), (1_000_000, 100)])
def test_sizes_are_judged_before_a_byte_is_read(size, code):
    assert code_of(token().ljust(size, b"\x00")[:size]) == code
    assert code_of(b"\x00" * size) == code


def test_a_payload_has_at_most_640_bytes():
    for size, code in ((640, Code.CLAIM_UNKNOWN), (641, Code.TOO_LARGE)):
        made = claims()
        made[-70_000] = b""
        made[-70_000] = bytes(size - len(write(made)) - 2)
        assert len(write(made)) == size
        assert code_of(sign(ISSUER, "authorization", made)) == code


# Streams.


def test_a_stream_s_batches_are_answered_one_by_one_and_in_order():
    batches = [[token(sequence=n) for n in range(size)] for size in (3, 0, 1, 70)]
    results = verify_stream(iter(batches), KEYRING, now=NOW, audience=DEVICE)
    first = next(results)
    assert first["sequence"].to_pylist() == [0, 1, 2]
    assert [len(result) for result in results] == [0, 1, 70]


def test_a_stream_reads_a_batch_only_when_its_result_is_requested():
    asked = []

    def batches():
        for number in range(1_000_000):
            asked.append(number)
            yield [token(sequence=number)]

    results = verify_stream(batches(), KEYRING, now=NOW)
    for _ in range(3):
        assert next(results)["code"].to_pylist() == [0]
    assert asked == [0, 1, 2]


def test_a_stream_raises_for_the_batch_that_cannot_be_read():
    results = verify_stream([[token()], [5], [token()]], KEYRING, now=NOW)
    assert next(results)["code"].to_pylist() == [0]
    with pytest.raises(TypeError):
        next(results)


# Refusals.


def test_a_refusal_says_its_name_number_and_sentence():
    with pytest.raises(TokenRefused) as refused:
        verify_token(token(issued_at=NOW - 3 * DAY), KEYRING, now=NOW)
    assert refused.value.code is Code.EXPIRED
    assert refused.value.name == "expired"
    assert str(refused.value) == "expired (502): The token has expired."
    assert copy.copy(refused.value).code is Code.EXPIRED


@pytest.mark.parametrize("nothing", [None, b"", bytearray(), memoryview(b"")])
def test_no_token_is_a_refusal(nothing):
    with pytest.raises(TokenRefused) as refused:
        verify_token(nothing, KEYRING, now=NOW)
    assert refused.value.code is Code.NO_TOKEN


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_one_token_is_any_buffer(make):
    assert verify_token(make(token()), KEYRING, now=NOW).sequence == 7


def test_an_empty_keyring_trusts_no_key():
    assert code_of(token(), ring()) == Code.KEY_UNKNOWN


def test_results_can_be_read_any_number_of_times():
    results = verify_tokens([token(), None], KEYRING, now=NOW)
    assert pa.record_batch(results).equals(pa.record_batch(results))
    assert rows_of(results) == rows_of(results)
    assert len(results) == 2


def test_scope_helper_is_the_page_s_encoding():
    assert scope(0, 1, 2, 3, 4).hex() == "818201181f"
