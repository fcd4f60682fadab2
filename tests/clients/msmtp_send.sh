#!/usr/bin/env bash
# Submits one message with msmtp. Usage: msmtp_send.sh HOST PORT FROM RCPT...
# SMTP_TLS=starttls or implicit, with SMTP_CA=FILE and SMTP_HOST=NAME to believe; SMTP_AUTH=plain, login or
# scram-sha-256.
set -euo pipefail

if (($# < 4)); then
    echo "Usage: msmtp_send.sh HOST PORT FROM RCPT..." >&2
    exit 2
fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
host=$1 port=$2 from=$3
shift 3

message() {
    if [[ -n ${MESSAGE_FILE:-} ]]; then
        cat -- "$MESSAGE_FILE"
        return
    fi
    local to
    to=$(printf ', %s' "$@")
    printf 'From: %s\nTo: %s\nSubject: Hello from msmtp\n' "$from" "${to:2}"
    printf 'Date: %s\n' "$(LC_ALL=C date -R)"
    printf '\nA first line.\n.a line that starts with a dot\n\nAn end.\n'
}

# An empty configuration: what the machine's own says is none of our business.
options=(--file=/dev/null --debug --host="$host" --port="$port" --from="$from" --timeout=30)
case ${SMTP_TLS:-off} in
off) options+=(--tls=off) ;;
starttls) options+=(--tls=on --tls-starttls=on --tls-trust-file="$SMTP_CA" --tls-host-override="$SMTP_HOST") ;;
implicit) options+=(--tls=on --tls-starttls=off --tls-trust-file="$SMTP_CA" --tls-host-override="$SMTP_HOST") ;;
esac
if [[ -n ${MESSAGE_FILE:-} ]]; then
    options+=(--set-date-header=off --set-msgid-header=off --set-from-header=off)
fi
if [[ -n ${SMTP_USER:-} ]]; then
    options+=(--auth="${SMTP_AUTH:-plain}" --user="$SMTP_USER" --passwordeval='printf "%s\n" "${SMTP_PASSWORD:-}"')
else
    options+=(--auth=off)
fi

{ message "$@" | msmtp "${options[@]}" -- "$@" || true; } | tee /dev/stderr | python3 "$here/transcript_results.py" "$@"
