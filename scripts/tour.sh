#!/bin/sh
# One device from ready to secure to full security and Network Mode, by commands alone, over HTTP on this machine; each
# command is shown with its answer.
set -eu
PATH="$(cd "$1" && pwd):$PATH"
folder="$(mktemp -d)"
service=
trap '[ -z "$service" ] || { kill "$service"; wait "$service" 2>&- || :; }; cd /; rm -rf "$folder"' EXIT
cd "$folder"

say() { printf '\n# %s\n' "$1"; }
# A command that is refused is part of the tour: its exit code is shown, and the tour goes on.
run() {
    printf '$ itron-core %s\n' "$*"
    code=0
    itron-core "$@" 2>&1 || code=$?
    [ "$code" -le 1 ] || { echo "[exit $code]"; exit "$code"; }
}
# A file of the tour, shown as it is typed.
file() {
    printf '$ cat > %s <<END\n' "$1"
    tee "$1"
    echo END
}
deliver() { run manager deliver ism "$url" --bearer ism.bearer; }
sync() { run field sync tablet "$url" --bearer fred.bearer --user fred; }
# What stands between an officer's wish and a field tool that holds the token.
fetch() { # type, action, and what else the request says
    type="$1" action="$2"
    shift 2
    run manager request ism olga ert:100000001 --type "$type" --action "$action" "$@"
    run manager issue ism
    deliver
    run field request tablet ert:100000001 --type "$type" --action "$action"
    sync
}
work() { run field work tablet "$@" --meter meter.json; }

say 'Keys are kept encrypted under a password'
printf '$ head -c 18 /dev/urandom | base64 > password\n'
head -c 18 /dev/urandom | base64 > password
printf '$ export ITRON_CORE_PASSWORD_FILE=password\n'
export ITRON_CORE_PASSWORD_FILE="$folder/password"

say 'A security manager, its people, and one meter that is ready to secure'
run manager init ism --utility UTIL0001
run manager role ism officer --permissions all --officer
run manager role ism worker --permissions all
run manager user ism olga --role officer --unit gas
run manager user ism otto --role officer --unit gas
run manager user ism fred --role worker --unit gas
file devices.csv <<END
device,unit,device_class,mode,security_level
ert:100000001,gas,multi_mode,mobile,ready_to_secure
END
run manager devices ism devices.csv --pending-level full
printf '$ itron-core manager keyring ism > meter.jwks\n'
itron-core manager keyring ism > meter.jwks
run device init meter.json --device ert:100000001 --class multi_mode --keyring meter.jwks --master ism/master.key --utility UTIL0001

say 'A tools server and a field tool, which trust the root key'
printf '$ itron-core serve tools --keyring ism/root.jwks --port 0 &\n'
itron-core serve tools --keyring ism/root.jwks --port 0 > serving 2>&1 &
service=$!
for _ in $(seq 300); do
    grep -q 'http://' serving && break
    kill -0 "$service" || { cat serving; exit 1; }
    sleep 0.1
done
cat serving
url="$(sed -n 's/^.* at //p' serving)"
run server bearer tools ism.bearer --user ism --role manager
run server bearer tools fred.bearer --user fred --role field_tool --unit gas --tool tablet-7
run field init tablet --tool tablet-7 --keyring ism/root.jwks

say 'Keys are exchanged: the epoch rises, and what was issued before is stale'
fetch secure_command exchange_keys
work exchange_keys
sync
deliver

say 'Full security'
fetch secure_command set_security_level --argument full
work set_security_level
sync
deliver

say 'A reading now requires a reading key, and comes protected under it'
sync
work read_endpoint
fetch reading_key read_endpoint
work read_endpoint | tee answer
say 'The master key opens the reading; the meter has had key version 2 since the exchange'
sed -n 's/.*"reading": "\([0-9a-f]*\)".*/\1/p' answer | file readings.txt
run readings open readings.txt --profile cose --master ism/master.key --utility UTIL0001 --key-version 2 --output opened.csv
printf '$ cat opened.csv\n'
cat opened.csv

say 'A setting is changed in an open session, which a secure command opens'
work program_endpoint
fetch secure_command open_session
work program_endpoint
work close_session

say 'Disconnect: the answer is lost, and the device answers the repeat from its log, marked as a replay'
fetch secure_command disconnect_service
work disconnect_service --lose-answer
run field current tablet
work disconnect_service
say 'Connect'
fetch secure_command connect_service
work connect_service

say 'Many at once require a second person: one officer alone is not enough'
{
    echo device,unit,device_class,mode,security_level
    for number in 01 02 03 04 05 06 07 08 09 10; do echo "ert:20000000$number,gas,enhanced,mobile,command"; done
} | file many.csv
run manager devices ism many.csv
run manager request ism olga --route many.csv --type secure_command --action disconnect_service
run manager approve ism 7 olga
run manager approve ism 7 otto

say 'A signed authorization switches the mode; interval data are lost'
fetch authorization switch_to_network_mode
work switch_to_network_mode --key-exchange
run device show meter.json

say 'Synced back, and the audit logs verified'
sync
deliver
run audit verify ism
run audit verify tools
run audit list tools --last 3
