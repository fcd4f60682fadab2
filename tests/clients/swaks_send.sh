#!/usr/bin/env bash
# Submits one message with swaks. Usage: swaks_send.sh HOST PORT FROM RCPT...
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
    options+=(--auth PLAIN --auth-user "$SMTP_USER" --auth-password "${SMTP_PASSWORD:-}")
fi

# The status is that of the last command: what the transcript says, not what swaks thinks of it.
{ swaks "${options[@]}" <"$input" || true; } | tee /dev/stderr | python3 "$here/transcript_results.py" "$@"
