#!/usr/bin/env bash
# Submits one message with swaks. Usage: swaks_send.sh HOST PORT FROM RCPT...
# SMTP_TLS=starttls or implicit, SMTP_CA=FILE and SMTP_HOST=NAME to believe; SMTP_AUTH=PLAIN or LOGIN.
set -euo pipefail

if (($# < 4)); then
    echo "Usage: swaks_send.sh HOST PORT FROM RCPT..." >&2
    exit 2
fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
host=$1 port=$2 from=$3
shift 3

to=$(printf ',%s' "$@")
options=(--server "$host" --port "$port" --from "$from" --to "${to:1}" --timeout 30)
case ${SMTP_TLS:-off} in
starttls) options+=(--tls) ;;
implicit) options+=(--tls-on-connect) ;;
esac
if [[ -n ${SMTP_CA:-} ]]; then
    options+=(--tls-verify --tls-ca-path "$SMTP_CA" --tls-sni "$SMTP_HOST")
fi
input=/dev/null
if [[ -n ${MESSAGE_FILE:-} ]]; then
    # Left alone, swaks adds an empty line at the end. Told not to touch the data, it leaves the dots to us as well
    # (RFC 5321 section 4.5.2).
    input=$(mktemp)
    trap 'rm -f "$input"' EXIT
    sed 's/^\./../' -- "$MESSAGE_FILE" >"$input"
    printf '.\r\n' >>"$input"
    options+=(--no-data-fixup --data -)
fi
if [[ -n ${SMTP_USER:-} ]]; then
    options+=(--auth "${SMTP_AUTH:-PLAIN}" --auth-user "$SMTP_USER" --auth-password "${SMTP_PASSWORD:-}")
fi

# Under TLS swaks draws other arrows. The status is that of the last command: what the transcript says, not what swaks
# thinks of it.
{ swaks "${options[@]}" <"$input" || true; } | sed 's/^ ~> / -> /; s/^<~  /<-  /' | tee /dev/stderr | python3 "$here/transcript_results.py" "$@"
