// For tests: the built program as a child process. KINESTREAM names it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const LIMIT_MS = 60_000;

/** The reason to skip a test against the program; false where there is none. */
export const withoutProgram = process.env.KINESTREAM ? false : "KINESTREAM is not set to the built program";

/** A port that nobody listens on. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Waits until `condition` holds. */
export async function until(what, condition) {
  const giveUp = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    if (Date.now() > giveUp) throw new Error(`${what} never came`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

export class Running {
  said = "";

  constructor(...args) {
    const env = { ...process.env, OMP_NUM_THREADS: "1" };
    this.child = spawn(process.env.KINESTREAM, args, { cwd: ROOT, env, stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr.on("data", (data) => (this.said += data));
    this.ended = new Promise((end) => {
      this.child.on("close", (code) => end(code));
      this.child.on("error", (error) => {
        this.said += error;
        end(-1);
      });
    });
  }

  /** Waits until the program has said this on stderr; returns what matched. */
  async says(pattern) {
    let ended = false;
    this.ended.then(() => (ended = true));
    await until(`${pattern} (${this.said})`, () => {
      if (ended) throw new Error(`the program ended before ${pattern}: ${this.said}`);
      return pattern.test(this.said);
    });
    return this.said.match(pattern);
  }

  /** Ctrl-C; its exit status. */
  async interrupt() {
    this.child.kill("SIGINT");
    return this.ended;
  }
}
