#!/usr/bin/env python3
"""Checks what became of a body's placeholders, with Python's own email package. Usage: body_link_check.py SENT RECEIVED"""

import email
import email.policy
import re
import sys
from pathlib import Path

ALIASES = ("{{unsubscribe_url}}", "%unsubscribe_url%", "<%asm_group_unsubscribe_raw_url%>", "{{{ pm:unsubscribe }}}")


def parts(message):
    """Every leaf part: type, its own header fields, raw text as it came, decoded octets."""
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    for part in parsed.walk():
        if part.is_multipart():
            continue
        fields = None if part is parsed else part.items()
        yield part.get_content_type(), part.get_content_disposition(), fields, part.get_payload(), part.get_payload(decode=True)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    sent, received = (Path(name).read_bytes() for name in arguments)
    field = re.search(rb"^List-Unsubscribe:\s*<(https://[^>]*)>", received, re.MULTILINE | re.IGNORECASE)
    link = field[1]
    before, after = list(parts(sent)), list(parts(received))
    if len(before) != len(after):
        print(f"{len(before)} parts were sent and {len(after)} received")
        return 1
    faults, replaced = [], 0
    for number, (old, new) in enumerate(zip(before, after)):
        kind, disposition, fields, raw, decoded = old
        shown = kind in ("text/plain", "text/html") and disposition != "attachment"
        wanted = decoded
        for alias in ALIASES if shown else ():
            replaced += wanted.count(alias.encode())
            wanted = wanted.replace(alias.encode(), link)
        if (kind, disposition, fields) != new[:3]:
            faults.append(f"part {number}: its header changed")
        if new[4] != wanted:
            faults.append(f"part {number}: expected {wanted!r}, found {new[4]!r}")
        if wanted == decoded and raw != new[3]:
            faults.append(f"part {number}: nothing was to be replaced, and its octets changed")
    for fault in faults:
        print(fault)
    print(f"{replaced} replaced by {link.decode()}")
    return 1 if faults or not replaced else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
