#!/usr/bin/env python3
"""Verifies every DKIM signature of a message with dkimpy, without DNS. Usage: dkim_verify.py RECORDS.json [MESSAGE]"""

import json
import re
import sys
from pathlib import Path

import dkim

# RFC 8301 section 3.2: verifiers accept RSA keys from 1024 bits on.
RSA_BITS_MIN = 1024


def tag(signature, name):
    """The value of one tag of a signature, folding removed."""
    match = re.search(rb"(?:^|;)\s*" + name + rb"\s*=\s*([^;]*)", signature)
    return re.sub(rb"\s+", b"", match[1]).decode("ascii", "replace") if match else None


def verify(message, index, records):
    """What dkimpy says of signature number `index`, counted from the top."""

    def answer(name, timeout=5):
        text = name.decode("ascii") if isinstance(name, bytes) else name
        record = records.get(text.rstrip(".").lower())
        return None if record is None else record.encode("ascii")

    try:
        valid = dkim.DKIM(message, minkey=RSA_BITS_MIN).verify(idx=index, dnsfunc=answer)
        return bool(valid), None if valid else "it does not match, or its key is not in the records"
    except dkim.DKIMException as error:
        return False, f"{type(error).__name__}: {error}"


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    records = {name.rstrip(".").lower(): text for name, text in json.loads(Path(arguments[0]).read_text()).items()}
    message = Path(arguments[1]).read_bytes() if len(arguments) == 2 else sys.stdin.buffer.read()
    headers, _ = dkim.rfc822_parse(message)
    signatures = [value for name, value in headers if name.lower() == b"dkim-signature"]
    verdicts = []
    for index, signature in enumerate(signatures):
        valid, error = verify(message, index, records)
        verdicts.append(valid)
        line = {"index": index, "valid": valid, "error": error}
        line |= {word: tag(signature, key) for word, key in (("domain", b"d"), ("selector", b"s"), ("algorithm", b"a"))}
        line["headers"] = (tag(signature, b"h") or "").lower().split(":")
        print(json.dumps(line))
    if not verdicts:
        print("the message has no DKIM signature", file=sys.stderr)
    return 0 if verdicts and all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
