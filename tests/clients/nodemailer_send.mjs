#!/usr/bin/env node
// Submits one message with nodemailer. Usage: nodemailer_send.mjs HOST PORT FROM RCPT...

import { readFileSync } from "node:fs";
import nodemailer from "nodemailer";

const TIMEOUT_MS = 30_000;

const [host, port, from, ...recipients] = process.argv.slice(2);
if (recipients.length === 0) {
  console.error("Usage: nodemailer_send.mjs HOST PORT FROM RCPT...");
  process.exit(2);
}

const { MESSAGE_FILE, SMTP_USER, SMTP_PASSWORD } = process.env;
const envelope = { from, to: recipients };
const message = MESSAGE_FILE
  ? { envelope, raw: readFileSync(MESSAGE_FILE) }
  : {
      envelope,
      from,
      to: recipients,
      subject: "Grüße from nodemailer",
      text: "A first line.\n.a line that starts with a dot\n\nAn end: ä ö ü.\n",
      html: "<p>A first line.</p><p>An end: ä ö ü.</p>",
    };

const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  secure: false,
  ignoreTLS: true,
  auth: SMTP_USER ? { user: SMTP_USER, pass: SMTP_PASSWORD ?? "" } : undefined,
  connectionTimeout: TIMEOUT_MS,
  greetingTimeout: TIMEOUT_MS,
  socketTimeout: TIMEOUT_MS,
});

// "550 5.7.1 text" and the lines that follow it, as code and text.
function split(response) {
  const match = /^(\d{3})[ -]?([\s\S]*)$/.exec(response ?? "");
  return match ? { code: Number(match[1]), reply: match[2] } : { code: null, reply: null };
}

let accepted = [];
let refusals = [];
let final;
try {
  const info = await transport.sendMail(message);
  accepted = info.accepted.map(String);
  refusals = info.rejectedErrors ?? [];
  final = info.response;
} catch (error) {
  console.error(`nodemailer: ${error.message}`);
  refusals = error.rejectedErrors ?? [];
  final = error.response;
}
transport.close();

for (const recipient of recipients) {
  const own = refusals.find((refusal) => refusal.recipient === recipient);
  const line = { recipient, accepted: accepted.includes(recipient), ...split(own ? own.response : final) };
  console.log(JSON.stringify(line));
}
process.exit(accepted.length > 0 ? 0 : 1);
