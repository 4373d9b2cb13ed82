// The pages of the built program in a headless Chromium: they show a picture, and it changes.
//
// KINESTREAM names the program, CHROMIUM the browser. Colours are counted, never compared with a stored picture.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { Running, until, withoutProgram } from "../../clients/javascript/running.js";
import { Browser } from "./browser.mjs";

const skip = withoutProgram || (process.env.CHROMIUM ? false : "CHROMIUM is not set to a headless Chromium");

/** A picture has more colours than this; of another one more than this share of the pixels differ. */
const COLOURS = 8;
const SHARE = 0.002;

let browser;
before(async () => {
  if (!skip) browser = await Browser.start();
});
after(() => browser?.close());

/** Starts a demo; returns the address of its page, and all it said. */
async function demo(context, ...more) {
  const running = new Running("demo", ...more, "--port", "0");
  context.after(() => running.interrupt());
  const [, address] = await running.says(/open (http:\S+)\s/);
  return { address, said: running.said };
}

async function open(context, address) {
  const page = await browser.open(address);
  context.after(() => page.close());
  return page;
}

/** The page shows a picture, and goes on to show others. */
async function changes(page, selector) {
  let last = [];
  // The second may be the first that is drawn at all.
  for (const what of ["a picture", "a second one", "a third one"]) {
    await until(what, async () => {
      if ((await page.value(`document.querySelector("${selector}") === null`)) !== false) return false;
      const picture = await page.picture(selector);
      const changed = picture.filter((colour, i) => colour !== last[i]).length;
      const isNew = changed > SHARE * picture.length && new Set(picture).size > COLOURS;
      if (isNew) last = picture;
      return isNew;
    });
  }
  assert.deepEqual(page.problems, []);
}

test("the page of Push-T shows a policy at work", { skip }, async (context) => {
  const { address } = await demo(context, "pusht");
  const page = await open(context, address);
  await changes(page, "#table");
  assert.equal(await page.value(`document.querySelector("#banner").hidden`), true);
});

test("the page of the character shows it walking under the keys", { skip }, async (context) => {
  const { address } = await demo(context, "motion", "--listen", "tcp/127.0.0.1:0");
  const page = await open(context, address);
  await page.press("KeyW");
  await changes(page, "#scene");
  assert.equal(await page.value(`document.querySelector("#banner").hidden`), true);
});

test("the JavaScript client's example walks in a page that this machine serves", { skip }, async (context) => {
  const { said } = await demo(context, "motion", "--listen", "tcp/127.0.0.1:0", "--websocket", "127.0.0.1:0");
  const [engines] = said.match(/ws:\S+/);
  const folder = new URL("../../clients/javascript/", import.meta.url);
  const types = { html: "text/html", js: "text/javascript" };
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const type = types[pathname.split(".").at(-1)];
    response.setHeader("Content-Type", type ?? "text/plain");
    if (type) createReadStream(new URL(`.${pathname}`, folder)).pipe(response);
    else response.writeHead(204).end();
  }).listen(0, "127.0.0.1");
  context.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  const page = await open(context, `http://127.0.0.1:${server.address().port}/example.html?address=${engines}`);
  await until("a connection", async () => (await page.value(`document.querySelector("#state").textContent`)) === "open");
  await page.press("KeyD");
  await changes(page, "canvas");
});
