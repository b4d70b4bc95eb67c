// The page: which part is shown, what its tables hold, what a click or a region in a picture means.

const PAGES = ["overview", "neuron", "feature", "matching", "sources"];
const pageOf = (path) => {
  const name = path.split("/").filter(Boolean).pop() ?? "overview";
  return PAGES.includes(name) ? name : "overview";
};

const COLUMNS = {
  neurons: (facts) => [
    ...(facts.layers.length > 1 && !said("layer") ? [{ key: "layer", heading: "Layer", about: "Name of the layer", show: (row) => word(row.layer), risingFirst: true }] : []),
    { key: "neuron", heading: "Neuron", about: "Index in the layer", show: (row) => node("a", { href: neuronAddress(row.layer, row.neuron), "data-go": "", tabindex: "-1" }, String(row.neuron)), risingFirst: true },
    { key: "shown", heading: "State", about: "Preferred in both stages, only before, only after, in neither; undecided: in one only, not significant", show: (row) => node("span", { class: `pill ${row.shown}` }, row.label), risingFirst: true },
    { key: "beyond_before", heading: "Prefers before", about: `Beyond frequency, in ${facts.before}`, show: (row) => node("bdi", {}, row.beyond_before.join("  ")), risingFirst: true },
    { key: "beyond_after", heading: "Prefers after", about: `Beyond frequency, in ${facts.after}`, show: (row) => node("bdi", {}, row.beyond_after.join("  ")), risingFirst: true },
    { key: "length_before", heading: "Length before", about: `Features preferred in ${facts.before}`, show: (row) => count(row.length_before) },
    { key: "length_after", heading: "Length after", about: `Features preferred in ${facts.after}`, show: (row) => count(row.length_after) },
    { key: "mass_after", heading: "Mass after", about: `Sum of activations in ${facts.after}`, show: (row) => quantity(row.mass_after) },
    { key: "hellinger", heading: "Hellinger distance", about: "Of all wins, as in the paper: 0 same preferences, 1 nothing in common; few wins make it large", show: (row) => fixed(row.hellinger) },
    { key: "hellinger_corrected", heading: "Corrected distance", about: "How far the neuron moved: Hellinger distance without what small samples add, with its 95% interval. 0 same, 1 disjoint", show: (row) => spanned(row.hellinger_corrected, row.hellinger_corrected_low, row.hellinger_corrected_high) },
    { key: "change", heading: "Changed, z", about: "How certain the change is: standard deviations above what permutations give. Significant neurons come first, then untested ones", show: (row) => (row.z_score === null ? "–" : row.z_score.toFixed(1)) },
    { key: "q_value", heading: "q-value", about: "False discovery rate at which the neuron is significant", show: (row) => quantity(row.q_value), risingFirst: true },
  ],
  pairs: (facts) => [
    { key: "before", heading: "Before", about: `Neuron of ${facts.before}`, show: (row) => (row.before === null ? "–" : String(row.before)), sortable: false },
    { key: "after", heading: "After", about: `Neuron of ${facts.after}`, show: (row) => (row.after === null ? "–" : String(row.after)), sortable: false },
    { key: "affinity", heading: "Affinity", about: "Overlap of their distributions, 1 is the same", show: (row) => fixed(row.affinity) },
    { key: "mutual", heading: "Mutual", about: "Whether each is the nearest of the other", show: (row) => (row.state !== "matched" ? "no match" : row.mutual ? "yes" : "no"), sortable: false },
    { key: "beyond_before", heading: "Prefers before", about: `Beyond frequency, in ${facts.before}`, show: (row) => node("bdi", {}, (row.beyond_before ?? []).join("  ")), sortable: false },
    { key: "beyond_after", heading: "Prefers after", about: `Beyond frequency, in ${facts.after}`, show: (row) => node("bdi", {}, (row.beyond_after ?? []).join("  ")), sortable: false },
  ],
};

const fixed = (number) => (number === null || number === undefined ? "–" : number.toFixed(3));
const neuronAddress = (layer, neuron) => addressWith({ layer, neuron }, "/neuron");

/** Light or dark as chosen before. In a frame of somebody else's page, as in a notebook, browsers may keep nothing. */
const keptShade = () => {
  try {
    return window.localStorage.getItem("txray-theme");
  } catch {
    return null;
  }
};
const keepShade = (shade) => {
  try {
    window.localStorage.setItem("txray-theme", shade);
  } catch {
    // Then it lasts as long as the page.
  }
};

