// Controls that show the state in the URL, and change it. They are native elements, so that keyboards work.

/** The current URL with some parameters changed; null removes a parameter. */
function addressWith(changes, path = window.location.pathname) {
  const params = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  return `${path}${text ? `?${text}` : ""}`;
}

/** Go to a URL without reloading the page; Dash is notified as by its own links. */
function go(address) {
  if (address === window.location.pathname + window.location.search) return;
  window.history.pushState({}, "", address);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
}

const change = (changes, path) => go(addressWith(changes, path));

/** A labelled select element. Options are texts, or [value, text]. */
function select(label, options, value, onChange) {
  const element = node("select", { "data-name": label }, ...options.map((option) => {
    const [name, text] = Array.isArray(option) ? option : [option, option];
    return node("option", { value: name }, text);
  }));
  element.value = value;
  element.addEventListener("change", () => onChange(element.value));
  return node("label", { class: "field" }, label, element);
}

/** A labelled text field, read when Enter is pressed or it loses the focus. */
function textField(label, value, attributes, onChange) {
  const input = node("input", { autocomplete: "off", spellcheck: "false", "data-name": label, ...attributes });
  input.value = value;
  input.addEventListener("change", () => onChange(input.value.trim()));
  return node("label", { class: "field" }, label, input);
}

/** Fill a form with controls, unless they are unchanged; the focus stays where it is. */
function fill(form, key, controls) {
  if (form.dataset.key === key) return;
  const focused = form.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  form.dataset.key = key;
  form.replaceChildren(...controls);
  if (focused) [...form.querySelectorAll("[data-name]")].find((item) => item.dataset.name === focused)?.focus();
}

const urlParam = (name) => new URLSearchParams(window.location.search).get(name) ?? "";

/** Stages, feature type and layer: on all pages. */
function showStageControls(form, state) {
  const names = state.stages.map((stage) => stage.name);
  const swap = node("button", { type: "button", class: "quiet", title: "Swap before and after", "data-name": "swap" }, "⇄ Swap");
  // Read from the URL at the moment of a click: the state is older while an answer of the server is on its way.
  const pair = () => ({ before: urlParam("before") || state.before, after: urlParam("after") || state.after });
  swap.addEventListener("click", () => change({ before: pair().after, after: pair().before }));
  const several = state.layers.length > 1;
  const controls = [
    select("Before", names, state.before, (before) => change({ ...pair(), before })),
    select("After", names, state.after, (after) => change({ ...pair(), after })),
    ...(names.length > 1 ? [swap] : []),
    ...(state.featureTypes.length > 1 ? [select("Feature type", state.featureTypes, state.featureType, (name) => change({ feature_type: name, prefers: null, word: null }))] : []),
    ...(several ? [select("Layer", [["", `all ${state.layers.length} layers`], ...state.layers], state.layers.includes(urlParam("layer")) ? urlParam("layer") : "", (layer) => change({ layer }))] : []),
  ];
  fill(form, JSON.stringify([state.stages, state.featureTypes, state.layers, state.before, state.after, state.featureType, urlParam("layer")]), controls);
}

/** Filters of neurons: states, features, tags, ranges. */
function showFilters(form, state) {
  const statesInUrl = () => urlParam("state").split(",").filter(Boolean);
  const picked = statesInUrl();
  const chip = ({ name, label, number }) => {
    const box = node("input", { type: "checkbox", name: "state", value: name, "data-name": name });
    box.checked = picked.includes(name);
    box.addEventListener("change", () => {
      const others = statesInUrl().filter((item) => item !== name);
      change({ state: (box.checked ? [...others, name] : others).join(",") });
    });
    return node("label", { class: `chip ${name}`, title: name === label ? null : name }, box, node("span", {}, label, " ", node("b", {}, count(number))));
  };
  const range = ({ column, label }) => {
    const button = node("button", { type: "button", class: "bound", "data-name": column, "aria-label": `Remove: ${label}` }, label, " ×");
    button.addEventListener("click", () => change({ [column]: null }));
    return button;
  };
  const clear = node("button", { type: "button", class: "quiet", "data-name": "clear" }, "Clear filters");
  clear.addEventListener("click", () => change({ state: null, prefers: null, top: null, ...Object.fromEntries(state.ranges.map(({ column }) => [column, null])) }));
  const filtered = picked.length || state.ranges.length || urlParam("prefers") || urlParam("top");
  const controls = [
    node("fieldset", {}, node("legend", {}, "States"), ...state.states.map(chip)),
    textField(`Responds to the ${state.noun}`, urlParam("prefers"), { type: "search", placeholder: `any ${state.noun}` }, (prefers) => change({ prefers })),
    ...(state.tags.length ? [select("Main part of speech", [["", "any"], ...state.tags], urlParam("top"), (top) => change({ top }))] : []),
    rangeFilter(state),
    ...(state.ranges.length ? [node("div", { class: "bounds", role: "group", "aria-label": "Ranges" }, ...state.ranges.map(range))] : []),
    ...(filtered ? [clear] : []),
  ];
  fill(form, JSON.stringify([state.states, state.tags, state.noun, state.ranges, window.location.search]), controls);
}

