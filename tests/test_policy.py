"""The policy table: against the golden file, against the page's rules written here a second time, and its shape."""

import csv
import itertools
import pickle
from pathlib import Path

import pytest

from itron_core.enums import (
    Action,
    ActionGroup,
    Code,
    Decision,
    DeviceClass,
    Mode,
    Need,
    Permission,
    Reason,
    SecurityLevel,
)
from itron_core.errors import InputError, ItronCoreError, KeyRefused, TokenRefused
from itron_core.policy import PolicyOptions, compiled_table, entries, entry, needs, never_reason, permission_for

GOLDEN = Path(__file__).parent / "golden" / "policy.csv"
SWITCHES = (
    "allow_service_on_basic",
    "reads_without_session",
    "status_without_key",
    "service_needs_command_in_network_mode",
)
ALL_OPTIONS = [
    PolicyOptions(**dict(zip(SWITCHES, values, strict=True))) for values in itertools.product([False, True], repeat=4)
]

READ = ["read_endpoint", "check_endpoint", "read_interval_data", "get_service_status", "read_on_demand"]
CONFIGURE = ["program_endpoint", "program_with_gdt", "change_mode", "reset_endpoint", "enable_rightsizing", "geomode"]
SERVICE = [
    "connect_service",
    "disconnect_service",
    "restrict_service",
    "exercise_valve",
    "connect_override",
    "disconnect_override",
    "arm_service",
]
OPEN, CLOSE = ["open_session"], ["close_session"]
R7 = ["exchange_keys", "set_security_level"]
SWITCH = ["switch_to_network_mode", "switch_to_mobile_mode"]
EVERY = READ + CONFIGURE + SERVICE + OPEN + CLOSE + R7 + SWITCH

LEVELS = ["ready_to_secure", "command", "full", "unknown"]
KNOWN = LEVELS[:3]
SESSION, COMMAND, KEY = {"open_session"}, {"secure_command"}, {"reading_key"}
MODE_SWITCH = {"authorization", "key_exchange"}

# The page's rules for the default options: rule, levels, actions, and the needs or the reason of a NEVER.
# The first that fits answers.
BASIC = [
    ("R1", LEVELS, READ + CONFIGURE, set()),
    ("R2", LEVELS, SERVICE, "service_unavailable_unsecured"),
    ("R3", LEVELS, OPEN + CLOSE + R7 + SWITCH, "not_on_menu"),
]
MOBILE = [
    ("R4", ["ready_to_secure"], READ + CONFIGURE, set()),
    ("R5", ["ready_to_secure"], SERVICE, "service_unavailable_unsecured"),
    ("R6", ["ready_to_secure"], OPEN + CLOSE, "not_on_menu"),
    ("R7", KNOWN, R7, COMMAND),
    ("R8", ["command"], ["read_endpoint"], set()),
    ("R9", ["command"], CONFIGURE, SESSION),
    ("R10", ["command"], SERVICE, COMMAND),
    ("R11", ["command"], READ, SESSION),
    ("R12", ["command"], OPEN, COMMAND),
    ("R13", ["full"], ["read_endpoint"], KEY),
    ("R13", ["full"], READ, KEY | SESSION),
    ("R14", ["full"], CONFIGURE, SESSION),
    ("R14", ["full"], SERVICE + OPEN, COMMAND),
    ("R18", KNOWN, SWITCH, MODE_SWITCH),
    ("R19", ["command", "full"], CLOSE, SESSION),
    ("R21", ["unknown"], READ, set()),
    ("R21", ["unknown"], EVERY, "security_state_unknown"),
]
ENHANCED = [("R18", LEVELS, SWITCH, "not_on_menu"), *MOBILE]
NETWORK = [
    ("R17", LEVELS, OPEN, {"authorization"}),
    ("R18", LEVELS, SWITCH, MODE_SWITCH),
    ("R15", LEVELS, EVERY, SESSION),
]

