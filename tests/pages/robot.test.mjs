// The page of `kinestream run` in a headless Chromium, with the bundled simulator as the robot.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { freePort, Running, until, withoutProgram } from "../../clients/javascript/running.js";
import { Browser } from "./browser.mjs";

const skip = withoutProgram || (process.env.CHROMIUM ? false : "CHROMIUM is not set to a headless Chromium");
const LIMITS = "lower = 0.0\nvelocity = 300.0\n";

let browser;
before(async () => {
  if (!skip) browser = await Browser.start();
});
after(() => browser?.close());

/** A runtime of a shipped configuration on a free port, and the address of its page. */
async function runtime(context, config) {
  const folder = mkdtempSync(join(tmpdir(), "kinestream-robot-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "robot.toml");
  const text = readFileSync(new URL(`../../configs/${config}`, import.meta.url), "utf8")
    .replace(/tcp\/127.0.0.1:\d+/, `tcp/127.0.0.1:${await freePort()}`)
    .replace(/lower = 0.0\n/, LIMITS);
  writeFileSync(file, text);
  const running = new Running("run", file, "--page", "0");
  context.after(() => running.interrupt());
  const [, address] = await running.says(/open (http:\S+)\s/);
  return { file, address };
}

function simulator(context, file) {
  const running = new Running("sim", file);
  context.after(() => running.interrupt());
}

async function open(context, address) {
  const page = await browser.open(address);
  context.after(() => page.close());
  const text = (selector) => page.value(`document.querySelector("${selector}").textContent`);
  const isHidden = (selector) => page.value(`document.querySelector("${selector}").hidden`);
  const click = (selector) => page.value(`document.querySelector("${selector}").click()`);
  const says = (selector, pattern) => until(`${pattern} in ${selector}`, async () => pattern.test(await text(selector)));
  return { page, text, isHidden, click, says };
}

test("a robot's page shows its commands and stops it", { skip }, async (context) => {
  const { file, address } = await runtime(context, "pusht-state.toml");
  const { page, text, isHidden, click, says } = await open(context, address);
  await says("#banner", /waiting for observations on kinestream\/pusht\/obs\/state/);
  simulator(context, file);
  await says("#rung", /^Running$/);
  await until("a plan", async () => /^plan /.test(await text("#plan-note")));
  assert.equal(await isHidden("#banner"), true);
  assert.equal(await page.value(`document.querySelectorAll("#numbers figure").length`), 2);
  await until("a command", async () => /^[\d.]+$/.test(await text("#numbers output")));

  assert.equal(await isHidden("#rearm"), true);
  await click("#pause");
  await until("a pause", async () => (await isHidden("#resume")) === false);
  await click("#resume");
  await says("#rung", /^Running$/);

  await click("#stop");
  await says("#rung", /^Emergency stop$/);
  await says("#stopped-by", /the page/);
  // Re-arming is asked twice.
  await click("#rearm");
  assert.equal(await page.value(`document.querySelector("#rearm-dialog").open`), true);
  assert.match(await text("#rung"), /^Emergency stop$/);
  await click("#rearm-confirm");
  await says("#rung", /^Running$/);
  assert.deepEqual(page.problems, []);
});

test("a robot's page shows what its camera sees", { skip }, async (context) => {
  const { file, address } = await runtime(context, "pusht-image.toml");
  const { page, says } = await open(context, address);
  simulator(context, file);
  await says("#cameras figcaption", /: live$/);
  const colours = `(({ width, height }, canvas) =>
    new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer)).size)(
    document.querySelector("#cameras canvas"), document.querySelector("#cameras canvas"))`;
  await until("a picture with colours", async () => (await page.value(colours)) > 8);
  assert.deepEqual(page.problems, []);
});
