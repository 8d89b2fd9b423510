# shellcheck shell=bash
# What backup and restore share.

say() { printf '%s\n' "$*" >&2; }
fail() { say "${0##*/}: $*"; exit 1; }
need() { for program in "$@"; do command -v "$program" >/dev/null || fail "$program is missing"; done; }

# What a reference stands for: file:PATH, env:NAME, or the text itself. As in huiliu.yaml.
resolve() {
    case $1 in
        file:*) tr -d '\r\n' <"${1#file:}" || fail "cannot read ${1#file:}" ;;
        env:*) local name=${1#env:}; [ -n "${!name:-}" ] || fail "environment variable $name is not set"; printf '%s' "${!name}" ;;
        *) printf '%s' "$1" ;;
    esac
}

# Splits a PostgreSQL URL, so that its password never stands in a command line for everybody to see: sets PGPASSWORD and
# `url`, which is the URL without it.
# shellcheck disable=SC2034 # by whoever asked
without_password() {
    if [[ $1 =~ ^(postgres(ql)?://[^:/@]+):([^@]*)@(.*)$ ]]; then
        local coded=${BASH_REMATCH[3]//\\/\\\\}
        printf -v PGPASSWORD '%b' "${coded//%/\\x}"
        export PGPASSWORD
        url="${BASH_REMATCH[1]}@${BASH_REMATCH[4]}"
    else
        url=$1
    fi
}
