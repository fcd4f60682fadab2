#!/usr/bin/env python3
"""Reads the session that swaks or msmtp prints, and says what became of each recipient.

Usage: transcript_results.py RCPT... < transcript
"""

import json
import re
import sys

SENT = re.compile(r"^(?:-->| ->) ?(.*)$")
RECEIVED = re.compile(r"^(?:<--|<- |<\*\*) ?(\d{3})([ -]?)(.*)$")
RCPT = re.compile(r"^RCPT TO:<([^>]*)>", re.IGNORECASE)


def replies(lines):
    """Yields (command, code, text). Replies come in the order of the commands, pipelined or not."""
    waiting, in_body, text = ["greeting"], False, []
    for line in lines:
        line = line.rstrip("\r\n")
        if sent := SENT.match(line):
            if not in_body:
                waiting.append(sent[1])
            elif sent[1] == ".":
                waiting, in_body = ["."], False
        elif received := RECEIVED.match(line):
            code, more, words = received.groups()
            text.append(words)
            if more == "-" or not waiting:
                continue
            command = waiting.pop(0)
            yield command, int(code), "\n".join(text)
            text = []
            in_body = in_body or (command.upper() == "DATA" and code == "354")


def main(recipients):
    own, final = {}, (None, None)
    for command, code, text in replies(sys.stdin):
        if rcpt := RCPT.match(command):
            own[rcpt[1]] = (code, text)
        elif command == "." or (command.upper() == "DATA" and code >= 400):
            final = (code, text)
    anybody = False
    for recipient in recipients:
        code, text = own.get(recipient, (None, None))
        if code is not None and code < 300:
            code, text = final
        accepted = code is not None and code < 300
        anybody = anybody or accepted
        print(json.dumps({"recipient": recipient, "accepted": accepted, "code": code, "reply": text}))
    return 0 if anybody else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
