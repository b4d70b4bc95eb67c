// Start of the page: unpack what is embedded, draw figures when they come near, open the explorer.

/** Text of an embedded block: gzip, then base64. */
async function unpack(id) {
  const letters = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(letters.length);
  // A plain loop: twenty times faster than Uint8Array.from with a function.
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Figures are drawn when they come near the screen, all of them before printing. */
class Figures {
  constructor(specifications, onNeuron) {
    this.specifications = specifications;
    this.onNeuron = onNeuron;
    this.waiting = new Set(document.querySelectorAll("[data-figure]"));
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.draw(entry.target);
    }, { rootMargin: "800px 0px" });
    for (const element of this.waiting) observer.observe(element);
    window.addEventListener("beforeprint", () => [...this.waiting].forEach((element) => this.draw(element)));
  }

  draw(element) {
    if (!this.waiting.delete(element)) return;
    const { data, layout } = this.specifications[Number(element.dataset.figure)];
    const save = {
      name: "save",
      title: "Save as PNG, with its title",
      icon: Plotly.Icons.camera,
      click: () => Plotly.downloadImage({ data, layout }, { format: "png", scale: 2, filename: `figure-${Number(element.dataset.figure) + 1}` }),
    };
    const heading = Number(element.dataset.heading);
    Plotly.newPlot(element, data, heading ? headless(layout, heading) : layout, {
      displaylogo: false,
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", save]],
    });
    if (element.dataset.pair === undefined) return;
    element.on("plotly_click", (event) => {
      const neuron = [event.points[0].customdata].flat()[0];
      if (Number.isInteger(neuron)) this.onNeuron(neuron, Number(element.dataset.pair));
    });
  }
}

/** A layout without its title, which is a heading above the figure that wraps; `height` is the title's. */
function headless(layout, height) {
  return { ...layout, title: undefined, height: layout.height - height, margin: { ...layout.margin, t: layout.margin.t - height } };
}

/** Tell the navigation which section is on the screen. */
function followSections() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const link = links.get(target.id);
      if (isIntersecting) {
        link.setAttribute("aria-current", "true");
        link.closest("ul").scrollLeft = link.offsetLeft - 64;
      } else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-45% 0px -54% 0px" });
  for (const id of links.keys()) observer.observe(document.getElementById(id));
}

/** The explorer first: it needs no plotly.js, which takes longest. */
async function start() {
  followSections();
  const explorer = new Explorer(JSON.parse(await unpack("packed-neurons")));
  document.documentElement.dataset.ready = "neurons";
  const [plotly, figures] = await Promise.all(["packed-plotly", "packed-figures"].map(unpack));
  document.body.append(node("script", {}, plotly));
  new Figures(JSON.parse(figures), (neuron, pair) => explorer.visit(neuron, pair));
  document.documentElement.dataset.ready = "all";
}

start().catch((error) => {
  const problem = document.getElementById("problem");
  problem.textContent = `This browser cannot show the figures and neurons (${error.message}); a current one can.`;
  problem.hidden = false;
  throw error;
});