/** A long table of the page, and what it shows now. */
class Listing {
  constructor(name, found, open) {
    this.name = name;
    this.found = document.getElementById(found);
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
    // A click opens, where walking by keys only marks.
    document.getElementById(`${name}-body`).addEventListener("click", (event) => {
      const index = event.target.closest("tr[data-index]")?.dataset.index;
      const row = index === undefined ? undefined : this.source?.at(Number(index));
      if (row && !event.target.closest("a[href]")) open(row);
    });
  }

  /** Show what the address says, unless that is what is shown already. */
  show(facts, version) {
    const sort = said("sort") || "-change";
    const key = JSON.stringify([window.location.search, facts.before, facts.after, facts.layers.length]);
    if (this.key === `${key} ${version}`) return;
    const same = this.key.startsWith(`${key} `);
    this.key = `${key} ${version}`;
    this.table.use(COLUMNS[this.name](facts), { key: sort.replace(/^-/, ""), falling: sort.startsWith("-") });
    // States take more room where they say that they are not tested.
    this.table.view.classList.toggle("untested-rows", Boolean(facts.untested));
    const former = this.table.view.scrollTop;
    let first = true;
    const source = new ServerRows(`/rows/${this.name}${window.location.search}`, () => {
      if (this.source !== source) return;
      this.tell(source);
      if (first) this.table.setRows(source);
      else this.table.refresh();
      // More has become known of the same rows: nobody wants to be thrown back to the top.
      if (first && same) this.table.view.scrollTop = former;
      first = false;
    });
    this.source = source;
  }

  tell(source) {
    firstRows();
    const noun = this.name === "pairs" ? "pairs and single neurons" : "neurons";
    this.found.textContent = source.told || (source.length ? `${count(source.length)} ${noun}.` : "No neuron is left; take a filter off.");
  }
}

let firstRows; // called when the first rows of a table have come