RULES = {
    ("basic", "mobile"): BASIC,
    ("basic", "network"): BASIC,
    ("basic", "unknown"): BASIC,
    ("enhanced", "mobile"): ENHANCED,
    ("enhanced", "network"): ENHANCED,
    ("enhanced", "unknown"): ENHANCED,
    ("multi_mode", "mobile"): MOBILE,
    ("multi_mode", "network"): NETWORK,
}


def by_rule(rules, level, action):
    """Return the needs and the reason that the first fitting rule gives."""
    answer = next(answer for _, levels, actions, answer in rules if level in levels and action in actions)
    return ({"never"}, answer) if isinstance(answer, str) else (answer, "ok")


def by_hand(device_class, mode, level, action):
    """Return the answer of the page, permission and menu included."""
    if (device_class, mode) in RULES:
        wanted, reason = by_rule(RULES[device_class, mode], level, action)
    else:  # R20
        mobile, network = (by_rule(RULES[device_class, known], level, action)[0] for known in ("mobile", "network"))
        wanted, reason = (mobile | network) - {"never"}, "ok"
    return wanted | {"permission", "on_menu"}, reason


def names(flags):
    return {flag.name.lower() for flag in Need if flag & flags}


def differences(**switches):
    """Return what an option changes: the situation's names, and its needs before and after."""
    changed = PolicyOptions(**switches)
    return {
        tuple(member.name.lower() for member in old[:4]): (names(old.needs), names(new.needs))
        for old, new in zip(entries(), entries(changed), strict=True)
        if old.needs != new.needs
    }


def golden():
    with GOLDEN.open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_the_table_is_the_golden_file():
    table = [
        (
            *(member.name.lower() for member in entry[:4]),
            "|".join(need.name.lower() for need in Need if need & entry.needs),
            entry.reason.name.lower(),
            "|".join(need.name.lower() for need in Need if need & entry.opener),
            "|".join(need.name.lower() for need in Need if need & entry.counted),
        )
        for entry in entries()
    ]
    assert len(table) == 3 * 3 * 4 * 24
    assert table == golden()


def test_the_golden_file_is_the_page():
    for *situation, wanted, reason, _, _ in golden():
        assert (set(wanted.split("|")), reason) == by_hand(*situation), situation


def opened_and_counted_by_hand(device_class, mode, level, action):
    """Return, by the page's own words, what opens the session of a row, and whose uses count."""
    if (device_class, mode) == ("multi_mode", "unknown"):
        both = [opened_and_counted_by_hand(device_class, known, level, action) for known in ("mobile", "network")]
        return tuple(one | other for one, other in zip(*both, strict=True))
    wanted, _ = by_hand(device_class, mode, level, action)
    in_network = (device_class, mode) == ("multi_mode", "network")
    opener = {"authorization" if in_network else "secure_command"}
    opener = opener if "open_session" in wanted and action != "close_session" else set()
    counted = {"authorization"} & (wanted | opener)
    if action in {"connect_service", "disconnect_service"}:
        counted |= {"secure_command"} & wanted
    return opener, counted


def test_session_openers_and_counted_uses_match_the_page():
    for *situation, _, _, opener, counted in golden():
        wanted = opened_and_counted_by_hand(*situation)
        assert tuple(set(filter(None, names.split("|"))) for names in (opener, counted)) == wanted, situation


def test_each_rule_answers_somewhere():
    tables = (BASIC, MOBILE, ENHANCED, NETWORK)
    unused = {id(rule): rule for rules in tables for rule in rules}
    for rules, level, action in itertools.product(tables, LEVELS, EVERY):
        unused.pop(id(next(rule for rule in rules if level in rule[1] and action in rule[2])), None)
    assert not unused


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=repr)
def test_a_higher_level_never_needs_less(options):
    for device_class, mode, action in itertools.product(DeviceClass, Mode, Action):
        low, middle, high = (
            needs(device_class, mode, level, action, options) & ~Need.NEVER for level in list(SecurityLevel)[:3]
        )
        assert low & ~middle == 0
        assert middle & ~high == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=repr)
