// The neurons of one comparison as rows of the table: their columns, and their order.

const NAMED = 5; // features named in a row

class Neurons {
  constructor(data, index) {
    this.pair = data.pairs[index];
    const { start, id } = this.pair.features[data.feature];
    this.states = data.states;
    this.names = (n) => Array.from(id.slice(start[n], Math.min(start[n + 1], start[n] + NAMED)), (i) => data.words[data.feature][i]);
    this.columns = this.described(data.stages[this.pair.before].name, data.stages[this.pair.after].name)
      .map(({ show, ...column }) => ({ ...column, show: ({ neuron }) => show(neuron) }));
  }

  /** The order in which the neurons come first. */
  get order() {
    return { key: this.pair.tests ? "change" : "mass_after", falling: true };
  }

  /** Columns: key, heading, explanation, value to sort by, text to show. */
  described(before, after) {
    const { pair, names, states } = this;
    const number = (key, heading, about, show) => ({ key, heading, about, value: (n) => pair[key][n], show: (n) => show(pair[key][n]) });
    // Numbers of neurons and names read best rising, sizes falling.
    return [
      { key: "neuron", heading: "Neuron", about: "Index in the layer", value: (n) => n, show: String, risingFirst: true },
      { key: "state", heading: "State", about: "In which stages the neuron is in use; undecided: in one only, which may be chance; displaced: another neuron explains the change", value: (n) => pair.state[n], show: (n) => node("span", { class: `pill ${states[pair.state[n]]}`, title: states[pair.state[n]] }, pair.states[pair.state[n]].name), risingFirst: true },
      { key: "features", heading: "Prefers most", about: "Strongest features in either stage", value: (n) => names(n)[0] ?? null, show: (n) => node("bdi", {}, names(n).join("  ")), risingFirst: true },
      number("length_before", "Length before", `Features preferred in ${before}`, count),
      number("length_after", "Length after", `Features preferred in ${after}`, count),
      number("mass_before", "Mass before", `Sum of activations in ${before}`, quantity),
      number("mass_after", "Mass after", `Sum of activations in ${after}`, quantity),
      number("hellinger", "Hellinger distance", "Of all wins, as in the paper: 0 same preferences, 1 nothing in common; few wins make it large", (h) => (h === null ? "–" : h.toFixed(3))),
      ...(pair.tests ? this.tested(pair.tests) : []),
    ];
  }

  /** Columns that only tested comparisons have. */
  tested({ rank, corrected, low, high, z, sure, q }) {
    return [
      { key: "corrected", heading: "Corrected distance", about: "How far the neuron moved: Hellinger distance without what small samples add, with its 95% interval. 0 same, 1 disjoint", value: (n) => corrected[n], show: (n) => spanned(corrected[n], low[n], high[n]) },
      { key: "change", heading: "Moved at least", about: "Lower bound of the corrected distance. Sorted, significant neurons come first", value: (n) => (z[n] === null && !sure[n] ? null : -rank[n]), among: (n) => rank[n], show: (n) => (low[n] === null ? "–" : low[n].toFixed(2)) },
      { key: "q", heading: "q-value", about: "False discovery rate at which the neuron is significant", value: (n) => q[n], show: (n) => quantity(q[n]), risingFirst: true },
    ];
  }

  /** These neurons in the order of the sorted column; neurons without a value come last. Equal ones are sorted by `among`, or by number. */
  sorted(neurons, { key, falling }) {
    const { value, among = (n) => n } = this.columns.find((column) => column.key === key);
    return [...neurons].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return among(a) - among(b);
      if (x === null || y === null) return x === null ? 1 : -1;
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return (falling ? -order : order) || a - b;
    });
  }

  /** Rows of the table for these neurons; those that are not significant are faint. */
  rows(neurons) {
    const sure = this.pair.tests?.sure;
    const row = (neuron) => ({ id: String(neuron), neuron, faint: sure !== undefined && !sure[neuron] });
    return {
      length: neurons.length,
      at: (index) => (index in neurons ? row(neurons[index]) : undefined),
      indexOf: (id) => neurons.indexOf(Number(id)),
    };
  }
}
