"use strict";
// The interactive part of the page of scores: one grid of source and target languages, seen from
// several sides. Everything comes from the JSON in #data; text is only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const languages = data.languages, size = languages.length;
const MISSING = -32768;
const state = { system: 0, against: -1, metric: 0, order: "mean", side: "target", cell: -1 };
const mean = values => values.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN;
const show = (value, signed) => Number.isNaN(value) || value === undefined ? "missing"
  : (signed && value > 0 ? "+" : "") + value.toFixed(data.decimals);
// Scores of a system in a metric, [source * size + target]; NaN where there are none.
const cells = data.cells ? unpack(data.cells, Uint16Array) : null;
const opened = new Map();
function grid(system, metric) {
  const key = system + " " + metric;
  if (opened.has(key)) return opened.get(key);
  const whole = new Float32Array(size * size).fill(NaN);
  const packed = data.scores[system][metric];
  if (packed) {
    const values = unpack(packed, Int16Array), scale = data.scales[metric];
    let at = 0;
    for (let i = 0; i < values.length; i++) {
      if (!cells && at % (size + 1) === 0) at++;  // no language is translated into itself
      if (values[i] !== MISSING) whole[cells ? cells[i] : at] = values[i] / scale;
      at++;
    }
  }
  opened.set(key, whole);
  return whole;
}

function current() {
  const own = grid(state.system, state.metric);
  if (state.against < 0) return own;
  const other = grid(state.against, state.metric);
  return own.map((value, i) => value - other[i]);
}

// Means of each language as source and as target.
function meansOf(values) {
  const sums = languages.map(() => ({ source: [], target: [] }));
  for (let s = 0; s < size; s++)
    for (let t = 0; t < size; t++) {
      const value = values[s * size + t];
      if (!Number.isNaN(value)) { sums[s].source.push(value); sums[t].target.push(value); }
    }
  return sums.map(one => ({ source: mean(one.source), target: mean(one.target),
    both: mean([...one.source, ...one.target]) }));
}

const LEVELS = ["high", "low", "very_low", ""];
const groupOf = {
  family: one => one.family || "unknown family",
  script: one => one.script,
  resource: one => one.level.replace("_", " ") || "unknown level",
};
function ordered(means) {
  const rows = [...languages.keys()];
  const byName = (a, b) => languages[a].name.localeCompare(languages[b].name);
  const byMean = (a, b) => (means[b].both || -1e9) - (means[a].both || -1e9) || byName(a, b);
  if (state.order === "mean") return rows.sort(byMean);
  if (state.order === "name") return rows.sort(byName);
  if (state.order === "resource")
    return rows.sort((a, b) =>
      LEVELS.indexOf(languages[a].level) - LEVELS.indexOf(languages[b].level) || byMean(a, b));
  const group = groupOf[state.order];
  return rows.sort((a, b) =>
    group(languages[a]).localeCompare(group(languages[b])) || byMean(a, b));
}

function palette(isDifference) {
  if (isDifference)
    return ramp(isDark() ? ["#ff9d5c", "#7a4526", "#222833", "#24508f", "#8ab4ff"]
      : ["#a8480b", "#f0b98d", "#f4f2ec", "#9cc0f5", "#1d4fa8"]);
  return heat();
}

// The range of colors: of the bulk of the scores, so that one odd cell does not bleach the rest.
function rangeOf(values, isDifference) {
  const there = [...values].filter(value => !Number.isNaN(value)).sort((a, b) => a - b);
  if (!there.length) return [0, 1];
  const at = share => there[Math.min(there.length - 1, Math.floor(share * there.length))];
  if (isDifference) {
    const most = Math.max(Math.abs(at(0.005)), Math.abs(at(0.995)), 1e-6);
    return [-most, most];
  }
  const low = at(0.005), high = at(0.995);
  return high > low ? [low, high] : [low - 1, high + 1];
}

