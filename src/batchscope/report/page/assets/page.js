"use strict";
(() => {
  // The content of an element: as it stands, or out of base64 and gzip.
  async function content(id) {
    const element = document.getElementById(id);
    if (element.dataset.encoding === "text") return element.textContent;
    const bytes = Uint8Array.from(atob(element.textContent), character => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  window.batchscopeRows = () => content("rows");
  const link = document.getElementById("download");
  link.addEventListener("click", async event => {
    if (link.href.startsWith("blob:")) return;
    event.preventDefault();
    link.href = URL.createObjectURL(new Blob([await content("rows")], {type: "text/csv"}));
    link.click();
  });

  // Draw all charts, and keep them true to the theme, the paper and the sliders.
  async function start() {
    const text = await content("charts");
    const colours = JSON.parse(text).colours;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const config = {responsive: true, displayModeBar: false};

    // "@ink", "@ramp5.3" or "@ramp5.3/20" -> a colour of the theme; see drawing/interactive.py.
    function colour(token, theme) {
      const [, name, index, opacity] = /^@(\w+)(?:\.(\d+))?(?:\/(\d+))?$/.exec(token);
      const hex = index ? theme[name][index] : theme[name];
      return opacity ? hex + Math.round(2.55 * opacity).toString(16).padStart(2, "0") : hex;
    }

    const theme = print => dark.matches && !print ? colours.dark : colours.light;

    function coloured(print) {
      const chosen = theme(print);
      const isToken = value => typeof value === "string" && value[0] === "@";
      return Object.entries(JSON.parse(text, (key, value) => isToken(value) ? colour(value, chosen) : value).charts);
    }

    const put = ([id, chart]) => Plotly.react(id, chart.data, chart.layout, config);
    function redraw(print) {
      if (!window.Plotly) return;
      coloured(print).forEach(put);
      sliders.forEach(slide);
      computed.forEach(show => show());
    }
    // The first time chart by chart, so that the page answers to touch meanwhile.
    async function draw() {
      const plotly = document.createElement("script");
      plotly.textContent = await content("plotly");
      document.head.append(plotly);
      for (const entry of coloured(false)) {
        await put(entry);
        await new Promise(resolve => setTimeout(resolve));
      }
      sliders.forEach(slide);
      computed.forEach(show => show());
    }
    const computed = Object.entries(JSON.parse(text).workers).map(([prefix, data]) => workers.attach(prefix, data));

    // Put the frame of a slider's position into its chart, and its number of epochs beside it.
    const figures = JSON.parse(text).charts;
    const sliders = [...document.querySelectorAll("input[data-chart]")];
    function slide(input) {
      const chart = figures[input.dataset.chart], position = Number(input.value);
      input.parentElement.querySelector("output").value = chart.values[position];
      return Plotly.restyle(input.dataset.chart, chart.frames[position]);
    }
    sliders.forEach(input => input.addEventListener("input", () => slide(input)));

    dark.addEventListener("change", () => redraw(false));
    addEventListener("beforeprint", () => redraw(true));
    addEventListener("afterprint", () => redraw(false));
    await draw();
  }

  start().then(
    () => { document.documentElement.dataset.ready = "true"; },
    error => {
      document.querySelector("header").insertAdjacentHTML("beforeend", "<p><b>This browser cannot unpack the charts; every table is below.</b></p>");
      throw error;
    });
})();
