// The page: which part is shown, the rows of its tables, and the effects of clicks and selections in figures.

const pageOf = (path) => {
  const name = path.split("/").filter(Boolean).pop() ?? "overview";
  return PAGES.includes(name) ? name : "overview";
};

const wordsOf = ({ featureType, noun }) => (featureType === "token" ? "Words" : `${noun[0].toUpperCase()}${noun.slice(1)}s`);

const COLUMNS = {
  neurons: (controls) => [
    ...(controls.layers.length > 1 && !urlParam("layer") ? [{ key: "layer", heading: "Layer", about: "Name of the layer", show: (row) => word(row.layer), risingFirst: true }] : []),
    { key: "neuron", heading: "Neuron", about: "Index in the layer", show: (row) => node("a", { href: neuronAddress(row.layer, row.neuron), "data-go": "", tabindex: "-1" }, String(row.neuron)), risingFirst: true },
    { key: "shown", heading: "State", about: "In which stages the neuron is in use; undecided: in one only, which may be chance; displaced: another neuron explains the change", show: (row) => node("span", { class: `pill ${row.shown}`, title: row.shown }, row.label), risingFirst: true },
    { key: "beyond_before", heading: `${wordsOf(controls)} before`, about: `Most distinctive, in ${controls.before}`, show: (row) => node("bdi", {}, row.beyond_before.join("  ")), risingFirst: true },
    { key: "beyond_after", heading: `${wordsOf(controls)} after`, about: `Most distinctive, in ${controls.after}`, show: (row) => node("bdi", {}, row.beyond_after.join("  ")), risingFirst: true },
    { key: "length_before", heading: "Length before", about: `Number of features it prefers in ${controls.before}`, show: (row) => count(row.length_before) },
    { key: "length_after", heading: "Length after", about: `Number of features it prefers in ${controls.after}`, show: (row) => count(row.length_after) },
    { key: "mass_after", heading: "Mass after", about: `Sum of activations in ${controls.after}`, show: (row) => quantity(row.mass_after) },
    { key: "hellinger", heading: "Hellinger distance", about: "Between the preferences before and after, over all wins as in the paper: 0 identical, 1 nothing in common; large if there are few wins", show: (row) => fixed(row.hellinger) },
    { key: "hellinger_corrected", heading: "Corrected distance", about: "Size of the change: Hellinger distance without the bias of small samples, with its 95% interval; 0 identical, 1 nothing in common", show: (row) => spanned(row.hellinger_corrected, row.hellinger_corrected_low, row.hellinger_corrected_high) },
    { key: "change", heading: "Moved at least", about: "Lower bound of the corrected distance. Significant neurons come first, then untested ones", show: (row) => fixed(row.hellinger_corrected_low) },
    { key: "q_value", heading: "q-value", about: "False discovery rate at which the neuron is significant", show: (row) => quantity(row.q_value), risingFirst: true },
  ],
  pairs: (controls) => [
    { key: "before", heading: "Before", about: `Neuron of ${controls.before}`, show: (row) => (row.before === null ? "–" : String(row.before)), sortable: false },
    { key: "after", heading: "After", about: `Neuron of ${controls.after}`, show: (row) => (row.after === null ? "–" : String(row.after)), sortable: false },
    { key: "affinity", heading: "Affinity", about: "Overlap of their preferences, from 0 (nothing in common) to 1 (identical)", show: (row) => fixed(row.affinity) },
    { key: "mutual", heading: "Mutual", about: "Whether they are the nearest neurons of each other", show: (row) => (row.state !== "matched" ? "no match" : row.mutual ? "yes" : "no"), sortable: false },
    { key: "beyond_before", heading: `${wordsOf(controls)} before`, about: `Most distinctive, in ${controls.before}`, show: (row) => node("bdi", {}, (row.beyond_before ?? []).join("  ")), sortable: false },
    { key: "beyond_after", heading: `${wordsOf(controls)} after`, about: `Most distinctive, in ${controls.after}`, show: (row) => node("bdi", {}, (row.beyond_after ?? []).join("  ")), sortable: false },
  ],
};

