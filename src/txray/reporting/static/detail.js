// Everything about one neuron in one comparison.

const LISTED = 10; // features shown at once, the others on demand

class Detail {
  constructor(data, place) {
    this.data = data;
    this.place = place;
  }

  say(text) {
    this.place.replaceChildren(node("p", { class: "empty" }, text));
  }

  show(index, neuron, pairName) {
    const pair = this.data.pairs[index];
    const sides = [[pair.before, pair.layers[0]], [pair.after, pair.layers[1]]].map(([stage, layer]) => ({
      stage: this.data.stages[stage], ...this.data.stages[stage].layers[layer],
    }));
    this.place.style.setProperty("--before", sides[0].stage.color);
    this.place.style.setProperty("--after", sides[1].stage.color);
    const state = STATES[pair.state[neuron]];
    this.place.replaceChildren(
      node("header", {},
        node("h3", {}, `Neuron ${neuron} `, node("span", { class: `pill ${state}` }, state), " ",
          node("a", { href: addressOf(index, neuron), class: "link", "aria-label": `Link to neuron ${neuron}` }, "#")),
        node("p", { class: "lead" }, this.sentence(pair, neuron, sides)),
        node("p", { class: "key" }, node("span", { class: "dot before" }), word(sides[0].stage.name), " ",
          node("span", { class: "dot after" }), word(sides[1].stage.name))),
      ...[this.beyond(pair, neuron, sides)].filter(Boolean),
      ...Object.keys(pair.features).map((kind) => this.features(pair, neuron, kind)).filter(Boolean),
      ...sides.map((side) => this.exemplars(side, neuron)).filter(Boolean),
      this.stages(pair, neuron),
    );
    this.place.scrollTop = 0;
  }

  /** What happened to the neuron, in words. */
  sentence(pair, neuron, [before, after]) {
    const noun = this.data.nouns[this.data.feature];
    const features = (number) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
    const [first, second] = [pair.length_before[neuron], pair.length_after[neuron]];
    switch (STATES[pair.state[neuron]]) {
      case "unsure": return `Preferred ${first ? features(first) : "nothing"} in ${before.stage.name}, ${second ? features(second) : "none"} in ${after.stage.name}: no more than chance.`;
      case "avoided": return `Preferred ${features(first)} in ${before.stage.name}, none in ${after.stage.name}.`;
      case "gained": return `Preferred nothing in ${before.stage.name}, ${features(second)} in ${after.stage.name}.`;
      case "unpreferred": return "Prefers nothing in either stage.";
    }
    const change = first === second ? `Prefers ${features(first)} in both stages` : `Prefers ${features(second)}, ${second > first ? "up" : "down"} from ${count(first)}`;
    const distance = pair.hellinger[neuron];
    return `${change}; Hellinger distance ${distance.toFixed(3)} over ${features(pair.hellinger_length[neuron])}.${this.chance(pair.tests, neuron)}`;
  }

  /** How much of the distance is more than chance, in words. */
  chance(tests, neuron) {
    if (!tests || tests.q[neuron] === null) return "";
    const verdict = tests.sure[neuron] ? "changed" : "no more than chance";
    return ` At equal numbers of activations ${tests.matched[neuron].toFixed(3)}, where nothing changed ${tests.chance[neuron].toFixed(3)}: ${verdict} (q = ${quantity(tests.q[neuron])}).`;
  }

  /** Features that outdo how often they occur, stage by stage. */
  beyond(pair, neuron, sides) {
    const words = this.data.words[this.data.feature];
    const lines = pair.beyond.map(({ start, id }, side) => [sides[side].stage, id.slice(start[neuron], start[neuron + 1])]).filter(([, ids]) => ids.length);
    if (!lines.length) return null;
    return node("section", { class: "beyond" },
      node("h4", {}, "Beyond frequency", node("small", {}, " what it responds to more than often")),
      ...lines.map(([stage, ids]) => node("p", {}, node("span", { class: "dot", style: `background:${stage.color}` }),
        ...ids.flatMap((i, index) => (index ? [", ", word(words[i])] : [word(words[i])])))));
  }

