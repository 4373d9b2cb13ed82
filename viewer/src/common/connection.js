// The WebSocket to the program: frames in, inputs out, connected again when lost.

import { Reconnecting } from "./reconnecting.js";

/** The program speaks at least once a second; longer silence means a dead connection. */
const SILENCE_MS = 4000;

export class Connection {
  /** onFrame gets each frame, or null before the first; onChange gets "open", "lost" or "ended". */
  constructor(onFrame, onChange) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const onMessage = (text) => {
      let frame;
      try {
        frame = JSON.parse(text);
      } catch {
        console.error("viewer: a frame is not JSON");
        return;
      }
      onFrame(frame);
    };
    this.socket = new Reconnecting(`${scheme}//${location.host}/ws`, { onMessage, onChange, silenceMs: SILENCE_MS });
  }

  /** Whether it went out; input without a connection is dropped, as it would come too late. */
  send(input) {
    return this.socket.send(JSON.stringify(input));
  }
}
