// One neuron of one comparison as a plain record, put together from the packed columns and told in words.

const STATES = ["shared", "avoided", "gained", "unpreferred", "undecided"];
const ONE_SIDED = ["avoided", "gained"];

/** What the neurons of a state are called beside their number: observed and tested ones differ. */
const stateLabel = (state, tests) => (ONE_SIDED.includes(state) ? `${state}, ${tests ? "significant" : "observed"}` : state);
/** The state of one neuron. */
const stateOfNeuron = (state, tests) => (tests ? state : `${state}, not tested`);

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
      state: STATES[pair.state[neuron]],
      label: stateOfNeuron(STATES[pair.state[neuron]], pair.tests),
      sentence: this.sentence(pair, neuron, sides),
      sides: sides.map(({ name, color }) => ({ name, color })),
      beyond: sides.map(({ name, color }, side) => ({ name, color, words: this.beyond(pair.beyond[side], neuron) })),
      tables: Object.keys(pair.features).map((kind) => this.table(pair.features[kind], neuron, kind)),
      exemplars: sides.map(({ name, color, exemplars }) => ({ name, color, items: this.exemplars(exemplars, neuron) })),
      stages: this.stages(pair.layers[1], neuron),
    };
  }

  /** What happened to the neuron, in words. */
  sentence(pair, neuron, [before, after]) {
    const noun = this.data.nouns[this.data.feature];
    const features = (number) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
    const [first, second] = [pair.length_before[neuron], pair.length_after[neuron]];
    switch (STATES[pair.state[neuron]]) {
      case "undecided": return `Preferred ${first ? features(first) : "nothing"} in ${before.name}, ${second ? features(second) : "none"} in ${after.name}: not significant (${pair.tests.label}).`;
      case "avoided": return `Preferred ${features(first)} in ${before.name}, none in ${after.name}${this.oneSided(pair)}.`;
      case "gained": return `Preferred nothing in ${before.name}, ${features(second)} in ${after.name}${this.oneSided(pair)}.`;
      case "unpreferred": return "Prefers nothing in either stage.";
    }
    const change = first === second ? `Prefers ${features(first)} in both stages` : `Prefers ${features(second)}, ${second > first ? "up" : "down"} from ${count(first)}`;
    const distance = pair.hellinger[neuron];
    return `${change}; Hellinger distance ${distance.toFixed(3)} over ${features(pair.hellinger_length[neuron])}.${this.chance(pair.tests, neuron)}`;
  }

  /** Whether an avoided or gained neuron is so significantly, in words. */
  oneSided({ tests }) {
    return tests ? `: significant (${tests.label})` : "; observed, not tested";
  }

  /** Whether the distance is significant, in words. */
  chance(tests, neuron) {
    if (!tests) return " Observed, not tested.";
    if (tests.q[neuron] === null) return " Too rarely active to be tested.";
    const verdict = `${tests.sure[neuron] ? "significant" : "not significant"} at ${tests.label}`;
    return ` At equal numbers of activations ${tests.matched[neuron].toFixed(3)}, where nothing changed ${tests.chance[neuron].toFixed(3)}: ${verdict} (q = ${quantity(tests.q[neuron])}). Corrected Hellinger distance, with its 95% interval: ${spanned(tests.corrected[neuron], tests.low[neuron], tests.high[neuron])}.`;
  }

  /** Features that outdo how often they occur. */
  beyond({ start, id }, neuron) {
    const words = this.data.words[this.data.feature];
    return id.slice(start[neuron], start[neuron + 1]).map((i) => words[i]);
  }

  /** Probabilities of the strongest features of one kind, before and after. */
  table({ start, id, before, after, union }, neuron, kind) {
    const rows = [];
    for (let i = start[neuron]; i < start[neuron + 1]; i++) rows.push([this.data.words[kind][id[i]], before[i], after[i]]);
    const note = union[neuron] > rows.length ? `${rows.length} strongest of ${count(union[neuron])}` : "";
    return { kind, title: `Preferred ${this.data.nouns[kind]}s`, note, unit: "percent", rows };
  }

  /** Where the neuron fires most in one stage. */
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
      const total = mass.reduce((sum, each) => sum + each, 0);
      return { name, color, length: length[neuron], wins: wins[neuron], mass: mass[neuron], share: total ? mass[neuron] / total : null };
    });
  }
}