def test_every_answer_is_whole(options):
    for device_class, mode, level, action, wanted, reason, opener, counted in entries(options):
        assert Need.PERMISSION | Need.ON_MENU in wanted
        assert Need.RESYNC not in wanted
        assert (Need.NEVER in wanted) == (reason != Reason.OK)
        if reason:
            assert wanted == Need.PERMISSION | Need.ON_MENU | Need.NEVER
            assert reason in {1001, 1002, 1004}
        assert never_reason(device_class, mode, level, action, options) is reason
        assert not opener or Need.OPEN_SESSION in wanted
        assert counted in wanted | opener


@pytest.mark.slow
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=repr)
def test_ignored_inputs_change_nothing(options):
    for level, action in itertools.product(SecurityLevel, Action):
        assert (
            len({needs(DeviceClass.BASIC, mode, any_, action, options) for mode in Mode for any_ in SecurityLevel}) == 1
        )
        assert len({needs(DeviceClass.ENHANCED, mode, level, action, options) for mode in Mode}) == 1
    for action in Action:
        network = {needs(DeviceClass.MULTI_MODE, Mode.NETWORK, level, action, options) for level in SecurityLevel}
        assert len(network) == 1


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=repr)
def test_an_unknown_mode_needs_the_union_over_both(options):
    for level, action in itertools.product(SecurityLevel, Action):
        both = [needs(DeviceClass.MULTI_MODE, mode, level, action, options) for mode in (Mode.MOBILE, Mode.NETWORK)]
        situation = (DeviceClass.MULTI_MODE, Mode.UNKNOWN, level, action, options)
        assert needs(*situation) == (both[0] | both[1]) & ~Need.NEVER
        assert never_reason(*situation) is Reason.OK


def test_service_on_basic_frees_just_that():
    changed = differences(allow_service_on_basic=True)
    assert set(changed) == set(itertools.product(["basic"], ["mobile", "network", "unknown"], LEVELS, SERVICE))
    assert all(after == {"permission", "on_menu"} for _, after in changed.values())


def test_reads_without_session_frees_readings_in_mobile_mode():
    changed = differences(reads_without_session=True)
    asked = [action for action in READ if action != "read_endpoint"]
    modes = [("enhanced", mode) for mode in ("mobile", "network", "unknown")] + [("multi_mode", "mobile")]
    wanted = {(*mode, level, action) for mode in modes for level in ("command", "full") for action in asked}
    # Where the mode is not known, Network Mode asks for the session all the same.
    assert set(changed) == wanted
    assert all(before - after == {"open_session"} and after < before for before, after in changed.values())


def test_status_without_key_frees_the_status_of_the_key():
    changed = differences(status_without_key=True)
    modes = [("enhanced", mode) for mode in ("mobile", "network", "unknown")]
    modes += [("multi_mode", mode) for mode in ("mobile", "unknown")]
    assert set(changed) == {(*mode, "full", "get_service_status") for mode in modes}
    assert all(before - after == {"reading_key"} and after < before for before, after in changed.values())


def test_service_in_network_mode_can_need_a_command_too():
    changed = differences(service_needs_command_in_network_mode=True)
    known = set(itertools.product(["multi_mode"], ["network"], LEVELS, SERVICE))
    # At command and full security, Mobile Mode asks for the command already.
    unknown = set(itertools.product(["multi_mode"], ["unknown"], ["ready_to_secure", "unknown"], SERVICE))
    assert set(changed) == known | unknown
    assert all(after - before == {"secure_command"} and before < after for before, after in changed.values())


def test_limits_change_no_need():
    assert differences(command_limit=0, authorization_limit=9) == {}


