// Everything about one neuron, from one plain record.

const LISTED = 10; // features shown at once, the others on demand

const known = (value) => value !== null && value !== undefined;

/** How the values of a table are shown, and how long their bars are. */
const UNITS = {
  percent: { format: (share) => percent(share), scale: (share) => share },
  // Twice as often is one step, whether from once to twice or from ten to twenty times.
  times: { format: (factor) => times(factor), scale: (factor) => Math.log2(1 + factor) },
};

class Detail {
  /** @param element that is filled; another one may be set at any time */
  constructor(element) {
    this.element = element;
  }

  say(text) {
    this.element.replaceChildren(node("p", { class: "empty" }, text));
  }

  /**
   * Show a record; any of its lists may be empty.
   * @param record of
   *   title, href (to the record itself, or null), state (or null), label (of the state, if it is another), sentence;
   *   sides: before and after, or one only, as { name, color };
   *   beyond: { name, color, words, facts };
   *   writes: { name, color, promoted, suppressed: tokens, agreement: a sentence or null };
   *   tables: { kind, title, note, unit: "percent" or "times", rows: [feature, before, after], links: addresses of the
   *     features, if they have any };
   *   exemplars: { name, color, items: { activation, output, probability, label, document, position, before, word,
   *     after, activations: one per word of the context, or null } };
   *   stages: { name, color, length, wins, mass, share }
   */
  show(record) {
    for (const [index, name] of ["--before", "--after"].entries()) {
      if (record.sides[index]) this.element.style.setProperty(name, record.sides[index].color);
      else this.element.style.removeProperty(name);
    }
    this.element.replaceChildren(
      this.header(record),
      ...[
        this.beyond(record.beyond.filter(({ words }) => words.length)),
        this.writes(record.writes.filter(({ promoted, suppressed }) => promoted.length + suppressed.length)),
        ...record.tables.map((table) => this.features(table, record.sides.length)),
        ...record.exemplars.map((stage) => this.exemplars(stage)),
        this.stages(record.stages),
      ].filter(Boolean));
    this.element.scrollTop = 0;
  }

  header({ title, href, state, label, sentence, sides }) {
    const heading = node("h3", {}, `${title} `);
    if (state) heading.append(node("span", { class: `pill ${state}`, title: state }, label ?? state), " ");
    if (href) heading.append(node("a", { href, class: "link", "aria-label": `Link to ${title}` }, "#"));
    const key = sides.flatMap(({ name }, index) => [...(index ? [" "] : []), node("span", { class: `dot ${index ? "after" : "before"}` }), word(name)]);
    return node("header", {}, heading, node("p", { class: "lead" }, sentence), node("p", { class: "key" }, ...key));
  }

  /** The most distinctive words of every stage. */
  beyond(lines) {
    if (!lines.length) return null;
    return node("section", { class: "beyond" },
      node("h4", {}, "Most distinctive words", node("small", {}, " (lift: more often than their frequency predicts)")),
      ...lines.flatMap(({ color, words, facts }) => [
        node("p", {}, dot(color), ...words.flatMap((text, index) => (index ? [", ", word(text)] : [word(text)]))),
        ...(facts ? [node("p", { class: "note" }, `Chosen on other documents: ${facts}.`)] : []),
      ]));
  }

  /** The tokens whose logits the neuron raises and lowers, in every stage. */
  writes(lines) {
    if (!lines.length) return null;
    const line = (color, verb, tokens) => (tokens.length ? node("p", {}, dot(color), `${verb} `, ...tokens.flatMap((text, index) => (index ? [" · ", word(text)] : [word(text)]))) : null);
    return node("section", { class: "beyond writes" },
      node("h4", {}, "What it writes", node("small", {}, " (tokens whose logits its activation raises and lowers)")),
      ...lines.flatMap(({ color, promoted, suppressed, agreement }) => [
        line(color, "promotes", promoted), line(color, "suppresses", suppressed), agreement ? node("p", { class: "note" }, agreement) : null,
      ].filter(Boolean)));
  }

