// Adds, reads, lists and removes suppressions with the JavaScript libraries of Mailgun and SendGrid, pointed at a gateway.
//
// Usage: suppressions.mjs URL TOKEN DOMAIN, with a token of the whole gateway. Says what it found, one JSON object; ends with an
// error when a library does where it should not.

import sendgrid from "@sendgrid/client";
import Mailgun from "mailgun.js";

const [url, token, domain] = process.argv.slice(2);
const found = {};

// What a library throws is an answer too; with an entry it gives no status.
const status = (asked) => asked.then((answer) => answer.status ?? 200, (error) => error.status);

const { suppressions } = new Mailgun(FormData).client({ username: "api", key: token, url });

// More pages than any list here has.
const PAGES_MAX = 10;

/** Every address of a list, two at a time, along the addresses of its pages; and how many pages had some. */
async function all(kind) {
  const addresses = [];
  let page = { limit: 2 };
  for (let pages = 0; pages < PAGES_MAX; pages += 1) {
    const answer = await suppressions.list(domain, kind, page);
    if (answer.items.length === 0) return [addresses, pages];
    addresses.push(...answer.items.map((item) => item.address));
    page = { limit: 2, page: answer.pages.next.page };
  }
  throw new Error(`${kind}: its pages do not end`);
}

// This library sends one unsubscription as a form in parts, and everything else as JSON.
const added = await suppressions.create(domain, "unsubscribes", { address: "u1@b.example", tag: "monthly" });
found.added = [added.status, added.message];
const many = [
  { address: "u2@b.example", tags: ["monthly", "weekly"], created_at: new Date("2026-01-02T03:04:05Z") },
  { address: "u3@b.example" },
  { address: "u4@b.example", tags: ["*"] },
];
found.addedMany = (await suppressions.create(domain, "unsubscribes", many)).message;
found.unsubscribes = await all("unsubscribes");
const one = await suppressions.get(domain, "unsubscribes", "u2@b.example");
found.one = [one.type, one.address, one.tags, one.created_at.toISOString()];

await suppressions.create(domain, "bounces", { address: "b1@b.example", code: 550, error: "5.1.1 na\u00efve" });
await suppressions.create(domain, "bounces", [{ address: "b2@b.example" }, { address: "b3@b.example", code: 511 }]);
found.bounces = await all("bounces");
const bounce = await suppressions.get(domain, "bounces", "b1@b.example");
found.bounce = [bounce.code, bounce.error];
found.soft = await status(suppressions.create(domain, "bounces", { address: "b4@b.example", code: 421 }));

await suppressions.create(domain, "complaints", { address: "c1@b.example" });
await suppressions.create(domain, "complaints", [{ address: "c2@b.example" }]);
found.complaints = await all("complaints");

found.gone = [];
for (const [kind, address] of [["unsubscribes", "u1@b.example"], ["bounces", "b1@b.example"], ["complaints", "c1@b.example"]]) {
  found.gone.push(await status(suppressions.destroy(domain, kind, address)));
  found.gone.push(await status(suppressions.get(domain, kind, address)));
}
found.allowed = await status(suppressions.create(domain, "whitelists", { address: "w1@b.example" }));

sendgrid.setApiKey(token);
sendgrid.setDefaultRequest("baseUrl", url);
const ask = async (method, path, body) => (await sendgrid.request({ method, url: path, body }))[0];
const groups = (await ask("GET", "/v3/asm/groups")).body;
const weekly = groups.find((group) => group.name === "weekly").id;
const group = `/v3/asm/groups/${weekly}/suppressions`;
const taken = await ask("POST", group, { recipient_emails: ["s1@b.example"] });
found.sendgridAdded = [taken.statusCode, taken.body.recipient_emails];
found.sendgridGroup = (await ask("GET", group)).body;
const bounced = (await ask("GET", "/v3/suppression/bounces/b3@b.example")).body;
found.sendgridBounce = bounced.map((entry) => [entry.email, entry.reason]);
found.sendgridGone = (await ask("DELETE", `${group}/s1@b.example`)).statusCode;
const refused = await ask("DELETE", "/v3/suppression/spam_reports/c1@b.example").catch((error) => error);
found.sendgridRefused = [refused.code, refused.response.body.errors.length];

console.log(JSON.stringify(found));
