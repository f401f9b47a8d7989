#!/bin/sh
# Prints `-p CRATE` for each crate of ours that differs from the last commit on main, and for those that depend on it.
set -eu
base="$(git merge-base HEAD main 2>/dev/null || git rev-parse HEAD)"
changed() { ! git diff --quiet "$base" -- "rust/$1" || [ -n "$(git status --porcelain -- "rust/$1")" ]; }
crates=
for crate in kernels core py; do
    if [ -n "$crates" ] || changed "$crate"; then
        case $crate in
            py) crates="$crates -p itron-core-py" ;;
            core) crates="$crates -p itron-core" ;;
            kernels) crates="$crates -p itron-core-kernels" ;;
        esac
    fi
done
printf '%s\n' "$crates"
