"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specifications = read("specifications");
  const themes = read("themes");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  const logs = new Set();

  // Vega-Lite cannot switch a scale's type by itself: the chart is drawn again with the other.
  const withLog = (specification) => {
    const copy = JSON.parse(JSON.stringify(specification));
    for (const layer of copy.layer || [copy]) {
      const y = layer.encoding && layer.encoding.y;
      if (y && y.field && y.type === "quantitative") y.scale = { ...y.scale, type: "log", nice: false };
    }
    return copy;
  };

  const draw = async (name) => {
    const place = document.getElementById("chart-" + name);
    const theme = dark.matches ? "dark" : "light";
    const specification = specifications[name];
    if (views.has(name)) views.get(name).finalize();
    const result = await window.vegaEmbed(place, logs.has(name) ? withLog(specification) : specification, {
      mode: "vega-lite", renderer: "canvas", actions: false, config: themes[theme], tooltip: { theme },
    });
    views.set(name, result);
  };

  const drawAll = () => Promise.all(Object.keys(specifications).map(draw));
  for (const button of document.querySelectorAll("button[data-log]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.log;
      if (!logs.delete(name)) logs.add(name);
      button.setAttribute("aria-pressed", String(logs.has(name)));
      draw(name);
    });
  }
  dark.addEventListener("change", drawAll);
  drawAll().then(() => document.documentElement.setAttribute("data-drawn", "yes"));
})();
