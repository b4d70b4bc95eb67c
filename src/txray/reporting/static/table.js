// A sortable table of neurons. Only the rows in view exist, so thousands do not lag.

const ROW = 34; // pixels, as in the style sheet
const SPARE = 8; // rows drawn beyond each edge of the view
const NAMED = 5; // features named in a row

class NeuronTable {
  /** @param onPick called with a neuron; @param onEnter called when its details are asked for */
  constructor(onPick, onEnter) {
    this.onPick = onPick;
    this.view = document.getElementById("list");
    this.table = document.getElementById("neurons");
    this.body = document.getElementById("rows");
    this.rows = [];
    this.picked = null;
    this.sort = null;
    this.view.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    new ResizeObserver(() => this.draw()).observe(this.view);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-neuron]");
      if (!row) return;
      this.table.focus({ preventScroll: true });
      this.onPick(Number(row.dataset.neuron));
    });
    this.table.addEventListener("keydown", (event) => {
      if (event.target !== this.table || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" || event.key === " ") {
        if (this.picked !== null) onEnter();
      } else if (!this.walk(event.key)) return;
      event.preventDefault();
    });
  }

  /** Columns of one comparison: key, heading, explanation, value to sort by, text to show. */
  use(data, index) {
    const pair = data.pairs[index];
    const [before, after] = [data.stages[pair.before].name, data.stages[pair.after].name];
    const number = (key, heading, about, show) => ({ key, heading, about, value: (n) => pair[key][n], show: (n) => show(pair[key][n]) });
    const { start, id } = pair.features[data.feature];
    const names = (n) => Array.from(id.slice(start[n], Math.min(start[n + 1], start[n] + NAMED)), (i) => data.words[data.feature][i]);
    this.columns = [
      { key: "neuron", heading: "Neuron", about: "Index in the layer", value: (n) => n, show: String },
      { key: "state", heading: "State", about: "Preferred in both stages, only before, only after, in neither; unsure: in one only, by no more than chance", value: (n) => pair.state[n], show: (n) => node("span", { class: `pill ${STATES[pair.state[n]]}` }, STATES[pair.state[n]]) },
      { key: "features", heading: "Prefers most", about: "Strongest features in either stage", value: (n) => names(n)[0] ?? null, show: (n) => node("bdi", {}, names(n).join("  ")) },
      number("length_before", "Length before", `Features preferred in ${before}`, count),
      number("length_after", "Length after", `Features preferred in ${after}`, count),
      number("mass_before", "Mass before", `Sum of activations in ${before}`, quantity),
      number("mass_after", "Mass after", `Sum of activations in ${after}`, quantity),
      number("hellinger", "Hellinger distance", "0: same preferences, 1: nothing in common", (h) => (h === null ? "–" : h.toFixed(3))),
      ...(pair.tests ? this.tested(pair.tests) : []),
    ];
    this.sure = pair.tests?.sure;
    if (!this.columns.some((column) => column.key === this.sort?.key)) this.sort = { key: pair.tests ? "change" : "mass_after", falling: true };
    document.getElementById("columns").replaceChildren(...this.columns.map((column) => this.heading(column)));
    this.table.setAttribute("aria-colcount", this.columns.length);
  }

  /** Columns that only tested comparisons have. */
  tested({ rank, squared, sure, q }) {
    return [
      { key: "change", heading: "Change, H²", about: "Cross-validated: 0 where nothing changed. Sorted, what is more than chance comes first", value: (n) => (squared[n] === null && !sure[n] ? null : -rank[n]), show: (n) => (squared[n] === null ? "–" : squared[n].toFixed(3)) },
      { key: "q", heading: "q-value", about: "Share of false discoveries among the neurons that changed as surely", value: (n) => q[n], show: (n) => (q[n] === null ? "–" : quantity(q[n])) },
    ];
  }

  heading(column) {
    const button = node("button", { type: "button", title: column.about }, column.heading);
    button.addEventListener("click", () => {
      // Numbers of neurons and names read best rising, sizes falling.
      const risingFirst = ["neuron", "state", "features", "q"].includes(column.key);
      this.sort = { key: column.key, falling: this.sort.key === column.key ? !this.sort.falling : !risingFirst };
      this.setRows(this.rows);
    });
    return node("th", { scope: "col", class: column.key, "data-key": column.key }, button);
  }

  /** Show these neurons, in the order of the sorted column; neurons without a value come last. */
  setRows(neurons) {
    const { key, falling } = this.sort;
    const { value } = this.columns.find((column) => column.key === key);
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return a - b;
      if (x === null || y === null) return x === null ? 1 : -1;
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return (falling ? -order : order) || a - b;
    };
    this.rows = [...neurons].sort(compare);
    for (const cell of document.getElementById("columns").children) {
      if (cell.dataset.key === key) cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    this.view.scrollTop = 0;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW) + SPARE);
    const spacer = (rows) => node("tr", { class: "spacer", "aria-hidden": "true", style: `height:${rows * ROW}px` });
    const rows = this.rows.slice(first, last).map((neuron, index) => this.row(neuron, first + index));
    this.body.replaceChildren(spacer(first), ...rows, spacer(this.rows.length - last));
    const active = rows.some((row) => row.id === `neuron-${this.picked}`);
    if (active) this.table.setAttribute("aria-activedescendant", `neuron-${this.picked}`);
    else this.table.removeAttribute("aria-activedescendant");
  }

  row(neuron, index) {
    return node("tr", { id: `neuron-${neuron}`, class: this.sure && !this.sure[neuron] ? "chance" : null, "data-neuron": neuron, "aria-rowindex": index + 2, "aria-selected": String(neuron === this.picked) },
      ...this.columns.map((column) => node("td", { class: column.key }, column.show(neuron))));
  }

  /** Mark a neuron as picked, without moving the view. */
  mark(neuron) {
    this.picked = neuron;
    this.draw();
  }

  /** Pick a neuron of the list and bring its row into view. */
  show(neuron) {
    const index = this.rows.indexOf(neuron);
    const top = index * ROW;
    const height = this.view.clientHeight - this.table.tHead.offsetHeight;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (top + ROW > this.view.scrollTop + height) this.view.scrollTop = top + ROW - height;
    this.onPick(neuron);
  }

  /** Move by a key; false where the key means nothing here. */
  walk(key) {
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(key in steps)) return false;
    if (!this.rows.length) return true;
    const here = this.rows.indexOf(this.picked);
    const next = here < 0 ? 0 : here + steps[key];
    this.show(this.rows[Math.min(Math.max(next, 0), this.rows.length - 1)]);
    return true;
  }
}
