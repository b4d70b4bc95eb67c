// Rows of a long table that come from the server, a screenful at a time.

const CHUNK = 200; // rows per request
const HELD = 40; // chunks that are kept

class ServerRows {
  /** @param address of the rows, without start and number; @param onRows called when some have arrived */
  constructor(address, onRows) {
    this.address = address;
    this.onRows = onRows;
    this.length = 0;
    this.told = ""; // why there are none, if so
    this.chunks = new Map();
    this.asked = new Set();
    this.load(0);
  }

  at(index) {
    return this.chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
  }

  /** The rows from first to last are in view. */
  want(first, last) {
    for (let chunk = Math.floor(first / CHUNK); chunk <= Math.floor(Math.max(first, last - 1) / CHUNK); chunk++) {
      if (chunk * CHUNK < this.length) this.load(chunk);
    }
  }

  async load(chunk) {
    // What failed is not asked for again by this source: the table asks at every redraw.
    if (this.chunks.has(chunk) || this.asked.has(chunk)) return;
    this.asked.add(chunk);
    try {
      const answer = await fetch(`${this.address}${this.address.includes("?") ? "&" : "?"}start=${chunk * CHUNK}&number=${CHUNK}`);
      if (!answer.ok) throw new Error((await answer.text()).trim());
      const { total, rows, waiting, problem } = await answer.json();
      this.length = total;
      this.told = waiting ?? problem ?? "";
      this.chunks.set(chunk, rows);
      this.asked.delete(chunk);
      while (this.chunks.size > HELD) this.chunks.delete(this.chunks.keys().next().value);
    } catch (error) {
      this.told = `The rows did not come (${error.message}); is the dashboard still running?`;
    }
    this.onRows();
  }
}

/** Tell when the dashboard no longer answers, and when it does again; dash tells the console only. */
function watchAnswers() {
  const ask = window.fetch.bind(window);
  const notice = node("p", { class: "notice gone", role: "alert", hidden: true }, "The dashboard does not answer; is it still running? This page goes on when it is.");
  window.fetch = async (...request) => {
    try {
      const answer = await ask(...request);
      notice.hidden = true;
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") {
        if (!notice.isConnected) document.body.prepend(notice);
        notice.hidden = false;
      }
      throw error;
    }
  };
}

watchAnswers();
