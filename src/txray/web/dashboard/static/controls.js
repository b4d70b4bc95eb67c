// Controls that show what the address says, and change it. They are native elements, so that every keyboard works.

/** The address with some of what it says changed; null takes something out. */
function addressWith(changes, path = window.location.pathname) {
  const said = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") said.delete(name);
    else said.set(name, value);
  }
  const text = said.toString();
  return `${path}${text ? `?${text}` : ""}`;
}

/** Go to an address without loading the page anew; Dash is told as its own links tell it. */
function go(address) {
  if (address === window.location.pathname + window.location.search) return;
  window.history.pushState({}, "", address);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
}

const change = (changes, path) => go(addressWith(changes, path));

/** A labelled choice. Options are texts, or [value, text]. */
function chooser(label, options, value, onChange) {
  const select = node("select", { "data-name": label }, ...options.map((option) => {
    const [name, text] = Array.isArray(option) ? option : [option, option];
    return node("option", { value: name }, text);
  }));
  select.value = value;
  select.addEventListener("change", () => onChange(select.value));
  return node("label", { class: "field" }, label, select);
}

/** A labelled text that counts when Enter is pressed or it is left. */
function asked(label, value, attributes, onChange) {
  const input = node("input", { autocomplete: "off", spellcheck: "false", "data-name": label, ...attributes });
  input.value = value;
  input.addEventListener("change", () => onChange(input.value.trim()));
  return node("label", { class: "field" }, label, input);
}

/** Put controls into a form, unless they are there already; the one with the focus keeps it. */
function fill(form, key, controls) {
  if (form.dataset.key === key) return;
  const focused = form.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  form.dataset.key = key;
  form.replaceChildren(...controls);
  if (focused) [...form.querySelectorAll("[data-name]")].find((each) => each.dataset.name === focused)?.focus();
}

const said = (name) => new URLSearchParams(window.location.search).get(name) ?? "";

/** Stages, feature kind and layer: on every page. */
function showChooser(form, facts) {
  const names = facts.stages.map((stage) => stage.name);
  const swap = node("button", { type: "button", class: "quiet", title: "Compare the other way round", "data-name": "swap" }, "⇄ Swap");
  swap.addEventListener("click", () => change({ before: facts.after, after: facts.before }));
  const several = facts.layers.length > 1;
  // A neuron, or a bound, belongs to the stages it was picked in.
  const controls = [
    chooser("Before", names, facts.before, (before) => change({ before, after: facts.after })),
    chooser("After", names, facts.after, (after) => change({ after, before: facts.before })),
    ...(names.length > 1 ? [swap] : []),
    ...(facts.features.length > 1 ? [chooser("Feature kind", facts.features, facts.feature, (feature) => change({ feature, prefers: null, word: null }))] : []),
    ...(several ? [chooser("Layer", [["", `all ${facts.layers.length} layers`], ...facts.layers], facts.layers.includes(said("layer")) ? said("layer") : "", (layer) => change({ layer }))] : []),
  ];
  fill(form, JSON.stringify([facts.stages, facts.features, facts.layers, facts.before, facts.after, facts.feature, said("layer")]), controls);
}

