#!/bin/sh
# Installs what tests run against besides Python packages, one function a service. Nobody is asked and nothing fails here:
# what could not be installed, its tests skip, and say so.
set -eu

softhsm() { # an HSM in software: tests/hsm/test_hsm.py
    command -v softhsm2-util >/dev/null || debian softhsm2
}

pooler() { # before PostgreSQL: tests/stores/test_stores.py
    command -v pgbouncer >/dev/null || debian pgbouncer
}

memcheck() { # tests/test_memcheck.py
    command -v valgrind >/dev/null || debian valgrind
}

browser() { # tests/report/test_report_in_browser.py
    command -v chromium >/dev/null || debian chromium
}

debian() { # PACKAGE
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$1 is not installed; its tests are skipped"
        return
    fi
    echo "Installing $1"
    install "$1" || { apt-get update --quiet=2 && install "$1"; } || echo "$1 cannot be installed; its tests are skipped"
}

install() { # PACKAGE
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "$1" >/dev/null 2>&1
}

softhsm
pooler
memcheck
browser
