// One neuron of one comparison as a plain record, assembled from the packed columns.

/** Address of a neuron; comparisons count from 1. */
const addressOf = (pair, neuron) => `#neuron=${neuron}&pair=${pair + 1}`;

class Records {
  constructor(data) {
    this.data = data;
  }

  /** Everything about a neuron in the comparison of this index, as `Detail` shows it. */
  of(index, neuron) {
    const pair = this.data.pairs[index];
    const sides = [[pair.before, pair.layers[0]], [pair.after, pair.layers[1]]].map(([stage, layer]) => {
      const { name, color, layers } = this.data.stages[stage];
      return { name, color, ...layers[layer] };
    });
    return {
      title: `Neuron ${neuron}`,
      href: addressOf(index, neuron),
      state: this.data.states[pair.state[neuron]],
      label: pair.states[pair.state[neuron]].name,
      sentence: pair.sentence[neuron],
      sides: sides.map(({ name, color }) => ({ name, color })),
      beyond: sides.map(({ name, color }, side) => ({ name, color, words: this.beyond(pair.beyond[side], neuron), facts: pair.beyond[side].facts[neuron] })),
      writes: sides.map(({ name, color, writes }) => ({ name, color, ...this.writes(writes, neuron) })),
      tables: Object.keys(pair.features).map((kind) => this.table(pair.features[kind], neuron, kind)),
      exemplars: sides.map(({ name, color, exemplars }) => ({ name, color, items: this.exemplars(exemplars, neuron) })),
      stages: this.stages(pair.layers[1], neuron),
    };
  }

  /** The most distinctive features. */
  beyond({ start, id }, neuron) {
    const words = this.data.words[this.data.feature];
    return id.slice(start[neuron], start[neuron + 1]).map((i) => words[i]);
  }

  /** The tokens that the neuron promotes and suppresses. */
  writes(packed, neuron) {
    const tokens = ({ start, id }) => id.slice(start[neuron], start[neuron + 1]).map((i) => this.data.words["output tokens"][i]);
    if (!packed) return { promoted: [], suppressed: [], agreement: null };
    return { promoted: tokens(packed.promoted), suppressed: tokens(packed.suppressed), agreement: packed.agreement?.[neuron] || null };
  }

  /** Probabilities of the strongest features of one type, before and after. */
  table({ start, id, before, after, union }, neuron, kind) {
    const rows = [];
    for (let i = start[neuron]; i < start[neuron + 1]; i++) rows.push([this.data.words[kind][id[i]], before[i], after[i]]);
    const note = union[neuron] > rows.length ? `${rows.length} strongest of ${count(union[neuron])}` : "";
    return { kind, title: `Preferred ${this.data.nouns[kind]}s`, note, unit: "percent", rows };
  }

  /** Where the neuron is most active in one stage. */
  exemplars({ start, ...columns }, neuron) {
    const items = [];
    for (let i = start[neuron]; i < start[neuron + 1]; i++) {
      items.push(Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]])));
    }
    return items;
  }

  /** The neuron's size in every stage that has its layer. */
  stages(layer, neuron) {
    return this.data.stages.filter((stage) => neuron < (stage.layers[layer]?.mass?.length ?? 0)).map(({ name, color, layers }) => {
      const { mass, length, wins } = layers[layer];
      const total = mass.reduce((sum, value) => sum + value, 0);
      return { name, color, length: length[neuron], wins: wins[neuron], mass: mass[neuron], share: total ? mass[neuron] / total : null };
    });
  }
}
