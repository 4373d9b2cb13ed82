// The WebSocket to the program: frames in, inputs out, connected again when lost.

/** The program speaks at least once a second; longer silence means a dead connection. */
const SILENCE_MS = 4000;
const FIRST_RETRY_MS = 400;
const LAST_RETRY_MS = 4000;

export class Connection {
  /** onFrame gets each frame, or null before the first; onChange gets "open", "lost" or "ended". */
  constructor(onFrame, onChange) {
    this.onFrame = onFrame;
    this.onChange = onChange;
    this.retry = FIRST_RETRY_MS;
    // A phone that wakes up should not sit out the pause.
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    this.#open();
  }

  /** Whether it went out; input without a connection is dropped, as it would come too late. */
  send(input) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(input));
    return true;
  }

  #open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.socket = socket;
    this.#watch(socket);
    socket.onopen = () => {
      this.retry = FIRST_RETRY_MS;
      this.onChange("open");
    };
    socket.onmessage = (event) => {
      this.#watch(socket);
      let frame;
      try {
        frame = JSON.parse(event.data);
      } catch {
        console.error("viewer: a frame is not JSON");
        return;
      }
      this.onFrame(frame);
    };
    socket.onclose = (event) => this.#lost(socket, event.code === 1001 ? "ended" : "lost");
  }

  #watch(socket) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      socket.close();
      // A dead peer never answers the close.
      this.#lost(socket, "lost");
    }, SILENCE_MS);
  }

  #lost(socket, how) {
    if (socket !== this.socket) return;
    this.socket = null;
    clearTimeout(this.silence);
    this.onChange(how);
    this.timer = setTimeout(() => this.#open(), this.retry);
    this.retry = Math.min(this.retry * 1.6, LAST_RETRY_MS);
  }

  #hurry() {
    if (this.socket === null) this.#open();
  }
}