let shown = null;
function drawMap() {
  if (!$("map")) return;
  const values = current(), isDifference = state.against >= 0;
  const order = ordered(meansOf(values)), color = palette(isDifference);
  const [low, high] = rangeOf(values, isDifference);
  const canvas = $("map"), room = $("map-room").clientWidth;
  const label = size <= 60 ? 84 : state.order in groupOf ? 112 : 14;
  const lean = label > 20 ? 56 : 0;  // labels above lean to the right
  const cell = Math.min(34, Math.max(3, Math.floor((room - label - lean) / size)));
  const side = label + size * cell, width = side + lean, ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = side * ratio;
  canvas.style.width = width + "px";
  canvas.style.height = side + "px";
  const pixels = new ImageData(size, size);
  order.forEach((s, y) => order.forEach((t, x) => {
    const value = values[s * size + t];
    if (Number.isNaN(value)) return;
    const [r, g, b] = color((value - low) / (high - low));
    pixels.data.set([r, g, b, 255], (y * size + x) * 4);
  }));
  const small = new OffscreenCanvas(size, size);
  small.getContext("2d").putImageData(pixels, 0, 0);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, label, label, size * cell, size * cell);
  const style = getComputedStyle(document.body);
  if (cell >= 8) crossOut(pen, order, values, label, cell, style.getPropertyValue("--base"));
  pen.fillStyle = style.getPropertyValue("--soft");
  pen.strokeStyle = style.getPropertyValue("--line");
  pen.font = "11px system-ui, sans-serif";
  drawLabels(pen, order, label, cell);
  shown = { order, label, cell, values };
  drawLegend(color, low, high, isDifference);
}

// Directions without a score get a stroke through their cell: they are not low ones.
function crossOut(pen, order, values, label, cell, color) {
  pen.strokeStyle = color;
  pen.beginPath();
  order.forEach((s, y) => order.forEach((t, x) => {
    if (s === t || !Number.isNaN(values[s * size + t])) return;
    pen.moveTo(label + x * cell + 2, label + (y + 1) * cell - 2);
    pen.lineTo(label + (x + 1) * cell - 2, label + y * cell + 2);
  }));
  pen.stroke();
}

function drawLabels(pen, order, label, cell) {
  const across = (text, at) => {
    pen.save();
    pen.translate(label + at, label - 6);
    pen.rotate(-Math.PI / 3);
    pen.fillText(text, 0, 0, label * 1.1);
    pen.restore();
  };
  const down = (text, at) => {
    pen.textAlign = "right";
    pen.fillText(text, label - 6, label + at + 4, label - 8);
    pen.textAlign = "left";
  };
  if (size <= 60) {
    order.forEach((one, i) => {
      down(languages[one].code, (i + 0.5) * cell);
      across(languages[one].code, (i + 0.5) * cell);
    });
    return;
  }
  if (!(state.order in groupOf)) return;
  const group = groupOf[state.order];
  for (let from = 0, to; from < size; from = to) {
    const name = group(languages[order[from]]);
    for (to = from; to < size && group(languages[order[to]]) === name;) to++;
    pen.beginPath();
    pen.moveTo(label, label + from * cell);
    pen.lineTo(label + size * cell, label + from * cell);
    pen.moveTo(label + from * cell, label);
    pen.lineTo(label + from * cell, label + size * cell);
    pen.stroke();
    if ((to - from) * cell < 11) continue;
    down(name, (from + to) / 2 * cell);
    across(name, (from + to) / 2 * cell);
  }
}

function drawLegend(color, low, high, isDifference) {
  const stops = [...Array(9).keys()].map(i => `rgb(${color(i / 8)})`);
  $("legend").style.background = `linear-gradient(90deg, ${stops})`;
  $("legend-low").textContent = show(low, isDifference);
  $("legend-high").textContent = show(high, isDifference);
}

