"use strict";
// What each number of workers buys, as batchscope/scaling computes it, for the sliders of a page. Numbers and words are
// those of optimum.py, advising.py and formatting.py; a test compares them with Python's.
const workers = (() => {
  const known = value => value ?? NaN;
  const unlimited = value => value ?? Infinity;

  // A shape as the page carries it: infinities and NaN are null there.
  function unpacked(shape) {
    return {
      ...shape,
      bandwidth: unlimited(shape.bandwidth),
      max_local_batch: unlimited(shape.max_local_batch),
      limits: [shape.limits[0], unlimited(shape.limits[1])],
      smallest: known(shape.smallest),
      largest: known(shape.largest),
      curves: shape.curves.map(curve => curve.map(known)),
    };
  }

  const PATTERNS = { // P -> [messages one after another, how often the gradient crosses a link]
    ring: P => [2 * (P - 1), 2 * (P - 1) / P],
    tree: P => [2 * Math.ceil(Math.log2(P)), 2 * Math.ceil(Math.log2(P))],
    parameter_server: P => [0, 2 * P],
  };

  function exchanging(model, P) {
    if (P === 1) return 0;
    const [messages, passes] = PATTERNS[model.pattern](P);
    return messages * model.latency + passes * (model.size / model.bandwidth) + model.handling;
  }

  // ((a + c b)^γ + T_sync^γ)^(1/γ), scaled by the longer part.
  function step(model, batch, P) {
    const computing = model.overhead + model.per_example * batch / P, links = exchanging(model, P);
    const longer = Math.max(computing, links), share = longer > 0 ? Math.min(computing, links) / longer : 0;
    return longer * (1 + share ** model.overlap) ** (1 / model.overlap);
  }

  const sum = (a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))); // log(e^a + e^b)

  // S_min (1 + (B_crit/B)^α)^(1/α); a curve is [log S_min, log E_min, log α].
  function steps([least, examples, sharpness], batch) {
    const alpha = Math.exp(sharpness);
    return Math.exp(sum(alpha * least, alpha * (examples - Math.log(batch))) / alpha);
  }

  // d(log S + log T)/d log B at B.
  function slope(model, [least, examples, sharpness], batch, P) {
    const away = Math.exp(sharpness) * (Math.log(batch) - examples + least);
    const falling = 1 / (1 + Math.exp(Math.min(Math.max(away, -700), 700)));
    const computing = model.overhead + model.per_example * batch / P;
    const share = 1 / (1 + (exchanging(model, P) / computing) ** model.overlap);
    return share * (model.per_example * batch / P) / computing - falling;
  }

  const HALVINGS = 45;
  function bisected(model, curve, P, low, high, farthest) {
    let left = Math.log(Math.max(low, 1e-300));
    let right = Math.max(Number.isFinite(high) ? Math.log(high) : Math.max(farthest, left + 40), left);
    for (let k = 0; k < HALVINGS; k++) {
      const middle = (left + right) / 2;
      if (slope(model, curve, Math.exp(middle), P) < 0) left = middle; else right = middle;
    }
    return Math.exp((left + right) / 2);
  }

  // (model, curve, P) -> the batch size with the least time to target; NaN where none is allowed.
  function chooser(shape) {
    const bends = shape.curves.map(curve => Math.abs(curve[2])).filter(value => value > 0);
    const closed = shape.overlap === 1 && !bends.length;
    const crits = shape.curves.map(curve => curve[1] - curve[0]).filter(value => !Number.isNaN(value));
    const farthest = Math.max(...crits) + 20;
    return (curve, P) => {
      const low = Math.max(P, shape.limits[0]), high = Math.min(P * shape.max_local_batch, shape.limits[1]);
      if (low > high || Number.isNaN(curve[0])) return NaN;
      const best = closed
        ? Math.sqrt(Math.exp(curve[1] - curve[0]) * (shape.overhead + exchanging(shape, P)) * P / shape.per_example)
        : bisected(shape, curve, P, low, high, farthest);
      return Math.min(Math.max(best, low), high);
    };
  }

  // The central `level` of the samples, as values of them.
  function interval(samples, level) {
    const sorted = samples.filter(value => !Number.isNaN(value)).sort((a, b) => a - b), n = sorted.length;
    const at = share => n ? sorted[Math.max(Math.ceil(n * share - 1), 0)] : NaN;
    return [at((1 - level) / 2), at(1 - (1 - level) / 2)];
  }

  // The last worker that saves at least `worth` of the time; `first`: index of the fewest that can train at all.
  function lastPaying(seconds, worth, first) {
    let least = NaN, last = first + 1;
    seconds.forEach((value, k) => {
      const before = least;
      least = Number.isNaN(least) || value < least ? value : least;
      if (1 - least / before >= worth) last = Math.max(last, k + 1);
    });
    return last;
  }

  // What `scaling.advise` says of 1 to shape.most workers. changed: bandwidth and latency as factors, price, deadline.
  function advise(given, changed) {
    const shape = {...given, bandwidth: given.bandwidth * changed.bandwidth, latency: given.latency * changed.latency};
    const numbers = Array.from({length: shape.most}, (_, k) => k + 1), best = chooser(shape);
    const sizes = numbers.map(P => best(shape.curves[0], P));
    const times = shape.curves.map((curve, r) => numbers.map((P, k) => {
      const batch = r ? best(curve, P) : sizes[k];
      return steps(curve, batch) * step(shape, batch, P);
    }));
    const first = times[0].findIndex(value => !Number.isNaN(value)), samples = times.slice(1);
    const points = numbers.map((P, k) => ({
      workers: P,
      batch: sizes[k],
      seconds: times[0][k],
      interval: interval(samples.map(row => row[k]), shape.level),
      speedup: times[0][first] / times[0][k],
      speedupInterval: interval(samples.map(row => row[first] / row[k]), shape.level),
      cost: P * times[0][k] / 3600 * changed.price,
      extrapolated: sizes[k] > shape.largest * (1 + 1e-9) || sizes[k] < shape.smallest / (1 + 1e-9),
    }));
    const whole = samples.filter(row => row.some(value => !Number.isNaN(value)));
    const within = end => points.find(point => end(point) <= changed.deadline) ?? null;
    return {
      points,
      fastest: points.reduce((a, b) => b.seconds < a.seconds || Number.isNaN(a.seconds) ? b : a),
      saturation: lastPaying(times[0], shape.worth, first),
      saturationInterval: interval(whole.map(row => lastPaying(row, shape.worth, first)), shape.level),
      inTime: within(point => point.seconds),
      inTimeSurely: within(point => point.interval[1]),
    };
  }

  // Numbers in words, as analysis/formatting.py has them.
  const grouped = count => Math.abs(count) >= 1e4 ? String(count).replace(/\B(?=(\d{3})+$)/g, " ") : String(count);

  function digits(value) { // three, as Python's format ".3g"
    const [mantissa, exponent] = value.toExponential(2).split("e");
    if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
    return `${Number(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }

  function number(value) {
    if (Number.isNaN(value)) return "-";
    if (value === 0) return "0";
    const rounded = Number.isInteger(value) ? value : Number(value.toPrecision(3)), size = Math.abs(rounded);
    if (size >= 1e9 || size < 1e-4) return value.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2");
    return size >= 100 || Number.isInteger(rounded) ? grouped(Math.round(rounded)) : String(rounded);
  }

  function tick(value) {
    const exponent = Math.log2(value), raised = {"-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹"};
    if (Math.abs(exponent) <= 16 || !Number.isInteger(exponent)) return number(value);
    return `2${[...String(exponent)].map(digit => raised[digit]).join("")}`;
  }

  function duration(seconds) {
    if (!Number.isFinite(seconds)) return "-";
    const units = [[1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
    if (seconds > 0 && seconds < 0.09995) {
      const [size, unit] = units.find(([least, name]) => seconds >= 0.9995 * least || name === "ns");
      return `${digits(seconds / size)} ${unit}`;
    }
    if (seconds < 120) return `${digits(seconds)} s`;
    return seconds < 7200 ? `${digits(seconds / 60)} min` : `${digits(seconds / 3600)} h`;
  }

  function rate(bandwidth) {
    if (bandwidth === Infinity) return "links without limit";
    const [size, unit] = [[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [-Infinity, "B/s"]].find(([least]) => bandwidth >= least);
    return `${digits(bandwidth / Math.max(size, 1))} ${unit}`;
  }

  const money = cost => Number.isNaN(cost) ? "-" : cost < 1000 ? digits(cost) : grouped(Math.round(cost));

  // The cells of a shape's line in the table, after its name.
  function words(shape, advice) {
    const end = count => count >= shape.most && shape.most > 1 ? `> ${shape.most}` : String(count);
    const {fastest, saturationInterval: ends, inTime, inTimeSurely} = advice;
    const sure = inTime && !Number.isNaN(inTime.interval[1]);
    return [
      end(advice.saturation) + (Number.isNaN(ends[0]) ? "" : ` [${end(ends[0])}, ${end(ends[1])}]`),
      grouped(fastest.workers),
      number(Math.round(fastest.batch)) + (fastest.extrapolated ? "*" : ""),
      duration(fastest.seconds),
      digits(fastest.speedup),
      money(fastest.cost),
      inTime ? `${inTime.workers}${sure ? `; surely: ${inTimeSurely ? inTimeSurely.workers : "none"}` : ""}` : "none",
    ];
  }

  // Keep the charts and the table of a study's section true to its sliders. Returns what draws them anew.
  function attach(prefix, data) {
    const shapes = data.shapes.map(unpacked);
    const inputs = [...document.querySelectorAll(`input[data-workers="${prefix}"]`)];
    const lines = document.querySelectorAll(`#${prefix}-workers-table tbody tr`);
    const same = name => shapes.every(shape => shape[name] === shapes[0][name]);
    const factor = input => 10 ** (Number(input.value) / 10);
    const texts = {
      bandwidth: by => same("bandwidth") ? rate(shapes[0].bandwidth * by) : `× ${digits(by)}`,
      latency: by => same("latency") ? duration(shapes[0].latency * by) : `× ${digits(by)}`,
      price: by => money(data.price * by),
      deadline: by => duration(data.deadline * by),
    };

    function axis(values) {
      const known = values.filter(value => value > 0 && Number.isFinite(value)), log = Math.log2;
      const low = Math.min(...known) / 1.35, high = Math.max(...known) * 1.35, ticks = [];
      for (let k = Math.ceil(log(low)); k <= Math.floor(log(high)); k++) ticks.push(2 ** k);
      const every = Math.ceil(ticks.length / 10) || 1, shown = ticks.filter((_, k) => k % every === 0);
      const range = [Math.log10(low), Math.log10(high)];
      return {"yaxis.range": range, "yaxis.tickvals": shown, "yaxis.ticktext": shown.map(tick)};
    }

    // The traces of one chart in the order in which report/charts/workers.py has them.
    function traces(advices, value, ends) {
      return advices.flatMap(({points}, k) => {
        const use = points.filter(point => Number.isFinite(value(point))), x = use.map(point => point.workers);
        const line = {x, y: use.map(value)};
        if (!shapes[k].band) return [line];
        const high = use.map(point => ends(point)[1]), low = use.map(point => ends(point)[0]);
        return [{x: [...x, ...x.toReversed()], y: [...high, ...low.toReversed()]}, line];
      });
    }

    function put(name, found) {
      const y = found.flatMap(trace => trace.y);
      const update = {x: found.map(trace => trace.x), y: found.map(trace => trace.y)};
      return Plotly.update(`${prefix}-${name}`, update, axis(y));
    }

    function show() {
      const by = Object.fromEntries(inputs.map(input => [input.name, factor(input)]));
      inputs.forEach(input => { input.parentElement.querySelector("output").value = texts[input.name](by[input.name]); });
      const changed = {...by, price: data.price * by.price, deadline: data.deadline * by.deadline};
      const advices = shapes.map(shape => advise(shape, changed)), ends = [1, shapes[0].most];
      advices.forEach((advice, k) => words(shapes[k], advice).forEach((text, column) => {
        lines[k].cells[column + 1].textContent = text;
      }));
      const last = advices.map(({saturation, points}) => ({x: [saturation], y: [points[saturation - 1].speedup]}));
      const price = point => point.workers / 3600 * changed.price;
      const perfect = {x: ends, y: ends}, deadline = {x: ends, y: [changed.deadline, changed.deadline]};
      put("workers_speedup", [perfect, ...traces(advices, p => p.speedup, p => p.speedupInterval), ...last]);
      put("workers_time", [deadline, ...traces(advices, p => p.seconds, p => p.interval)]);
      put("workers_cost", traces(advices, p => p.cost, p => p.interval.map(seconds => seconds * price(p))));
    }

    let waiting = false;
    const later = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; show(); });
    };
    inputs.forEach(input => input.addEventListener("input", later));
    return show;
  }

  return {advise, attach, duration, number, rate, tick, unpacked, words};
})();
if (typeof module === "object") module.exports = workers;
