// A headless Chromium, driven over the DevTools protocol: pages, keys, pictures.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateSync } from "node:zlib";

import { until } from "../../clients/javascript/running.js";

const FLAGS = [
  "--headless",
  // Root has no sandbox in a container; the pages are our own.
  "--no-sandbox",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--hide-scrollbars",
  "--window-size=400,520",
  "--disable-accelerated-2d-canvas",
  "--disable-gpu-rasterization",
  "--disable-gpu-compositing",
  "--remote-debugging-port=0",
];

export class Browser {
  /** Starts the program that CHROMIUM names. */
  static async start() {
    const folder = mkdtempSync(join(tmpdir(), "kinestream-pages-"));
    const child = spawn(process.env.CHROMIUM, [...FLAGS, `--user-data-dir=${folder}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (data) => (said += data));
    const ended = new Promise((end) => child.on("exit", end));
    const address = /DevTools listening on (ws:\S+)\s/;
    await until(`the browser: ${said}`, () => address.test(said));
    const socket = new WebSocket(said.match(address)[1]);
    await new Promise((open, failed) => Object.assign(socket, { onopen: open, onerror: failed }));
    return new Browser(child, ended, socket, folder);
  }

  constructor(child, ended, socket, folder) {
    Object.assign(this, { child, ended, socket, folder });
    this.asked = new Map();
    this.pages = new Map();
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      const { answer, failed } = this.asked.get(message.id) ?? {};
      this.asked.delete(message.id);
      if (message.error) failed?.(new Error(message.error.message));
      else if (answer) answer(message.result);
      else this.pages.get(message.sessionId)?.hear(message);
    };
  }

  ask(method, params = {}, sessionId) {
    const id = (this.last = (this.last ?? 0) + 1);
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((answer, failed) => this.asked.set(id, { answer, failed }));
  }

  async open(address) {
    const { targetId } = await this.ask("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.ask("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, targetId, sessionId);
    this.pages.set(sessionId, page);
    for (const domain of ["Page", "Runtime", "Log"]) await page.ask(`${domain}.enable`);
    await page.ask("Page.navigate", { url: address });
    return page;
  }

  async close() {
    await this.ask("Browser.close");
    await this.ended;
    this.socket.close();
    this.child.stderr.destroy();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  /** Exceptions and errors in the console. */
  problems = [];

  constructor(browser, target, session) {
    Object.assign(this, { browser, target, session });
  }

  close() {
    return this.browser.ask("Target.closeTarget", { targetId: this.target });
  }

  ask(method, params) {
    return this.browser.ask(method, params, this.session);
  }

  hear({ method, params }) {
    if (method === "Runtime.exceptionThrown") this.problems.push(params.exceptionDetails.exception?.description);
    if (method === "Log.entryAdded" && params.entry.level === "error") this.problems.push(`${params.entry.text} ${params.entry.url}`);
  }

  /** The value of an expression in the page. */
  async value(expression) {
    const { result } = await this.ask("Runtime.evaluate", { expression, returnByValue: true });
    return result.value;
  }

  /** Presses a key, such as KeyW, and holds it. */
  async press(code) {
    await this.ask("Input.dispatchKeyEvent", { type: "keyDown", code, key: code.at(-1).toLowerCase() });
  }

  /** The pixels of an element as it is on the screen. */
  async picture(selector) {
    const box = await this.value(
      `(({ x, y, width, height }) => ({ x, y, width, height }))(document.querySelector("${selector}").getBoundingClientRect())`,
    );
    const { data } = await this.ask("Page.captureScreenshot", { clip: { ...box, scale: 0.5 } });
    return pixels(Buffer.from(data, "base64"));
  }
}

/** Red, green, blue of each pixel of a PNG with 8 bits a sample and no interlace (ISO/IEC 15948). */
function pixels(png) {
  let header;
  const packed = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const body = png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
    const type = png.toString("latin1", at + 4, at + 8);
    if (type === "IHDR") header = { width: body.readUInt32BE(0), height: body.readUInt32BE(4), kind: body[9] };
    if (type === "IDAT") packed.push(body);
  }
  const size = { 2: 3, 6: 4 }[header.kind];
  const stride = size * header.width;
  const raw = inflateSync(Buffer.concat(packed));
  let above = Buffer.alloc(stride);
  const found = [];
  for (let row = 0; row < header.height; row += 1) {
    const filter = raw[row * (stride + 1)];
    const line = Buffer.from(raw.subarray(row * (stride + 1) + 1, (row + 1) * (stride + 1)));
    for (let i = 0; i < stride; i += 1) {
      const [left, up, corner] = [line[i - size] ?? 0, above[i], i < size ? 0 : above[i - size]];
      line[i] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
    for (let i = 0; i < stride; i += size) found.push((line[i] << 16) | (line[i + 1] << 8) | line[i + 2]);
    above = line;
  }
  return found;
}

function paeth(left, up, corner) {
  const [toLeft, toUp, toCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