  /** Probabilities of the strongest features, before and after. */
  features(pair, neuron, kind) {
    const { start, id, before, after, union } = pair.features[kind];
    if (!union[neuron]) return null;
    const rows = [];
    for (let i = start[neuron]; i < start[neuron + 1]; i++) rows.push([this.data.words[kind][id[i]], before[i], after[i]]);
    const most = Math.max(...rows.flatMap(([, p, q]) => [p, q]));
    const rest = union[neuron] - rows.length;
    const bar = (share, side) => node("i", { class: `bar ${side}`, style: `width:${(100 * share / most).toFixed(2)}%` });
    const table = (part) => node("table", {},
      node("thead", { class: "unseen" }, node("tr", {}, ...["Feature", "Bars", "Before", "After"].map((name) => node("th", { scope: "col" }, name)))),
      node("tbody", {}, ...part.map(([feature, p, q]) => node("tr", {},
        node("th", { scope: "row" }, word(feature)),
        node("td", { class: "bars", "aria-hidden": "true" }, bar(p, "before"), bar(q, "after")),
        node("td", { class: p ? "" : "none" }, p ? percent(p) : "–"),
        node("td", { class: q ? "" : "none" }, q ? percent(q) : "–")))));
    const hidden = rows.slice(LISTED);
    return node("section", { class: `features ${kind}` },
      node("h4", {}, `Preferred ${this.data.nouns[kind]}s`, rest > 0 ? node("small", {}, ` ${rows.length} strongest of ${count(union[neuron])}`) : ""),
      table(rows.slice(0, LISTED)),
      ...(hidden.length ? [node("details", {}, node("summary", {}, `${hidden.length} more`), table(hidden))] : []));
  }

  /** Where the neuron fires most in one stage, in context. */
  exemplars({ stage, exemplars }, neuron) {
    const [first, end] = [exemplars.start[neuron], exemplars.start[neuron + 1]];
    if (first === end) return null;
    const items = [];
    for (let i = first; i < end; i++) {
      const facts = [node("span", { class: "activation" }, exemplars.activation[i].toPrecision(3))];
      if (exemplars.output[i] !== null) facts.push(node("span", {}, "predicts ", node("b", {}, word(exemplars.output[i]))));
      if (exemplars.probability[i] !== null) facts.push(node("span", {}, `p(pos) ${exemplars.probability[i].toFixed(2)}`));
      if (exemplars.label[i] !== null) facts.push(node("span", {}, "label ", node("b", {}, word(exemplars.label[i]))));
      facts.push(node("span", { class: "document" }, word(exemplars.document[i]), `, word ${count(exemplars.position[i] + 1)}`));
      items.push(node("li", {},
        node("p", { class: "context" }, word(exemplars.before[i]), " ", node("mark", {}, word(exemplars.word[i])), " ", word(exemplars.after[i])),
        node("p", { class: "facts" }, ...facts)));
    }
    return node("section", { class: "exemplars", style: `--stage:${stage.color}` },
      node("h4", {}, "Fires most in ", word(stage.name)), node("ol", {}, ...items));
  }

  /** The neuron's size in every stage that has its layer. */
  stages(pair, neuron) {
    const layer = pair.layers[1];
    const rows = this.data.stages.filter((stage) => neuron < (stage.layers[layer]?.mass?.length ?? 0)).map((stage) => {
      const { mass, length, wins } = stage.layers[layer];
      const total = mass.reduce((sum, each) => sum + each, 0);
      return node("tr", {},
        node("th", { scope: "row" }, node("span", { class: "dot", style: `background:${stage.color}` }), word(stage.name)),
        ...[count(length[neuron]), count(wins[neuron]), quantity(mass[neuron]), total ? percent(mass[neuron] / total) : "–"].map((text) => node("td", {}, text)));
    });
    const heads = ["Stage", "Length", "Words won", "Mass", "Share of mass"];
    return node("section", { class: "over" }, node("h4", {}, "In every stage"),
      node("div", { class: "scroll" }, node("table", {}, node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))), node("tbody", {}, ...rows))));
  }
}
