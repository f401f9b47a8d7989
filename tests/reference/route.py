"""One row of a route: what is needed, what is in hand, and so the decision."""

from enum import Enum
from typing import NamedTuple

from itron_core.enums import Action, DeviceClass, Mode, Need, Reason, SecurityLevel
from itron_core.policy import needs, never_reason, permission_for
from reference.claims import AUTHORIZATION, READING_KEY, SECURE_COMMAND, device_id
from reference.token import verify

ALLOWED, ALLOWED_AFTER_OPEN, REFUSED, UNDETERMINED = range(4)

NEED_OF = {
    AUTHORIZATION: Need.AUTHORIZATION,
    SECURE_COMMAND: Need.SECURE_COMMAND,
    READING_KEY: Need.READING_KEY,
}
MATERIALS = tuple(NEED_OF)
COUNTED = ("commands_used", "authorizations_used", "epoch")
ENUMERATIONS = {
    "device_class": DeviceClass,
    "security_level": SecurityLevel,
    "action": Action,
    "mode": Mode,
}
SITUATION = ("device_class", "mode", "security_level", "action")
LIMITED_COMMANDS = {Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE}
DEFAULTS = {
    "mode": Mode.UNKNOWN,
    "on_menu": True,
    "level_verified": True,
    "key_exchange": False,
    "commands_used": 0,
    "authorizations_used": 0,
    "secure_command_used": False,
    "authorization_used": False,
}


class Session(Enum):
    """The state of a row's session, with the reason when one is needed."""

    OPEN = 0
    NONE = Reason.SESSION_REQUIRED
    EXPIRED = Reason.SESSION_EXPIRED
    NOT_STARTED = Reason.SESSION_NOT_STARTED


class Situation(NamedTuple):
    """What the policy asks about."""

    device_class: DeviceClass
    mode: Mode
    level: SecurityLevel
    action: Action


class Material(NamedTuple):
    """A token of the row: its code (None: none given), and whether it was used already."""

    code: int | None
    used: bool

    @property
    def is_good(self):
        return self.code == 0 and not self.used


def process_row(row, keyring, *, now, permissions, options, revocations=None):
    """Return the result columns of a row as a dict.

    The row is a dict by the names of the columns; what is absent or None is null. `now` and `session_opened_at` are
    whole seconds since 1970, and so is `session_until`. An empty token is none.
    """
    row = {name: value for name, value in row.items() if value is not None and not (name in MATERIALS and not value)}
    row = DEFAULTS | {"permissions": permissions} | row
    situation = read_situation(row)
    if situation is None:
        return _unreadable(row)
    session = session_state(row, now)
    variants = [Variant(row, possible, session, options) for possible in possibilities(situation)]
    materials = verify_materials(row, variants, keyring, now, revocations)
    missing = variants[0].missing(materials)
    if len(variants) > 1:  # R20: the union over both modes, without NEVER
        missing = (missing | variants[1].missing(materials)) & ~Need.NEVER
    reason = _reason(row, variants, materials, missing)
    return {
        "decision": _decision(variants, materials, reason),
        "reason": int(reason),
        "missing": int(missing),
        "unverified": is_unverified(row, situation),
        "unreadable": None,
        "session_until": row["session_opened_at"] + row["session_seconds"] if session is Session.OPEN else None,
        **{f"{name}_code": materials[name].code for name in MATERIALS},
    }


def _unreadable(row):
    codes = dict.fromkeys((f"{name}_code" for name in MATERIALS), None)
    nothing = {"missing": 0, "unverified": False, "unreadable": what_is_unreadable(row), "session_until": None}
    return {"decision": REFUSED, "reason": int(Reason.ROW_UNREADABLE), **nothing, **codes}


def read_situation(row):
    """Return what the row asks about, None where it cannot be read."""
    if what_is_unreadable(row) is not None:
        return None
    return Situation(*(member(ENUMERATIONS[name], row[name]) for name in SITUATION))


def what_is_unreadable(row):
    """Return the first column that cannot be read, in the order of the page's columns, and its value; None if all can."""
    if device_id(row.get("device", "")) is None:
        return _said("device", row)
    for name, enumeration in ENUMERATIONS.items():
        if member(enumeration, row.get(name)) is None:
            return _said(name, row)
    return next((_said(name, row) for name in COUNTED if row.get(name, 0) < 0), None)


# The manual's own phrases (docs/policy.md, "Names as people write them").
MANUAL = {
    "DeviceClass": {
        "basic_security": "basic",
        "enhanced_security_capable": "enhanced",
        "multi_mode_capable": "multi_mode",
    },
    "Mode": {"mobile_mode": "mobile", "network_mode": "network"},
    "SecurityLevel": {"command_security": "command", "full_security": "full"},
    "Action": {"connect": "connect_service", "disconnect": "disconnect_service", "restrict": "restrict_service"},
}


def _said(name, row):
    value = row.get(name)
    shown = "null" if value is None else f'"{value}"' if isinstance(value, str) else value
    return f"{name}: {shown}"


def member(enumeration, value):
    """Return the member that a name or a number means, or None."""
    if isinstance(value, str):
        written = value.lower().replace("-", "_").replace(" ", "_")
        name = MANUAL.get(enumeration.__name__, {}).get(written, written)
        return enumeration.__members__.get(name.upper()) if value.isascii() else None
    return enumeration(value) if value in set(enumeration) else None


def possibilities(situation):
    """Return the situations that may be true: two where the mode of a multi-mode device is not known."""
    if situation.device_class is DeviceClass.MULTI_MODE and situation.mode is Mode.UNKNOWN:
        return [situation._replace(mode=mode) for mode in (Mode.MOBILE, Mode.NETWORK)]
    return [situation]