@pytest.mark.slow
@pytest.mark.parametrize("options", ALL_OPTIONS[::5], ids=repr)
def test_the_compiled_table_is_the_table(options):
    wanted, reasons, openers, counted, actions = compiled_table(options)
    assert (wanted.itemsize, reasons.itemsize, openers.itemsize, counted.itemsize) == (4, 2, 4, 4)
    assert [number for number, _ in actions] == sorted(Action)
    assert len(wanted) == len(reasons) == 864
    for (c, mode), level, (place, (number, permission)) in itertools.product(
        itertools.product(DeviceClass, Mode), SecurityLevel, enumerate(actions)
    ):
        index = ((c * 3 + mode) * 4 + level) * 24 + place
        action = Action(number)
        assert wanted[index] == needs(c, mode, level, action, options)
        assert reasons[index] == never_reason(c, mode, level, action, options)
        assert (openers[index], counted[index]) == entry(c, mode, level, action, options)[-2:]
        assert permission == permission_for(action)


def test_permissions_are_the_page():
    page = {
        Permission.READ_ENDPOINTS: READ,
        Permission.PROGRAM_ENDPOINTS: CONFIGURE + OPEN + CLOSE,
        Permission.REMOTE_CONNECT: ["connect_service", "exercise_valve", "connect_override", "arm_service"],
        Permission.REMOTE_DISCONNECT: ["disconnect_service", "restrict_service", "disconnect_override"],
        Permission.SIGNED_AUTHORIZATION: R7 + SWITCH,
    }
    assert {Action[name.upper()]: permission for permission, actions in page.items() for name in actions} == {
        action: permission_for(action) for action in Action
    }


@pytest.mark.parametrize(
    "arguments",
    [
        (3, 0, 0, 0),
        (-1, 0, 0, 0),
        (0, 3, 0, 0),
        (0, 0, 4, 0),
        (0, 0, 0, 5),
        (0, 0, 0, 36),
        ("basic", 0, 0, 0),
        (None, 0, 0, 0),
        (True, 0, 0, 0),
        (0.0, 0, 0, 0),
        ([], 0, 0, 0),
        (Mode.MOBILE, 0, 0, 0),
        (0, DeviceClass.BASIC, 0, 0),
    ],
    ids=str,
)
def test_an_unknown_member_raises(arguments):
    for function in (needs, never_reason):
        with pytest.raises(InputError, match="expected one of"):
            function(*arguments)


def test_a_member_s_number_stands_for_it():
    assert needs(1, 0, 1, 17) is needs(
        DeviceClass.ENHANCED, Mode.MOBILE, SecurityLevel.COMMAND, Action.DISCONNECT_SERVICE
    )


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_a_switch_is_a_bool(switch, value):
    with pytest.raises(InputError, match=switch):
        PolicyOptions(**{switch: value})


@pytest.mark.parametrize("limit", ["command_limit", "authorization_limit"])
@pytest.mark.parametrize("value", [-1, 2**63, True, 2.0, None, "2"])
def test_a_limit_is_a_whole_number(limit, value):
    with pytest.raises(InputError, match=limit):
        PolicyOptions(**{limit: value})


def test_options_are_immutable_values():
    options = PolicyOptions(command_limit=3)
    with pytest.raises(AttributeError):
        options.command_limit = 4
    with pytest.raises(AttributeError):
        del options.command_limit
    assert len({*ALL_OPTIONS, *map(pickle.loads, map(pickle.dumps, ALL_OPTIONS))}) == 16
    assert options == PolicyOptions(command_limit=3) != PolicyOptions()
    assert eval(repr(options)) == options


def test_numbers_are_those_of_the_pages():
    assert [(member.name, int(member)) for member in DeviceClass] == [("BASIC", 0), ("ENHANCED", 1), ("MULTI_MODE", 2)]
    assert [(member.name, int(member)) for member in Mode] == [("MOBILE", 0), ("NETWORK", 1), ("UNKNOWN", 2)]
    assert [member.name.lower() for member in SecurityLevel] == LEVELS
    assert list(SecurityLevel) == [0, 1, 2, 3]
    assert [member.name for member in Decision] == ["ALLOWED", "ALLOWED_AFTER_OPEN", "REFUSED", "UNDETERMINED"]
    assert list(Decision) == [0, 1, 2, 3]
    assert {need.name: int(need) for need in Need} == {
        "PERMISSION": 1,
        "ON_MENU": 2,
        "READING_KEY": 4,
        "OPEN_SESSION": 8,
        "SECURE_COMMAND": 16,
        "AUTHORIZATION": 32,
        "KEY_EXCHANGE": 64,
        "RESYNC": 128,
        "NEVER": 256,
    }
    assert [int(permission) for permission in Permission] == [1, 2, 4, 8, 16]


