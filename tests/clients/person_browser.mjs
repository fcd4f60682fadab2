#!/usr/bin/env node
// A person at a browser. Reads one JSON command per line, does it in headless Chromium, and prints what is there then:
// title, text, buttons, switches, what the console complained of, and what axe-core finds.
//
//   {"do": "open", "url": "http://...", "locale": "fr-FR"}
//   {"do": "press", "button": "Unsubscribe from"}     {"do": "turn", "switch": "Offers"}
//   {"do": "follow", "link": "Deutsch"}               {"do": "type", "keys": ["Tab", "Enter"]}
//   {"do": "submit", "key": "Enter"}
//   {"do": "look", "scheme": "dark", "width": 360, "shot": "target/x.png"}
//
// Variable: CHROMIUM, the program to start; /usr/bin/chromium when not given.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE_MS = 60_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

let page;
let complaints = [];

async function open({ url, locale }) {
  await page?.context().close();
  const context = await browser.newContext({ locale, viewport: { width: 1000, height: 800 } });
  context.setDefaultTimeout(PATIENCE_MS);
  page = await context.newPage();
  page.on("console", (message) => {
    // The browser itself reports that a page about an unknown link was answered 404.
    const expected = message.location().url === url && message.text().includes("status of 404");
    if (["error", "warning"].includes(message.type()) && !expected) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()}`));
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(url).host && !request.url().startsWith("data:"))
      complaints.push(`foreign: ${request.url()}`);
  });
  await page.goto(url);
}

async function act(command) {
  switch (command.do) {
    case "open":
      return open(command);
    case "press":
      await page.getByRole("button", { name: command.button }).click();
      return page.waitForLoadState();
    case "follow":
      await page.getByRole("link", { name: command.link }).click();
      return page.waitForLoadState();
    case "turn":
      return page.getByRole("switch", { name: command.switch }).click();
    case "type":
      for (const key of command.keys) await page.keyboard.press(key);
      return;
    case "submit":
      return Promise.all([page.waitForNavigation(), page.keyboard.press(command.key)]);
    case "look":
      await page.emulateMedia({ colorScheme: command.scheme });
      await page.setViewportSize({ width: command.width, height: 800 });
      return page.screenshot({ path: command.shot, fullPage: true });
    default:
      throw new Error(`unknown command: ${command.do}`);
  }
}

async function report() {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document));
  const names = (role) => page.getByRole(role).evaluateAll((all) => all.map((one) => one.labels?.[0]?.innerText || one.innerText));
  return {
    title: await page.title(),
    language: await page.locator("html").getAttribute("lang"),
    text: await page.locator("body").innerText(),
    buttons: await names("button"),
    on: await page.getByRole("switch", { checked: true }).evaluateAll((all) => all.map((one) => one.value)),
    focus: await page.evaluate(() => document.activeElement?.innerText ?? ""),
    overflow: await page.evaluate(() => document.documentElement.scrollWidth > globalThis.innerWidth),
    violations: found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`),
    checks: found.passes.length,
    complaints,
  };
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    complaints = [];
    await act(JSON.parse(line));
    console.log(JSON.stringify(await report()));
  }
} finally {
  await browser.close();
}