  /** Values of the strongest features, before and after. */
  features({ kind, title, note, unit, rows, links = [] }, sides) {
    if (!rows.length) return null;
    const { format, scale } = UNITS[unit];
    const ends = ["before", "after"].slice(0, sides);
    const largest = Math.max(...rows.flatMap(([, ...values]) => values.map((value) => scale(value ?? 0)))) || 1;
    const bar = (value, end) => node("i", { class: `bar ${end}`, style: `width:${(100 * scale(value ?? 0) / largest).toFixed(2)}%` });
    const heads = ["Feature", "Bars", ...(sides === 2 ? ["Before", "After"] : ["Value"])];
    // Where a page about a feature exists, its name leads there.
    const named = (feature, index) => (links[index] ? node("a", { href: links[index], "data-go": "" }, word(feature)) : word(feature));
    const table = (part, first) => node("table", {},
      node("thead", { class: "unseen" }, node("tr", {}, ...heads.map((name) => node("th", { scope: "col" }, name)))),
      node("tbody", {}, ...part.map(([feature, ...values], index) => node("tr", {},
        node("th", { scope: "row" }, named(feature, first + index)),
        node("td", { class: "bars", "aria-hidden": "true" }, ...ends.map((end, index) => bar(values[index], end))),
        ...ends.map((_, index) => node("td", { class: values[index] ? "" : "none" }, values[index] ? format(values[index]) : "–"))))));
    const hidden = rows.slice(LISTED);
    return node("section", { class: `features ${kind}` },
      node("h4", {}, title, note ? node("small", {}, ` ${note}`) : ""),
      table(rows.slice(0, LISTED), 0),
      ...(hidden.length ? [node("details", {}, node("summary", {}, `${hidden.length} more`), table(hidden, LISTED))] : []));
  }

  /** Where the neuron is most active in one stage, in context. */
  exemplars({ name, color, items }) {
    if (!items.length) return null;
    return node("section", { class: "exemplars", style: `--stage:${color}` },
      node("h4", {}, "Most active in ", word(name)),
      node("ol", {}, ...items.map((item) => node("li", {}, context(item), node("p", { class: "facts" }, ...facts(item))))));
  }

  /** The neuron's size in every stage. */
  stages(stages) {
    if (!stages.length) return null;
    const cell = (value, format) => node("td", {}, known(value) ? format(value) : "–");
    const rows = stages.map(({ name, color, length, wins, mass, share }) => node("tr", {},
      node("th", { scope: "row" }, dot(color), word(name)),
      cell(length, count), cell(wins, count), cell(mass, quantity), cell(share, percent)));
    const heads = ["Stage", "Length", "Words won", "Mass", "Share of mass"];
    return node("section", { class: "over" }, node("h4", {}, "In every stage"),
      node("div", { class: "scroll" }, node("table", {}, node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))), node("tbody", {}, ...rows))));
  }
}

const dot = (color) => node("span", { class: "dot", style: `background:${color}` });

/** What is known of one occurrence. */
function facts({ activation, output, probability, label, document, position }) {
  const parts = [node("span", { class: "activation" }, activation.toPrecision(3))];
  if (known(output)) parts.push(node("span", {}, "predicts ", node("b", {}, word(output))));
  if (known(probability)) parts.push(node("span", {}, `p(pos) ${probability.toFixed(2)}`));
  if (known(label)) parts.push(node("span", {}, "label ", node("b", {}, word(label))));
  parts.push(node("span", { class: "document" }, word(document), `, word ${count(position + 1)}`));
  return parts;
}

/** A word among its neighbours, each shaded by how strongly the neuron fires there, if that is known. */
function context({ before, word: middle, after, activations }) {
  const [left, right] = [before, after].map((text) => (text ? text.split(" ") : []));
  if (activations?.length !== left.length + 1 + right.length) {
    return node("p", { class: "context" }, word(before), " ", node("mark", {}, word(middle)), " ", word(after));
  }
  const largest = Math.max(0, ...activations);
  const tooltip = (index) => (activations[index] === null ? null : `activation ${activations[index].toPrecision(3)}`);
  // One isolated run of text a side, as without shades: words of right-to-left scripts keep their order.
  const side = (words, start) => node("bdi", {}, ...words.flatMap((text, i) => {
    const value = activations[start + i];
    const style = value > 0 ? `--heat:${(100 * value / largest).toFixed(1)}%` : null;
    const shaded = node("span", { class: "heard", title: tooltip(start + i), style }, text);
    return i ? [" ", shaded] : [shaded];
  }));
  return node("p", { class: "context shaded" }, side(left, 0), " ",
    node("mark", { title: tooltip(left.length) }, word(middle)), " ", side(right, left.length + 1));
}
