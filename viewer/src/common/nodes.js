// The nodes that are alive, and those that have gone.

/** Nodes that are remembered at most, those gone included. */
const MOST_NODES = 12;

export class Nodes {
  /** `list` is where they are shown. */
  constructor(list) {
    this.list = list;
    /** Every node seen so far and whether it is alive. */
    this.seen = new Map();
  }

  take(names) {
    const alive = new Set(names);
    for (const name of this.seen.keys()) this.seen.set(name, alive.has(name));
    for (const name of alive) if (this.seen.size < MOST_NODES) this.seen.set(name, true);
  }

  draw() {
    const look = JSON.stringify([...this.seen]);
    if (this.list.dataset.look === look) return;
    this.list.dataset.look = look;
    this.list.replaceChildren(
      ...[...this.seen].map(([name, alive]) => {
        const item = document.createElement("li");
        item.textContent = alive ? name : `${name} (gone)`;
        item.dataset.alive = alive;
        return item;
      }),
    );
  }
}
