// A sortable table of any length. Only the rows in view exist, so that thousands do not lag; where the rows come
// from, and in which order, is up to the source.

const ROW = 34; // pixels, as in the style sheet
const SPARE = 8; // rows drawn beyond each edge of the view

class VirtualTable {
  /**
   * @param parts view: element that scrolls; table: the grid in it; head: row of the headings; body: of the rows;
   *   onPick: called with a row; onEnter: called with the picked row when its details are asked for;
   *   onSort: called with { key, falling } when a heading is clicked
   */
  constructor({ view, table, head, body, onPick, onEnter, onSort }) {
    Object.assign(this, { view, table, head, body, onPick, onEnter, onSort });
    this.columns = [];
    this.sort = null;
    this.source = { length: 0, at: () => undefined };
    this.picked = null; // id of the picked row
    this.index = -1; // its index; -1 if not known
    this.awaited = false; // pick the row at this index as soon as it is loaded
    this.drawn = [0, 0]; // indices of the rows that exist, without the last
    view.addEventListener("scroll", () => requestAnimationFrame(() => this.fill()));
    new ResizeObserver(() => this.fill()).observe(view);
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-index]");
      if (!row || event.target.closest("a[href]")) return;
      table.focus({ preventScroll: true });
      this.choose(Number(row.dataset.index));
    });
    table.addEventListener("keydown", (event) => {
      if (event.target !== table || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" || event.key === " ") {
        // A picked row that the list does not hold is known by its id only.
        if (this.picked !== null && !this.awaited) this.onEnter?.(this.source.at(this.pickedIndex()) ?? { id: this.picked });
      } else if (!this.walk(event.key)) return;
      event.preventDefault();
    });
  }

  /**
   * Show these columns, from the next `setRows` or `refresh` on: earlier rows may not fit them.
   * @param columns of { key, heading, about, show(row) -> string or node, risingFirst?, sortable? }
   * @param sort the column by which the rows are sorted, as { key, falling }, or null
   */
  use(columns, sort) {
    const focused = this.head.contains(document.activeElement) ? document.activeElement.closest("th")?.dataset.key : null;
    this.columns = columns;
    this.head.replaceChildren(...columns.map((column) => this.heading(column)));
    this.table.setAttribute("aria-colcount", columns.length);
    this.showSort(sort);
    if (focused) [...this.head.children].find((cell) => cell.dataset.key === focused)?.querySelector("button")?.focus();
  }

  heading(column) {
    const cell = (content) => node("th", { scope: "col", "data-key": column.key }, content);
    if (column.sortable === false) return cell(node("span", { title: column.about }, column.heading));
    const button = node("button", { type: "button", title: column.about }, column.heading);
    button.addEventListener("click", () => {
      const falling = this.sort?.key === column.key ? !this.sort.falling : !column.risingFirst;
      this.showSort({ key: column.key, falling });
      this.onSort?.(this.sort);
    });
    return cell(button);
  }

  showSort(sort) {
    this.sort = sort;
    for (const cell of this.head.children) {
      if (cell.dataset.key === sort?.key) cell.setAttribute("aria-sort", sort.falling ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /**
   * Show these rows from the top; the picked one stays picked.
   * @param source of { length, at(index) -> row, or undefined while it is not loaded and for -1, want?(first, last), indexOf?(id) }:
   *   `want` gets the rows in view, without the last; the source calls `refresh` when it has loaded some.
   *   A row has a unique string `id`; one that is `faint` is grey.
   */
  setRows(source) {
    this.source = source;
    this.index = -1;
    this.awaited = false;
    this.table.setAttribute("aria-rowcount", source.length + 1);
    this.view.scrollTop = 0;
    this.draw();
  }

  /** Draw again at the same position: rows have arrived or changed. */
  refresh() {
    this.table.setAttribute("aria-rowcount", this.source.length + 1);
    if (this.awaited && this.source.at(this.index)) this.choose(this.index);
    else this.draw();
  }

  /** Indices of the rows in view and of `spare` ones beyond either edge, without the last. */
  visible(spare) {
    const last = Math.min(this.source.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW) + spare);
    return [Math.min(last, Math.max(0, Math.floor(this.view.scrollTop / ROW) - spare)), last];
  }

  /** Draw if a row in view is missing. Rows are not replaced without need: one replaced under a pressed button gets no click. */
  fill() {
    const [first, last] = this.visible(0);
    if (first < this.drawn[0] || last > this.drawn[1]) this.draw();
  }

  draw() {
    const { length } = this.source;
    if (this.index >= 0 && !this.awaited && (this.source.at(this.index)?.id ?? this.picked) !== this.picked) this.index = -1;
    const [first, last] = (this.drawn = this.visible(SPARE));
    const spacer = (rows) => node("tr", { class: "spacer", "aria-hidden": "true", style: `height:${rows * ROW}px` });
    const rows = [];
    for (let index = first; index < last; index++) rows.push(this.row(index));
    this.body.replaceChildren(spacer(first), ...rows, spacer(length - last));
    const active = rows[this.index - first];
    if (active) this.table.setAttribute("aria-activedescendant", active.id);
    else this.table.removeAttribute("aria-activedescendant");
    this.source.want?.(first, last);
  }

  row(index) {
    const row = this.source.at(index);
    const picked = row !== undefined && row.id === this.picked;
    if (picked && !this.awaited) this.index = index;
    const attributes = {
      id: `${this.table.id}-row-${index}`, "data-index": index, "data-id": row?.id, "aria-rowindex": index + 2,
      "aria-selected": String(picked), "aria-busy": row ? null : "true", class: row?.faint ? "faint" : null,
    };
    return node("tr", attributes, ...this.columns.map((column) => node("td", { "data-key": column.key }, row ? column.show(row) : "")));
  }

  /** Mark the row of this id as picked, without moving the view; null marks none. */
  mark(id) {
    if (id === this.picked) return;
    this.picked = id;
    this.index = -1;
    this.awaited = false;
    this.draw();
  }

  /** Bring a row into view and pick it, at once or when it is loaded. */
  show(index) {
    const top = index * ROW;
    const height = this.view.clientHeight - this.head.offsetHeight;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (top + ROW > this.view.scrollTop + height) this.view.scrollTop = top + ROW - height;
    this.choose(index);
  }

  choose(index) {
    const row = this.source.at(index);
    this.index = index;
    this.awaited = row === undefined;
    if (row) this.picked = row.id;
    this.draw();
    if (row) this.onPick?.(row);
  }

  /** Index of the picked row, -1 if it is not known. */
  pickedIndex() {
    if (this.index < 0 && this.picked !== null) this.index = this.source.indexOf?.(this.picked) ?? -1;
    return this.index;
  }

  /** Move by a key; false if the key has no meaning. */
  walk(key) {
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(key in steps)) return false;
    if (!this.source.length) return true;
    const current = this.pickedIndex();
    const next = current < 0 ? 0 : current + steps[key];
    this.show(Math.min(Math.max(next, 0), this.source.length - 1));
    return true;
  }
}