def is_unverified(row, situation):
    """R21, R22: the answer rests on a level that nobody asked of the device."""
    asks_level = situation.device_class is DeviceClass.ENHANCED or (
        situation.device_class is DeviceClass.MULTI_MODE and situation.mode is not Mode.NETWORK
    )
    return asks_level and (situation.level is SecurityLevel.UNKNOWN or not row["level_verified"])


def session_state(row, now):
    opened, seconds = row.get("session_opened_at"), row.get("session_seconds")
    if opened is None or seconds is None:
        return Session.NONE
    if now < opened:
        return Session.NOT_STARTED
    return Session.EXPIRED if now >= opened + seconds else Session.OPEN


class Variant:
    """A row in one possible mode: its needs, and what of the materials it would spend."""

    def __init__(self, row, situation, session, options):
        self.row = row
        self.situation = situation
        self.session = session
        self.options = options
        self.needs = needs(*situation, options)
        self.never = never_reason(*situation, options)

    @property
    def is_network(self):
        return self.situation.device_class is DeviceClass.MULTI_MODE and self.situation.mode is Mode.NETWORK

    @property
    def lacks_session(self):
        return Need.OPEN_SESSION in self.needs and self.session is not Session.OPEN

    @property
    def opener(self):
        """The material that could open the missing session, if one is missing and could be opened."""
        if not self.lacks_session or self.situation.action is Action.CLOSE_SESSION:
            return None
        return AUTHORIZATION if self.is_network else SECURE_COMMAND

    def needed_for(self, name):
        """Return the action that a material must cover here, None when it is not needed."""
        if NEED_OF[name] in self.needs:
            return self.situation.action
        if name != self.opener:
            return None
        # An authorization opens by its type; its scope says what the session allows.
        return self.situation.action if self.is_network else Action.OPEN_SESSION

    def missing(self, materials):
        """Return what is missing here, NEVER among it."""
        missing = self._missing_of_the_row() | self._missing_resync()
        for name, need in NEED_OF.items():
            if need in self.needs and not materials[name].is_good:
                missing |= need
        if self.lacks_session and not self.opens_with(materials):
            missing |= Need.OPEN_SESSION | NEED_OF.get(self.opener, Need(0))
        if self.never:
            missing |= Need.NEVER
        return missing

    def opens_with(self, materials):
        return self.opener is not None and materials[self.opener].is_good

    def _missing_of_the_row(self):
        missing = Need(0)
        if not permission_for(self.situation.action) & self.row["permissions"]:
            missing |= Need.PERMISSION
        if not self.row["on_menu"]:
            missing |= Need.ON_MENU
        if Need.KEY_EXCHANGE in self.needs and not self.row["key_exchange"]:
            missing |= Need.KEY_EXCHANGE
        return missing

    def _missing_resync(self):
        spends_authorization = self.needed_for(AUTHORIZATION) is not None
        spends_command = Need.SECURE_COMMAND in self.needs and self.situation.action in LIMITED_COMMANDS
        is_spent = (spends_authorization and self.row["authorizations_used"] >= self.options.authorization_limit) or (
            spends_command and self.row["commands_used"] >= self.options.command_limit
        )
        return Need.RESYNC if is_spent else Need(0)


def verify_materials(row, variants, keyring, now, revocations):
    """Verify what the row holds, for its device and for the action that it would be spent on."""
    materials = {}
    for name in MATERIALS:
        # No two modes want one material for different actions.
        action = next((action for variant in variants if (action := variant.needed_for(name)) is not None), None)
        asked = {"audience": row["device"], "action": action, "epoch": row.get("epoch"), "revocations": revocations}
        code = verify(row[name], keyring, now, name, **asked)[0] if name in row else None
        materials[name] = Material(code, bool(row.get(f"{name}_used")))
    return materials


def _decision(variants, materials, reason):
    if reason == Reason.MODE_UNKNOWN:
        return UNDETERMINED
    if reason:
        return REFUSED
    return ALLOWED_AFTER_OPEN if variants[0].lacks_session and variants[0].opens_with(materials) else ALLOWED


def _reason(row, variants, materials, missing):
    """Return the first reason that applies, in the order of the page; a token's code in the place of its need."""
    if Need.PERMISSION in missing:
        return Reason.PERMISSION_DENIED
    variant = variants[0]
    is_undetermined = len(variants) > 1
    if not row["on_menu"] or (variant.never is Reason.NOT_ON_MENU and not is_undetermined):
        return Reason.NOT_ON_MENU
    if is_undetermined:
        return Reason.MODE_UNKNOWN
    if variant.never:
        return variant.never
    return _reason_of_needs(variant, materials, missing)


def _reason_of_needs(variant, materials, missing):
    replayed = False
    places = [
        (Need.OPEN_SESSION, variant.opener, variant.session.value),
        (Need.SECURE_COMMAND, SECURE_COMMAND, Reason.SECURE_COMMAND_MISSING),
        (Need.READING_KEY, READING_KEY, Reason.READING_KEY_MISSING),
        (Need.AUTHORIZATION, AUTHORIZATION, Reason.AUTHORIZATION_MISSING),
    ]
    for need, name, reason in places:
        if need not in missing or need not in variant.needs:
            continue
        material = materials.get(name)
        if material is None or material.code is None:
            return reason
        if material.code:
            return material.code
        replayed = True
    if Need.KEY_EXCHANGE in missing:
        return Reason.KEY_EXCHANGE_MISSING
    if Need.RESYNC in missing:
        return Reason.RESYNC_REQUIRED
    return Reason.REPLAY if replayed else Reason.OK
