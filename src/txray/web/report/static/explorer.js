// The detail explorer: which comparison, which neurons, which one is picked.

class Explorer {
  constructor(data) {
    this.data = data;
    this.pair = 0;
    this.state = "all";
    this.neuron = null;
    this.sort = null;
    this.listed = []; // neurons that the filters leave, in the order of the table
    this.records = new Records(data);
    this.detail = new Detail(document.getElementById("detail"));
    this.table = new VirtualTable({
      view: document.getElementById("list"),
      table: document.getElementById("neurons"),
      head: document.getElementById("columns"),
      body: document.getElementById("rows"),
      onPick: ({ neuron }) => this.pick(neuron),
      onEnter: () => this.detail.element.focus(),
      onSort: (sort) => {
        this.sort = sort;
        this.list(this.listed);
      },
    });
    this.query = document.getElementById("query");
    this.chooser = document.getElementById("pair");
    this.chooser.append(...data.pairs.map((_, pair) => node("option", { value: pair }, this.nameOf(pair))));
    this.chooser.addEventListener("change", () => this.choose(Number(this.chooser.value)));
    this.query.addEventListener("input", () => this.filter());
    this.query.form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("states").addEventListener("change", (event) => {
      this.state = event.target.value;
      this.filter();
    });
    this.detail.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.table.table.focus();
    });
    window.addEventListener("hashchange", () => this.follow());
    if (!this.follow()) {
      this.choose(0);
      if (this.listed.length) this.table.show(0);
    }
  }

  nameOf(pair) {
    const { before, after, layers } = this.data.pairs[pair];
    const several = new Set(this.data.pairs.flatMap((pair) => pair.layers)).size > 1;
    const layer = several ? ` (${[...new Set(layers)].join(" → ")})` : "";
    return `${this.data.stages[before].name} → ${this.data.stages[after].name}${layer}`;
  }

  /** Show another comparison; the picked neuron stays picked where it exists. */
  choose(pair) {
    this.pair = pair;
    this.chooser.value = String(pair);
    this.showStates();
    this.neurons = new Neurons(this.data, pair);
    if (!this.neurons.columns.some((column) => column.key === this.sort?.key)) this.sort = this.neurons.order;
    this.table.use(this.neurons.columns, this.sort);
    this.filter();
    if (this.neuron !== null) this.pick(this.neuron);
  }

  showStates() {
    const { state, states, tests } = this.data.pairs[this.pair];
    const counts = new Array(states.length).fill(0);
    for (const index of state) counts[index] += 1;
    const choices = this.data.states.map((name, index) => [name, states[index].label, counts[index]])
      .filter(([name, , number]) => (name !== "undecided" || tests) && (name !== "displaced" || number));
    choices.unshift(["all", "all", state.length]);
    if (!choices.some(([name]) => name === this.state)) this.state = "all";
    const fieldset = document.getElementById("states");
    fieldset.replaceChildren(fieldset.firstElementChild, ...choices.map(([name, label, number]) =>
      node("label", { class: `chip ${name}`, title: name === label ? null : name },
        node("input", { type: "radio", name: "state", value: name, checked: name === this.state }),
        node("span", {}, label, " ", node("b", {}, count(number))))));
  }

  filter() {
    const pair = this.data.pairs[this.pair];
    const matches = this.matching(this.query.value.trim().toLowerCase());
    const wanted = this.data.states.indexOf(this.state);
    this.list(pair.state.flatMap((state, neuron) => ((wanted < 0 || state === wanted) && matches(neuron) ? [neuron] : [])));
    document.getElementById("shown").textContent = `${count(this.listed.length)} of ${count(pair.state.length)} neurons shown.`;
  }

  /** Show these neurons, in the order that is chosen. */
  list(neurons) {
    this.listed = this.neurons.sorted(neurons, this.sort);
    this.table.setRows(this.neurons.rows(this.listed));
  }

  /** A test for neurons: digits match the number exactly, text matches the beginning of a feature. */
  matching(query) {
    if (!query) return () => true;
    const { start, id } = this.data.pairs[this.pair].features[this.data.feature];
    const fitting = new Set();
    this.data.words[this.data.feature].forEach((feature, index) => {
      if (feature.toLowerCase().startsWith(query)) fitting.add(index);
    });
    return (neuron) => {
      if (String(neuron) === query) return true;
      for (let i = start[neuron]; i < start[neuron + 1]; i++) if (fitting.has(id[i])) return true;
      return false;
    };
  }

  /** Whether the chosen comparison has this neuron; addresses may name anything. */
  exists(neuron) {
    return Number.isInteger(neuron) && neuron < this.data.pairs[this.pair].state.length;
  }

  /** Show one neuron's details and keep it in the address. */
  pick(neuron) {
    if (!this.exists(neuron)) {
      this.neuron = null;
      this.detail.say(`There is no neuron ${neuron} in this comparison; pick one from the list.`);
      return;
    }
    this.neuron = neuron;
    this.table.mark(String(neuron));
    this.detail.show(this.records.of(this.pair, neuron));
    const address = addressOf(this.pair, neuron);
    // The first neuron shows without anyone having asked: it leaves the address alone.
    if (this.opened && window.location.hash !== address) window.history.replaceState(null, "", address);
    this.opened = true;
  }

  /** Go to a neuron from elsewhere: filters that hide it are taken off. */
  visit(neuron, pair) {
    this.query.value = "";
    this.state = "all";
    this.choose(pair);
    this.opened = true;
    if (this.exists(neuron)) this.table.show(this.listed.indexOf(neuron));
    else this.pick(neuron);
    document.getElementById("explorer").scrollIntoView();
  }

  /** Open the neuron that the address names, if it names one. */
  follow() {
    const named = new URLSearchParams(window.location.hash.slice(1));
    if (!named.has("neuron")) return false;
    const number = (text) => (/^\d+$/.test(text) ? Number(text) : text);
    const pair = number(named.get("pair") ?? "1") - 1;
    this.visit(number(named.get("neuron")), Object.hasOwn(this.data.pairs, pair) ? pair : 0);
    return true;
  }
}