function cellAt(event) {
  if (!shown) return -1;
  const box = $("map").getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left - shown.label) / shown.cell);
  const y = Math.floor((event.clientY - box.top - shown.label) / shown.cell);
  if (x < 0 || y < 0 || x >= size || y >= size) return -1;
  return shown.order[y] * size + shown.order[x];
}
const nameOf = at => {
  const source = languages[Math.floor(at / size)], target = languages[at % size];
  return `${source.name} → ${target.name}`;
};
const codeOf = at => `${languages[Math.floor(at / size)].code}-${languages[at % size].code}`;
function describe(at) {
  if (at < 0) return [];
  if (Math.floor(at / size) === at % size) return [];
  return [nameOf(at), codeOf(at), ...data.systems.map((name, i) =>
    `${name}: ${show(grid(i, state.metric)[at])}`)];
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawBars() {
  const values = current(), means = meansOf(values), isDifference = state.against >= 0;
  const intervals = isDifference ? null : data.intervals?.[state.system]?.[state.metric];
  const order = ordered(means).filter(i => !Number.isNaN(means[i][state.side]));
  const most = Math.max(1e-6, ...order.map(i => Math.max(Math.abs(means[i][state.side]),
    intervals?.[state.side]?.[languages[i].code]?.[1] ?? 0)));
  const room = $("bars"), step = 19;
  const width = Math.max(260, Math.min(1060, room.clientWidth - 20)), isNarrow = width < 480;
  const left = isNarrow ? 92 : 190, longest = isNarrow ? 13 : 26;
  const zero = isDifference ? left + (width - left - 60) / 2 : left;
  const scale = (isDifference ? (width - left - 60) / 2 : width - left - 60) / most;
  room.replaceChildren();
  for (const level of LEVELS) {
    const rows = order.filter(i => languages[i].level === level)
      .sort((a, b) => state.order === "mean" ? means[b][state.side] - means[a][state.side] : 0);
    if (!rows.length) continue;
    const name = level ? `${level.replace("_", " ")} resource` : "no resource level given";
    room.append(element("h3", `${name}: ${rows.length} language${rows.length > 1 ? "s" : ""}, mean ` +
      show(mean(rows.map(i => means[i][state.side])), isDifference)));
    const chart = svg("svg", { viewBox: `0 0 ${width} ${rows.length * step}`, width, role: "img" });
    rows.forEach((i, row) => {
      const value = means[i][state.side], y = row * step, x = zero + Math.min(0, value * scale);
      const around = intervals?.[state.side]?.[languages[i].code];
      const group = svg("g", {});
      group.append(svg("title", {}, `${languages[i].name} (${languages[i].code}): ` +
        show(value, isDifference) + (around ? `, ${show(around[0])} to ${show(around[1])}` : "")));
      group.append(svg("text", { x: left - 8, y: y + 12, "text-anchor": "end" },
        languages[i].name.length > longest ? languages[i].code : languages[i].name));
      group.append(svg("rect", { class: value < 0 ? "loss" : "bar", x, y: y + 2, rx: 2,
        width: Math.abs(value * scale), height: step - 6 }));
      if (around) group.append(svg("path", { class: "whisker",
        d: `M${zero + around[0] * scale} ${y + step / 2 - 1}H${zero + around[1] * scale}` }));
      const end = Math.max(0, value, around ? around[1] : 0) * scale;
      group.append(svg("text", { class: "soft", x: zero + end + 8, y: y + 12 },
        show(value, isDifference)));
      chart.append(group);
    });
    room.append(chart);
  }
}

// A chart of points (x, y, label) with axes, on a canvas; points answer to the pointer.
function scatter(id, points, across, up, hasDiagonal, isLogarithmic) {
  const canvas = $(id), around = getComputedStyle(canvas.parentElement), margin = 46;
  const inside = canvas.parentElement.clientWidth - parseFloat(around.paddingLeft) -
    parseFloat(around.paddingRight);
  const side = Math.min(520, inside);
  const ratio = devicePixelRatio || 1, pen = canvas.getContext("2d");
  canvas.width = canvas.height = side * ratio;
  canvas.style.width = canvas.style.height = side + "px";
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.body), soft = style.getPropertyValue("--soft");
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = soft;
  if (!points.length) { pen.fillText("nothing to show", margin, margin); canvas.points = []; return; }
  let xs = points.map(p => p.x), ys = points.map(p => p.y);
  const span = values => {
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    return high > low ? [low, high] : [low - 1, high + 1];
  };
  let [left, right] = span(xs), [bottom, top] = span(ys);
  if (hasDiagonal) [left, right, bottom, top] = [Math.min(left, bottom), Math.max(right, top),
    Math.min(left, bottom), Math.max(right, top)];
  const room = side - 2 * margin;
  const px = x => margin + (x - left) / (right - left) * room;
  const py = y => side - margin - (y - bottom) / (top - bottom) * room;
  pen.strokeStyle = style.getPropertyValue("--line");
  for (let i = 0; i <= 4; i++) {
    const x = left + (right - left) * i / 4, y = bottom + (top - bottom) * i / 4;
    pen.beginPath();
    pen.moveTo(px(x), margin); pen.lineTo(px(x), side - margin);
    pen.moveTo(margin, py(y)); pen.lineTo(side - margin, py(y));
    pen.stroke();
    pen.textAlign = "center";
    pen.fillText(isLogarithmic ? compact(10 ** x) : x.toFixed(1), px(x), side - margin + 16);
    pen.textAlign = "right";
    pen.fillText(y.toFixed(1), margin - 6, py(y) + 4);
  }
  if (hasDiagonal) {
    pen.strokeStyle = style.getPropertyValue("--base");
    pen.beginPath(); pen.moveTo(px(left), py(left)); pen.lineTo(px(right), py(right)); pen.stroke();
  }
  pen.textAlign = "right";
  pen.fillText(across, side - margin, side - 10);
  pen.textAlign = "left";
  pen.fillText(up, 6, 18);
  pen.fillStyle = style.getPropertyValue("--accent");
  pen.globalAlpha = points.length > 2000 ? 0.25 : 0.7;
  const radius = points.length > 2000 ? 1.6 : 3.2;
  for (const point of points) {
    point.px = px(point.x); point.py = py(point.y);
    pen.beginPath(); pen.arc(point.px, point.py, radius, 0, 7); pen.fill();
  }
  canvas.points = points;
}
function compact(value) {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= unit) return (value / unit).toFixed(value < 10 * unit ? 1 : 0) + name;
  return value.toFixed(0);
}
function nearest(event) {
  const canvas = event.currentTarget, box = canvas.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  let best = null, least = 64;
  for (const point of canvas.points || []) {
    const distance = (point.px - x) ** 2 + (point.py - y) ** 2;
    if (distance < least) { least = distance; best = point; }
  }
  return best;
}