const page = {
  rows: new Promise((done) => { firstRows = done; }),

  /** Build what the page's script owns, once. */
  start() {
    if (this.listings) return;
    this.listings = {
      overview: new Listing("neurons", "found", (row) => go(neuronAddress(row.layer, row.neuron))),
      matching: new Listing("pairs", "pairs-found", (row) => this.openPair(row)),
    };
    this.details = new Detail(document.getElementById("detail"));
    for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("click", (event) => this.clicked(event));
    window.addEventListener("resize", () => this.fitLabels());
  },

  /** The neuron of the stage after, or the one before where it has no counterpart. */
  openPair({ before, after }) {
    const [own, other] = matchedLayers(this.facts);
    go(after === null ? neuronAddress(own, before) : neuronAddress(other, after));
  },

  /** The first rows stand, or half a second has passed; and the browser has painted what there is. */
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

  /** Save a picture with its words, as the server frames it for a paper. */
  async save(name, format, button) {
    button.disabled = true;
    try {
      const answer = await fetch(`/export/${name}.json${window.location.search}`);
      if (!answer.ok) throw new Error((await answer.text()).trim());
      const { data, layout } = await answer.json();
      const { width, height } = layout;
      const address = await Plotly.toImage({ data, layout }, { format, width, height, scale: format === "png" ? 2 : 1 });
      const link = node("a", { href: address, download: `${name}.${format}` });
      link.click();
      document.documentElement.dataset.saved = `${name}.${format}`;
    } catch (error) {
      const place = document.getElementById(`${name}-problem`);
      place.className = "notice";
      place.textContent = `It could not be saved: ${error.message}`;
    }
    button.disabled = false;
  },

  /** Names are placed for a wide panel; where it is narrow they would lie on one another. */
  fitLabels() {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      if (!plot.clientWidth || !plot.data) continue;
      const wide = plot.clientWidth >= 520;
      const labels = plot.data.findIndex((trace) => trace.meta === "labels");
      if (labels >= 0 && (plot.data[labels].visible ?? true) !== wide) Plotly.restyle(plot, { visible: wide }, [labels]);
      const names = plot.layout.annotations ?? [];
      const changes = {};
      if (names.length > 3) {
        // Of the stages of a flow, the first and the last are named on a narrow screen.
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
    for (const each of PAGES) {
      const section = document.getElementById(`page-${each}`);
      if (section) section.hidden = each !== name;
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
    /** Make the page what the address says. */
    follow(path, search, facts, version) {
      page.start();
      const name = pageOf(path);
      page.showPage(name);
      page.showExports();
      if (!facts) return "";
      page.facts = facts;
      showChooser(document.getElementById("chooser"), facts);
      document.getElementById("remarks").replaceChildren(
        ...[...facts.remarks, ...(facts.problem && name === "overview" ? [facts.problem] : []), ...(facts.note ? [facts.note] : [])].map((text) => node("p", { class: "notice" }, text)));
      if (name === "overview") {
        showFilters(document.getElementById("filters"), facts);
        page.listings.overview.show(facts, version);
      }
      if (name === "neuron") showWhichNeuron(document.getElementById("which-neuron"), facts);
      if (name === "feature") showWhichFeature(document.getElementById("which-feature"), facts);
      if (name === "matching") {
        showWhichLayers(document.getElementById("which-layers"), facts);
        page.listings.matching.show(facts, version);
      }
      const title = { overview: `${facts.before} → ${facts.after}`, neuron: said("neuron") ? `Neuron ${said("neuron")}` : "Neuron", feature: said("word") || "Feature", matching: "Matching", sources: "Sources" }[name];
      document.title = `${title} · txray`;
      return `${path}${search ?? ""} ${version} ${facts.waiting ? "waiting" : "ready"}`;
    },

    /** Pictures of a page come once it is looked at, and, on the overview, once the words above them are there. */
    async mount(path, headline, cards, ...mounted) {
      const name = pageOf(path);
      const ready = name !== "overview" || typeof headline !== "string";
      if (ready && name === "overview" && !mounted.some(Boolean)) await page.words();
      return Object.entries(FIGURES).map(([figure, { page: own }], index) =>
        (own === name && ready && !mounted[index] ? cards[figure] : dash_clientside.no_update));
    },

    /** Light or dark: as the system says, until somebody says otherwise. */
    shade(clicks) {
      const root = document.documentElement;
      const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      let shade = root.dataset.theme ?? keptShade() ?? system;
      if (clicks) {
        shade = shade === "dark" ? "light" : "dark";
        keepShade(shade);
      }
      root.dataset.theme = shade;
      document.getElementById("shade").textContent = shade === "dark" ? "Light" : "Dark";
      return shade;
    },

    /** A picture is about to be drawn: names follow once it stands. */
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
        // What became of it stands above the pictures.
        const head = document.getElementById("neuron-head");
        for (const side of ["--before", "--after"]) head.style.setProperty(side, page.details.place.style.getPropertyValue(side));
        head.replaceChildren(page.details.place.querySelector("header"));
      }
      return record ? record.title : "";
    },

    /** A region drawn in a picture bounds the columns along its axes. */
    brush(selection, id) {
      const name = id.replace(/-figure$/, "");
      const columns = FIGURES[name].brush;
      if (!selection?.range) {
        // A double click takes the region away; a picture drawn anew says nothing.
        if (selection === null && columns.some((column) => column && said(column))) change(Object.fromEntries(columns.filter(Boolean).map((column) => [column, null])));
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

    /** A mark is a neuron, a bar a tag, a cell a layer in a stage. */
    click(clicked, id, facts) {
      const name = id.replace(/-figure$/, "");
      const point = clicked?.points?.[0];
      // Dash passes on what a mark carries, but not what a cell carries.
      const what = point?.customdata ?? (name === "layers" ? document.querySelector(`#${id} .js-plotly-plot`)?.data[0].customdata[point?.y]?.[point?.x] : null);
      if (what === undefined || what === null) return "";
      if (name === "tags") change({ top: what });
      else if (name === "layers") {
        const [layer, stage] = what;
        const names = facts.stages.map((each) => each.name);
        const place = names.indexOf(stage);
        change({ layer, after: stage, before: names[Math.max(place - 1, 0)] });
      } else {
        const place = Array.isArray(what) ? what[0] : what;
        const found = facts?.starts.findLast(([, start]) => start <= place);
        if (found) go(neuronAddress(found[0], place - found[1]));
        window.scrollTo(0, 0);
      }
      return String(what);
    },
  },
});