const fixed = (number) => (number === null || number === undefined ? "–" : number.toFixed(3));
const neuronAddress = (layer, neuron) => addressWith({ layer, neuron }, "/neuron");

/** The theme chosen before. Browsers may refuse storage in a frame, such as in a notebook. */
const savedTheme = () => {
  try {
    return window.localStorage.getItem("txray-theme");
  } catch {
    return null;
  }
};
const saveTheme = (theme) => {
  try {
    window.localStorage.setItem("txray-theme", theme);
  } catch {
    // Then the theme is lost with the page.
  }
};

/** A long table of the page, with its current rows. */
class Listing {
  constructor(name, caption, open) {
    this.name = name;
    this.caption = document.getElementById(caption);
    this.key = "";
    this.table = new VirtualTable({
      view: document.getElementById(`${name}-view`),
      table: document.getElementById(`${name}-table`),
      head: document.getElementById(`${name}-head`),
      body: document.getElementById(`${name}-body`),
      onPick: (row) => this.table.mark(row.id),
      onEnter: open,
      onSort: ({ key, falling }) => change({ sort: `${falling ? "-" : ""}${key}` }),
    });
    // A click opens a row; the arrow keys only mark it.
    document.getElementById(`${name}-body`).addEventListener("click", (event) => {
      const index = event.target.closest("tr[data-index]")?.dataset.index;
      // While other rows are loading, the table still shows the former ones.
      const row = index === undefined ? undefined : this.table.source.at(Number(index));
      if (row && !event.target.closest("a[href]")) open(row);
    });
  }

  /** Show the rows for the URL, unless they are shown already. */
  show(controls, version) {
    const sort = urlParam("sort") || "-change";
    const key = JSON.stringify([window.location.search, controls.before, controls.after, controls.layers.length]);
    if (this.key === `${key} ${version}`) return;
    const same = this.key.startsWith(`${key} `);
    this.key = `${key} ${version}`;
    this.table.use(COLUMNS[this.name](controls), { key: sort.replace(/^-/, ""), falling: sort.startsWith("-") });
    // States of untested neurons have longer labels.
    this.table.view.classList.toggle("untested-rows", Boolean(controls.untested));
    const former = this.table.view.scrollTop;
    let first = true;
    const source = new ServerRows(`/rows/${this.name}${window.location.search}`, () => {
      if (this.source !== source) return;
      this.table.table.removeAttribute("aria-busy");
      this.showCount(source);
      if (first) this.table.setRows(source);
      else this.table.refresh();
      // The same rows with more results: stay at the same position.
      if (first && same) this.table.view.scrollTop = former;
      first = false;
    });
    this.source = source;
    this.table.table.setAttribute("aria-busy", "true");
  }

  showCount(source) {
    firstRows();
    const noun = this.name === "pairs" ? "pairs and single neurons" : "neurons";
    this.caption.textContent = source.message || (source.length ? `${count(source.length)} ${noun}.` : "No neuron matches. Clear filters.");
  }
}

let firstRows; // called when the first rows of a table are shown