const FEWEST_POINTS = 3;  // a chart of fewer says nothing that the tables do not

// The system against another one; against itself in another metric where there is only one.
function drawVersus() {
  const versus = state.against >= 0 ? state.against
    : data.systems.findIndex((_, i) => i !== state.system);
  const other = versus >= 0 ? grid(versus, state.metric)
    : data.metrics.length > 1 ? grid(state.system, (state.metric + 1) % data.metrics.length) : null;
  const own = grid(state.system, state.metric), points = [];
  if (other) own.forEach((y, at) => {
    const x = other[at];
    if (!Number.isNaN(x) && !Number.isNaN(y))
      points.push({ x, y, lines: [nameOf(at), `${show(y)} against ${show(x)}`], at });
  });
  const metric = data.metrics[state.metric];
  const across = versus >= 0 ? `${data.systems[versus]}, ${metric}`
    : `${data.systems[state.system]}, ${data.metrics[(state.metric + 1) % data.metrics.length]}`;
  const card = $("versus").closest("section");
  card.hidden = points.length < FEWEST_POINTS;
  card.querySelector("h2").textContent =
    versus >= 0 ? "System against system" : "Metric against metric";
  if (!card.hidden) scatter("versus", points, across, `${data.systems[state.system]}, ${metric}`, versus >= 0, false);
}

function drawSizes() {
  if (!$("sizes")) return;
  const means = meansOf(current()), points = [];
  const sentences = data.counts ? `training sentences of ${data.counts}` : "training sentences";
  languages.forEach((one, i) => {
    const y = means[i][state.side];
    if (one.lines > 0 && !Number.isNaN(y))
      points.push({ x: Math.log10(one.lines), y,
        lines: [one.name, `${one.lines.toLocaleString("en")} ${sentences}`, show(y)] });
  });
  $("sizes").closest("section").hidden = points.length < FEWEST_POINTS;
  if (points.length >= FEWEST_POINTS)
    scatter("sizes", points, sentences, data.metrics[state.metric], false, true);
}