/** What neurons are picked out: states, features, tags, bounds. */
function showFilters(form, facts) {
  const picked = said("state").split(",").filter(Boolean);
  const chip = (state) => {
    const box = node("input", { type: "checkbox", name: "state", value: state.name, "data-name": state.name });
    box.checked = picked.includes(state.name);
    box.addEventListener("change", () => {
      const left = picked.filter((each) => each !== state.name);
      change({ state: (box.checked ? [...left, state.name] : left).join(",") });
    });
    return node("label", { class: `chip ${state.name}` }, box, node("span", {}, state.label, " ", node("b", {}, count(state.number))));
  };
  const bound = ({ column, told }) => {
    const button = node("button", { type: "button", class: "bound", "data-name": column, "aria-label": `Take off: ${told}` }, told, " ×");
    button.addEventListener("click", () => change({ [column]: null }));
    return button;
  };
  const clear = node("button", { type: "button", class: "quiet", "data-name": "clear" }, "Show all");
  clear.addEventListener("click", () => change({ state: null, prefers: null, top: null, ...Object.fromEntries(facts.ranges.map(({ column }) => [column, null])) }));
  const filtered = picked.length || facts.ranges.length || said("prefers") || said("top");
  const controls = [
    node("fieldset", {}, node("legend", {}, "State"), ...facts.states.map(chip)),
    asked(`Prefers the ${facts.noun}`, said("prefers"), { type: "search", placeholder: `any ${facts.noun}` }, (prefers) => change({ prefers })),
    ...(facts.tags.length ? [chooser("Fires most on", [["", "any tag"], ...facts.tags], said("top"), (top) => change({ top }))] : []),
    bounding(facts),
    ...(facts.ranges.length ? [node("div", { class: "bounds", role: "group", "aria-label": "Bounds" }, ...facts.ranges.map(bound))] : []),
    ...(filtered ? [clear] : []),
  ];
  fill(form, JSON.stringify([facts.states, facts.tags, facts.noun, facts.ranges, window.location.search]), controls);
}

/** Bounds of any column, for those who know which. */
function bounding(facts) {
  const number = (label) => node("input", { type: "number", step: "any", "aria-label": label, placeholder: label, "data-name": label });
  const column = node("select", { "aria-label": "Quantity", "data-name": "quantity" }, ...facts.columns.map(([name, text]) => node("option", { value: name }, text)));
  const [least, most] = [number("at least"), number("at most")];
  const add = node("button", { type: "button", class: "quiet", "data-name": "bound" }, "Bound");
  const apply = () => {
    if (least.value !== "" || most.value !== "") change({ [column.value]: `${least.value}..${most.value}` });
  };
  add.addEventListener("click", apply);
  for (const input of [least, most]) input.addEventListener("keydown", (event) => { if (event.key === "Enter") apply(); });
  return node("fieldset", { class: "bounding" }, node("legend", {}, "Keep within"), column, least, most, add);
}

/** Which neuron: its layer and number. */
function showWhichNeuron(form, facts) {
  const every = [...new Set([...facts.layersAfter, ...facts.layersBefore])];
  const layer = every.includes(said("layer")) ? said("layer") : every[0];
  const neuron = said("neuron");
  const step = (by, text) => {
    const button = node("button", { type: "button", class: "quiet", "data-name": text, disabled: neuron === "" || Number(neuron) + by < 0 }, text);
    button.addEventListener("click", () => change({ neuron: Number(neuron) + by }));
    return button;
  };
  const controls = [
    ...(every.length > 1 && facts.layers.length < 2 ? [chooser("Of the layer", every, layer, (name) => change({ layer: name }))] : []),
    asked("Neuron", neuron, { type: "number", min: "0", inputmode: "numeric" }, (number) => change({ neuron: number })),
    step(-1, "← Previous"),
    step(1, "Next →"),
  ];
  fill(form, JSON.stringify([every, facts.layers, layer, neuron]), controls);
}

/** Which feature. */
function showWhichFeature(form, facts) {
  fill(form, JSON.stringify([facts.noun, said("word")]), [
    asked(facts.noun[0].toUpperCase() + facts.noun.slice(1), said("word"), { type: "search", placeholder: "type it and press Enter" }, (word) => change({ word })),
  ]);
}

/** The layers that are matched: those that the address names, or the first that fit. */
function matchedLayers(facts) {
  const own = facts.layersBefore.includes(said("layer")) ? said("layer") : facts.layersBefore[0];
  const other = facts.layersAfter.includes(said("layer_after")) ? said("layer_after") : facts.layersAfter.includes(own) ? own : facts.layersAfter[0];
  return [own, other];
}

/** Which layer of either stage. */
function showWhichLayers(form, facts) {
  const [own, other] = matchedLayers(facts);
  const controls = [
    chooser(`Layer of ${facts.before}`, facts.layersBefore, own, (layer) => change({ layer })),
    chooser(`Layer of ${facts.after}`, facts.layersAfter, other, (layer) => change({ layer_after: layer })),
  ];
  fill(form, JSON.stringify([facts.before, facts.after, facts.layersBefore, facts.layersAfter, own, other]), controls);
}
