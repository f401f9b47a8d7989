#!/bin/sh
# One device from ready to secure to full security and Network Mode, by commands alone; each is shown with its answer.
set -eu
PATH="$(cd "$1" && pwd):$PATH"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"

say() { printf '\n# %s\n' "$1"; }
# A command that is refused is part of the tour: its exit code is shown, and the tour goes on.
run() {
    printf '$ itron-core %s\n' "$*"
    code=0
    itron-core "$@" 2>&1 || code=$?
    [ "$code" -le 1 ] || { echo "[exit $code]"; exit "$code"; }
}
# What stands between an officer's wish and a field tool that holds the token.
fetch() { # type, action, and what else the request says
    type="$1" action="$2"
    shift 2
    run manager request ism olga ert:100000001 --type "$type" --action "$action" "$@"
    run manager issue ism
    run manager deliver ism tools
    run field request tablet ert:100000001 --type "$type" --action "$action"
    run field sync tablet tools --user fred
}
work() { run field work tablet "$@" --meter meter.json; }

say 'A security manager, its people, and one meter that is ready to secure'
run manager init ism --utility UTIL0001
run manager role ism officer --permissions all --officer
run manager role ism worker --permissions all
run manager user ism olga --role officer --unit gas
run manager user ism otto --role officer --unit gas
run manager user ism fred --role worker --unit gas
printf 'device,unit,device_class,mode,security_level\nert:100000001,gas,multi_mode,mobile,ready_to_secure\n' > devices.csv
run manager devices ism devices.csv --pending-level full
printf '$ itron-core manager keyring ism > meter.jwks\n'
itron-core manager keyring ism > meter.jwks
run device init meter.json --device ert:100000001 --class multi_mode --keyring meter.jwks

say 'A tools server and a field tool, which trust the root key'
run server init tools --keyring ism/root.jwks
run field init tablet --tool tablet-7 --keyring ism/root.jwks

say 'Keys are exchanged: the epoch rises, and what was issued before is stale'
fetch secure_command exchange_keys
work exchange_keys
run field sync tablet tools --user fred
run manager deliver ism tools

say 'Full security'
fetch secure_command set_security_level --argument full
work set_security_level
run field sync tablet tools --user fred
run manager deliver ism tools

say 'Reading now wants a reading key'
run field sync tablet tools --user fred
work read_endpoint
fetch reading_key read_endpoint
work read_endpoint

say 'A setting is changed in an open session, which a secure command opens'
work program_endpoint
fetch secure_command open_session
work program_endpoint
work close_session

say 'Disconnect; the answer is lost, and the repeat is answered from the log of the device, marked as a replay'
fetch secure_command disconnect_service
work disconnect_service --lose-answer
run field current tablet
work disconnect_service
say 'Connect'
fetch secure_command connect_service
work connect_service

say 'Many at once want a second person: one officer alone is not enough'
printf 'device,unit,device_class,mode,security_level\n' > many.csv
for number in 1 2 3 4 5 6 7 8 9 10; do echo "ert:20000000$number,gas,enhanced,mobile,command" >> many.csv; done
run manager devices ism many.csv
run manager request ism olga ert:200000001 ert:200000002 ert:200000003 ert:200000004 ert:200000005 ert:200000006 \
    ert:200000007 ert:200000008 ert:200000009 ert:2000000010 --type secure_command --action disconnect_service
run manager approve ism 7 olga
run manager approve ism 7 otto

say 'A signed authorization switches the mode; interval data are lost'
fetch authorization switch_to_network_mode
work switch_to_network_mode --key-exchange
run device show meter.json

say 'Synced back, and the audit logs verified'
run field sync tablet tools --user fred
run manager deliver ism tools
run audit verify ism
run audit verify tools
run audit list tools --last 3
