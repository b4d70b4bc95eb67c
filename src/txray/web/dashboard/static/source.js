// Rows of a long table, loaded from the server in chunks.

const CHUNK = 200; // rows per request
const MAX_CHUNKS = 40; // in memory

class ServerRows {
  /** @param address of the rows, without start and number; @param onRows called when some have arrived */
  constructor(address, onRows) {
    this.address = address;
    this.onRows = onRows;
    this.length = 0;
    this.message = ""; // why there are no rows, if so
    this.chunks = new Map();
    this.requested = new Set();
    this.load(0);
  }

  at(index) {
    return this.chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
  }

  /** Load the rows from first to last, which are in view. */
  want(first, last) {
    for (let chunk = Math.floor(first / CHUNK); chunk <= Math.floor(Math.max(first, last - 1) / CHUNK); chunk++) {
      if (chunk * CHUNK < this.length) this.load(chunk);
    }
  }

  async load(chunk) {
    // Failed chunks are not requested again, because the table would do so at every redraw.
    if (this.chunks.has(chunk) || this.requested.has(chunk)) return;
    this.requested.add(chunk);
    try {
      const response = await fetch(`${this.address}${this.address.includes("?") ? "&" : "?"}start=${chunk * CHUNK}&number=${CHUNK}`);
      if (!response.ok) throw new Error((await response.text()).trim());
      const { total, rows, waiting, problem } = await response.json();
      this.length = total;
      this.message = waiting ?? problem ?? "";
      this.chunks.set(chunk, rows);
      this.requested.delete(chunk);
      while (this.chunks.size > MAX_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
    } catch (error) {
      this.message = `The rows could not be loaded (${error.message}); is the dashboard still running?`;
    }
    this.onRows();
  }
}

/** Show when the server stops responding, and hide it when it responds again; Dash only logs to the console. */
function watchConnection() {
  const originalFetch = window.fetch.bind(window);
  const notice = node("p", { class: "notice gone", role: "alert", hidden: true }, "The dashboard does not respond. Is it still running? This page continues when it is.");
  window.fetch = async (...request) => {
    try {
      const response = await originalFetch(...request);
      notice.hidden = true;
      return response;
    } catch (error) {
      if (error.name !== "AbortError") {
        if (!notice.isConnected) document.body.prepend(notice);
        notice.hidden = false;
      }
      throw error;
    }
  };
}

watchConnection();
