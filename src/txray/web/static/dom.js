// What everything on a page is made of: elements and numbers in words.
// Words of a corpus are inserted as text nodes only; no function here builds HTML from strings.

/** An element with attributes and children; strings become text. */
function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A word of a corpus, kept from reordering its neighbours. */
const word = (text) => node("bdi", {}, text);

const count = (number) => number.toLocaleString("en-US");

function quantity(number) {
  if (number === null) return "–";
  return number.toLocaleString("en-US", Math.abs(number) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}

/** A number with its 95% interval, as far as they are known. */
function spanned(number, low, high) {
  if (number === null || number === undefined) return "–";
  return low === null || high === null ? number.toFixed(2) : `${number.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

/** A share in percent, never 0% for what is more than nothing. */
function percent(share) {
  const value = 100 * share;
  if (value === 0) return "0%";
  const text = value.toFixed(value >= 10 ? 0 : value >= 1 ? 1 : 2);
  return `${Number(text) ? text : value.toPrecision(1)}%`;
}

/** How many times as much. */
const times = (factor) => `${factor.toLocaleString("en-US", { maximumSignificantDigits: 3 })} ×`;