def test_an_action_s_number_is_its_place_in_the_scope():
    scope = {
        1: READ,
        2: CONFIGURE,
        3: SERVICE,
        4: OPEN + CLOSE,
        5: ["exchange_keys", "switch_to_network_mode", "switch_to_mobile_mode", "set_security_level"],
    }
    page = {name: (group, bit) for group, actions in scope.items() for bit, name in enumerate(actions)}
    assert {action.name.lower(): (int(action.group), action.bit) for action in Action} == page
    assert all(action == (action.group - 1) * 8 + action.bit for action in Action)
    assert [group.name for group in ActionGroup] == ["READ", "CONFIGURE", "SERVICE", "SESSION", "SECURITY"]
    assert len(Action) == 24


CODES = """
0 ok 1 no_token 2 text_unreadable 100 too_large 101 too_small 102 cbor_malformed 103 cbor_not_deterministic 104 cbor_duplicate_key
105 cbor_trailing 106 cbor_depth 110 envelope_tag 111 envelope_shape 112 payload_detached 113 unprotected_not_empty
200 header_unknown 201 header_missing 202 header_type 203 crit_unsupported 210 typ_mismatch 220 alg_unsupported
221 alg_not_allowed 230 key_unknown 231 key_mismatch 232 key_not_for_type 300 signature_length 301 signature_encoding
302 signature_invalid 400 claims_malformed 401 claim_missing 402 claim_type 403 claim_unknown 404 claim_range
405 lifetime_too_long 406 window_inverted 407 claim_inconsistent 410 ceiling_exceeded 411 issuer_window
500 iat_in_future 501 not_yet_valid 502 expired 600 snapshot_stale 601 issuer_revoked 602 device_revoked
603 epoch_stale 604 token_revoked 700 audience_mismatch 701 scope_denied 800 replay_identical 801 replay_conflict
802 sequence_old 900 internal
"""

REASONS = """
0 ok 1000 permission_denied 1001 not_on_menu 1002 service_unavailable_unsecured 1003 mode_unknown
1004 security_state_unknown 1005 row_unreadable 1010 session_required 1011 session_expired 1012 session_not_started
1020 secure_command_missing 1021 reading_key_missing 1022 authorization_missing 1023 key_exchange_missing
1030 resync_required 1031 replay
"""


@pytest.mark.parametrize("enumeration,page", [(Code, CODES), (Reason, REASONS)], ids=["Code", "Reason"])
def test_codes_are_those_of_the_pages(enumeration, page):
    words = page.split()
    assert [(int(member), member.name.lower()) for member in enumeration] == [
        (int(number), name) for number, name in zip(words[::2], words[1::2], strict=True)
    ]


def test_every_code_says_itself_in_a_sentence():
    sentences = [code.explain() for code in Code]
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "_" not in sentence.replace("COSE_Sign1", "")


def test_a_refusal_carries_its_code_and_can_be_pickled():
    for refused in (TokenRefused(502), pickle.loads(pickle.dumps(TokenRefused(Code.EXPIRED)))):
        assert refused.code is Code.EXPIRED
        assert refused.name == "expired"
        assert str(refused) == "expired (502): The token has expired."


def test_each_exception_can_be_caught_by_its_nature():
    assert InputError.__mro__[1:4] == (ItronCoreError, ValueError, TypeError)
    assert issubclass(KeyRefused, ItronCoreError)
    assert issubclass(KeyRefused, ValueError)
    assert TokenRefused.__bases__ == (ItronCoreError,)