function drawWorst() {
  if (!$("worst")) return;
  const values = current(), isDifference = state.against >= 0, rows = [];
  values.forEach((value, at) => { if (!Number.isNaN(value)) rows.push([value, at]); });
  rows.sort((a, b) => a[0] - b[0]);
  $("worst-title").textContent = isDifference
    ? `Most lost against ${data.systems[state.against]}` : "Worst directions";
  const body = $("worst").tBodies[0];
  body.replaceChildren(...rows.slice(0, 20).map(([value, at]) => {
    const row = element("tr");
    row.append(element("td", codeOf(at)), element("td", nameOf(at)),
      element("td", show(value, isDifference), "number"));
    row.addEventListener("click", () => choose(at));
    return row;
  }));
}

function choose(at) {
  if (!data.segments[codeOf(at)]) return;
  state.cell = at;
  $("direction").value = codeOf(at);
  drawSegments();
  $("segments").scrollIntoView({ behavior: "smooth", block: "nearest" });
}

function drawSegments() {
  const room = $("segments");
  if (!room) return;
  const code = $("direction").value, lines = data.segments[code] || [];
  const [source, target] = code.split("-"), metric = data.segment_metric;
  const order = $("segment-order").value;
  const scoreOf = line => line.scores[state.system] ?? NaN;
  const rows = [...lines];
  if (order === "worst") rows.sort((a, b) => scoreOf(a) - scoreOf(b));
  if (order === "best") rows.sort((a, b) => scoreOf(b) - scoreOf(a));
  const line = (label, text, language) => {
    const value = element("dd", text);
    value.dir = "auto";
    value.lang = language.slice(0, 3);
    return [element("dt", label), value];
  };
  room.replaceChildren(...rows.map(one => {
    const list = element("dl", undefined, "sample");
    list.append(element("h3", `line ${one.line}`), ...line("source", one.source, source),
      ...line("reference", one.reference, target));
    one.hypotheses.forEach((text, i) => {
      if (text === null) return;
      const score = one.scores[i] === null ? "" : ` ${metric} ${show(one.scores[i])}`;
      list.append(...line(data.systems[i] + score, text, target));
    });
    return list;
  }));
}

function fill(id, names, first) {
  const select = $(id);
  if (first !== undefined) select.append(new Option(first, -1));
  names.forEach((name, i) => select.append(new Option(name, i)));
}
function redraw() {
  drawMap(); drawBars(); drawVersus(); drawSizes(); drawWorst();
}
fill("system", data.systems);
fill("against", data.systems, "nothing");
fill("metric", data.metrics);
if (data.systems.length < 2) $("against").closest("label").hidden = true;
for (const id of ["system", "against", "metric"])
  $(id).addEventListener("change", event => {
    state[id] = Number(event.target.value);
    if (state.against === state.system) { state.against = -1; $("against").value = -1; }
    redraw();
    drawSegments();
  });
for (const id of ["order", "side"])
  $(id).addEventListener("change", event => { state[id] = event.target.value; redraw(); });
if ($("map")) {
  const map = $("map");
  map.addEventListener("mousemove", event => tip(event, describe(cellAt(event))));
  map.addEventListener("mouseleave", event => tip(event, []));
  map.addEventListener("click", event => { const at = cellAt(event); if (at >= 0) choose(at); });
}
for (const id of ["versus", "sizes"])
  if ($(id)) {
    $(id).addEventListener("mousemove", event => tip(event, nearest(event)?.lines ?? []));
    $(id).addEventListener("mouseleave", event => tip(event, []));
  }
if ($("direction")) {
  for (const code of Object.keys(data.segments)) $("direction").append(new Option(code, code));
  for (const id of ["direction", "segment-order"]) $(id).addEventListener("change", drawSegments);
  drawSegments();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
// Paper is white: what is drawn for the screen in the dark is drawn again, and all of it is open.
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  redraw();
});
addEventListener("afterprint", redraw);
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 120); });
const started = performance.now();
redraw();
document.documentElement.dataset.drawn = (performance.now() - started).toFixed(0);
