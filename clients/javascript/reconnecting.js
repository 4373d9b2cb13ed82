// A WebSocket that is opened again when it is lost. For browsers and Node; the program's own pages use it too.

const FIRST_RETRY_MS = 400;
const LAST_RETRY_MS = 4000;

export class Reconnecting {
  /**
   * `onMessage` gets a message's text, or its bytes as an ArrayBuffer; `onChange` gets "open", "lost", or "ended" where the
   * program said that it ends. A connection that is silent for `silenceMs` counts as lost; 0: silence is no sign.
   */
  constructor(address, { onMessage, onChange = () => {}, silenceMs = 0 }) {
    this.address = address;
    this.onMessage = onMessage;
    this.onChange = onChange;
    this.silenceMs = silenceMs;
    this.retry = FIRST_RETRY_MS;
    this.socket = null;
    this.ending = new AbortController();
    // A phone that wakes up should not sit out the pause.
    const { signal } = this.ending;
    globalThis.addEventListener?.("online", () => this.#hurry(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#hurry(), { signal });
    this.#open();
  }

  /** Whether it went out; what is said without a connection is dropped, as it would come too late. */
  send(text) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(text);
    return true;
  }

  /** Says goodbye and stays closed. */
  close() {
    this.ending.abort();
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    this.socket?.close();
    this.socket = null;
  }

  #open() {
    clearTimeout(this.timer);
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.#watch(socket);
    socket.onopen = () => {
      this.retry = FIRST_RETRY_MS;
      if (socket === this.socket) this.onChange("open");
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.#watch(socket);
      this.onMessage(event.data);
    };
    socket.onclose = (event) => this.#lost(socket, event.code === 1001 ? "ended" : "lost");
    // Browsers close after an error; Node 20 says no more.
    socket.onerror = () => this.#lost(socket, "lost");
  }

  #watch(socket) {
    clearTimeout(this.silence);
    if (this.silenceMs === 0) return;
    this.silence = setTimeout(() => {
      socket.close();
      // A dead peer never answers the close.
      this.#lost(socket, "lost");
    }, this.silenceMs);
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