const page = {
  rows: new Promise((done) => { firstRows = done; }),

  /** Create tables and details, once. */
  start() {
    if (this.listings) return;
    this.listings = {
      overview: new Listing("neurons", "neurons-count", (row) => go(neuronAddress(row.layer, row.neuron))),
      matching: new Listing("pairs", "pairs-count", (row) => this.openPair(row)),
    };
    this.details = new Detail(document.getElementById("detail"));
    for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("click", (event) => this.clicked(event));
    window.addEventListener("resize", () => this.fitLabels());
  },

  /** Open the neuron of the stage after, or the one before if it has no counterpart. */
  openPair({ before, after }) {
    const [layerBefore, layerAfter] = matchedLayers(this.controls);
    go(after === null ? neuronAddress(layerBefore, before) : neuronAddress(layerAfter, after));
  },

  /** Wait for the first rows, but at most half a second, and for the browser to paint them. */
  async words() {
    await Promise.race([this.rows, new Promise((done) => setTimeout(done, 500))]);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  },

  clicked(event) {
    const link = event.target.closest("a[href]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      if (link.dataset.page !== undefined) {
        event.preventDefault();
        go(addressWith({}, link.getAttribute("href")));
        document.getElementById("main").focus({ preventScroll: true });
        window.scrollTo(0, 0);
      } else if (link.dataset.go !== undefined) {
        event.preventDefault();
        go(link.getAttribute("href"));
        window.scrollTo(0, 0);
      }
    }
    const save = event.target.closest("button[data-save]");
    if (save) this.save(save.dataset.figure, save.dataset.save, save);
  },

  /** Save a figure with its captions, as framed by the server. */
  async save(name, format, button) {
    button.disabled = true;
    try {
      const response = await fetch(`/export/${name}.json${window.location.search}`);
      if (!response.ok) throw new Error((await response.text()).trim());
      const { data, layout } = await response.json();
      const { width, height } = layout;
      const address = await Plotly.toImage({ data, layout }, { format, width, height, scale: format === "png" ? 2 : 1 });
      const link = node("a", { href: address, download: `${name}.${format}` });
      link.click();
      document.documentElement.dataset.saved = `${name}.${format}`;
    } catch (error) {
      const problem = document.getElementById(`${name}-problem`);
      problem.className = "notice";
      problem.textContent = `The figure could not be saved: ${error.message}`;
    }
    button.disabled = false;
  },

  /** Hide labels in narrow panels, where they would overlap. */
  fitLabels() {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      if (!plot.clientWidth || !plot.data) continue;
      const wide = plot.clientWidth >= 520;
      const labels = plot.data.findIndex((trace) => trace.meta === "labels");
      if (labels >= 0 && (plot.data[labels].visible ?? true) !== wide) Plotly.restyle(plot, { visible: wide }, [labels]);
      const names = plot.layout.annotations ?? [];
      const changes = {};
      if (names.length > 3) {
        // On a narrow screen, only the first and the last stage of a flow are named.
        names.forEach((name, index) => {
          const shown = wide || index === 0 || index === names.length - 1;
          if ((name.visible ?? true) !== shown) changes[`annotations[${index}].visible`] = shown;
        });
      }
      const ticks = plot.layout.xaxis?.ticktext?.length ?? 0;
      const size = wide || ticks < 12 ? 12 : 8;
      if (ticks >= 12 && plot.layout.xaxis.tickfont?.size !== size) changes["xaxis.tickfont.size"] = size;
      if (Object.keys(changes).length) Plotly.relayout(plot, changes);
    }
  },

  showPage(name) {
    for (const item of PAGES) {
      const section = document.getElementById(`page-${item}`);
      if (section) section.hidden = item !== name;
    }
    for (const link of document.querySelectorAll("nav a[data-page]")) {
      if (link.dataset.page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  },

  showExports() {
    for (const link of document.querySelectorAll("a[data-export]")) {
      const path = link.getAttribute("href").split("?")[0];
      link.setAttribute("href", path + window.location.search);
    }
  },
};

window.dash_clientside = Object.assign(window.dash_clientside ?? {}, {
  txray: {
    /** Update the page to its URL. */
    follow(path, search, controls, version) {
      page.start();
      const name = pageOf(path);
      page.showPage(name);
      page.showExports();
      if (!controls) return "";
      page.controls = controls;
      showStageControls(document.getElementById("stage-controls"), controls);
      document.getElementById("warnings").replaceChildren(
        ...[...controls.warnings, ...(controls.problem && name === "overview" ? [controls.problem] : []), ...(controls.note ? [controls.note] : [])].map((text) => node("p", { class: "notice" }, text)));
      if (name === "overview") {
        showFilters(document.getElementById("filters"), controls);
        page.listings.overview.show(controls, version);
      }
      if (name === "neuron") showNeuronControls(document.getElementById("neuron-controls"), controls);
      if (name === "feature") showFeatureControls(document.getElementById("feature-controls"), controls);
      if (name === "matching") {
        showLayerControls(document.getElementById("layer-controls"), controls);
        page.listings.matching.show(controls, version);
      }
      const title = { overview: `${controls.before} → ${controls.after}`, neuron: urlParam("neuron") ? `Neuron ${urlParam("neuron")}` : "Neuron", feature: urlParam("word") || "Feature", matching: "Matching", sources: "Sources" }[name];
      document.title = `${title} · txray`;
      return `${path}${search ?? ""} ${version} ${controls.waiting ? "waiting" : "ready"}`;
    },

    /** Add the figures of a page when it is first shown; on the overview, after the summary. */
    async mount(path, summary, cards, ...mounted) {
      const name = pageOf(path);
      const ready = name !== "overview" || typeof summary !== "string";
      if (ready && name === "overview" && !mounted.some(Boolean)) await page.words();
      return Object.entries(FIGURES).map(([figure, { page: figurePage }], index) =>
        (figurePage === name && ready && !mounted[index] ? cards[figure] : dash_clientside.no_update));
    },

    /** Light or dark: as set in the system, until the user switches. */
    theme(clicks) {
      const root = document.documentElement;
      const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      let theme = root.dataset.theme ?? savedTheme() ?? system;
      if (clicks) {
        theme = theme === "dark" ? "light" : "dark";
        saveTheme(theme);
      }
      root.dataset.theme = theme;
      document.getElementById("theme-switch").textContent = theme === "dark" ? "Switch to light" : "Switch to dark";
      return theme;
    },

    /** A figure is about to be drawn: fit its labels afterwards. */
    fit() {
      clearTimeout(page.fitting);
      page.fitting = setTimeout(() => page.fitLabels(), 300);
      return "";
    },

    detail(record) {
      page.start();
      document.getElementById("one-neuron").hidden = !record;
      if (record) {
        page.details.show(record);
        // The header is shown above the figures.
        const head = document.getElementById("neuron-head");
        for (const side of ["--before", "--after"]) head.style.setProperty(side, page.details.element.style.getPropertyValue(side));
        head.replaceChildren(page.details.element.querySelector("header"));
      }
      return record ? record.title : "";
    },

    /** A region drawn in a figure filters the columns of its axes. */
    brush(selection, id) {
      const name = id.replace(/-figure$/, "");
      const columns = FIGURES[name].brush;
      if (!selection?.range) {
        // A double click removes the region; a redrawn figure reports undefined.
        if (selection === null && columns.some((column) => column && urlParam(column))) change(Object.fromEntries(columns.filter(Boolean).map((column) => [column, null])));
        return "";
      }
      const changes = {};
      [["x", columns[0]], ["y", columns[1]]].forEach(([axis, column]) => {
        const ends = selection.range[axis];
        if (column && ends) changes[column] = [...ends].sort((a, b) => a - b).map((end) => Number(end).toPrecision(5)).map(Number).join("..");
      });
      change(changes);
      return JSON.stringify(changes);
    },

    /** A mark opens a neuron, a bar filters by its tag, a cell shows a layer of a stage. */
    click(clicked, id, controls) {
      const name = id.replace(/-figure$/, "");
      const point = clicked?.points?.[0];
      // Dash passes on the custom data of marks, but not those of heatmap cells.
      const value = point?.customdata ?? (name === "layers" ? document.querySelector(`#${id} .js-plotly-plot`)?.data[0].customdata[point?.y]?.[point?.x] : null);
      if (value === undefined || value === null) return "";
      if (name === "tags") change({ top: value });
      else if (name === "layers") {
        const [layer, stage] = value;
        const names = controls.stages.map((item) => item.name);
        const index = names.indexOf(stage);
        change({ layer, after: stage, before: names[Math.max(index - 1, 0)] });
      } else {
        const row = Array.isArray(value) ? value[0] : value;
        const layer = controls?.starts.findLast(([, start]) => start <= row);
        if (layer) go(neuronAddress(layer[0], row - layer[1]));
        window.scrollTo(0, 0);
      }
      return String(value);
    },
  },
});