/** A range filter for any column. */
function rangeFilter(state) {
  const number = (label) => node("input", { type: "number", step: "any", "aria-label": label, placeholder: label, "data-name": label });
  const column = node("select", { "aria-label": "Quantity", "data-name": "quantity" }, ...state.columns.map(([name, text]) => node("option", { value: name }, text)));
  const [from, to] = [number("from"), number("to")];
  const add = node("button", { type: "button", class: "quiet", "data-name": "bound" }, "Add");
  const apply = () => {
    if (from.value !== "" || to.value !== "") change({ [column.value]: `${from.value}..${to.value}` });
  };
  add.addEventListener("click", apply);
  for (const input of [from, to]) input.addEventListener("keydown", (event) => { if (event.key === "Enter") apply(); });
  return node("fieldset", { class: "range-filter" }, node("legend", {}, "Filter by"), column, from, to, add);
}

/** Layer and number of the neuron. */
function showNeuronControls(form, state) {
  const layers = [...new Set([...state.layersAfter, ...state.layersBefore])];
  const layer = layers.includes(urlParam("layer")) ? urlParam("layer") : layers[0];
  const neuron = urlParam("neuron");
  const step = (by, text) => {
    const button = node("button", { type: "button", class: "quiet", "data-name": text, disabled: neuron === "" || Number(neuron) + by < 0 }, text);
    button.addEventListener("click", () => change({ neuron: Math.max(0, Number(urlParam("neuron")) + by) }));
    return button;
  };
  const controls = [
    ...(layers.length > 1 && state.layers.length < 2 ? [select("Layer", layers, layer, (name) => change({ layer: name }))] : []),
    textField("Neuron", neuron, { type: "number", min: "0", inputmode: "numeric" }, (number) => change({ neuron: number })),
    step(-1, "← Previous"),
    step(1, "Next →"),
  ];
  fill(form, JSON.stringify([layers, state.layers, layer, neuron]), controls);
}

/** The feature. */
function showFeatureControls(form, state) {
  fill(form, JSON.stringify([state.noun, urlParam("word")]), [
    textField(state.noun[0].toUpperCase() + state.noun.slice(1), urlParam("word"), { type: "search", placeholder: "type and press Enter" }, (word) => change({ word })),
  ]);
}

/** The layers that are matched: those in the URL, or the first that exist. */
function matchedLayers(state) {
  const before = state.layersBefore.includes(urlParam("layer")) ? urlParam("layer") : state.layersBefore[0];
  const after = state.layersAfter.includes(urlParam("layer_after")) ? urlParam("layer_after") : state.layersAfter.includes(before) ? before : state.layersAfter[0];
  return [before, after];
}

/** The layer of each stage. */
function showLayerControls(form, state) {
  const [before, after] = matchedLayers(state);
  const controls = [
    select(`Layer of ${state.before}`, state.layersBefore, before, (layer) => change({ layer })),
    select(`Layer of ${state.after}`, state.layersAfter, after, (layer) => change({ layer_after: layer })),
  ];
  fill(form, JSON.stringify([state.before, state.after, state.layersBefore, state.layersAfter, before, after]), controls);
}
