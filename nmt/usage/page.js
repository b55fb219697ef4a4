// The maps of the page of experts: similarity of languages, and the experts of each language.
const data = JSON.parse($("data").textContent);
const languages = data.languages, FULL = 255, MOST_NAMED = 40;
const rankOf = {
  cluster: () => data.cluster,
  name: () => sorted(one => one.name),
  family: () => sorted(one => (one.family || "~") + one.name),
  script: () => sorted(one => one.script + one.name),
};
const groupOf = { family: one => one.family || "unknown family", script: one => one.script };
const nameOf = one => `${one.name} (${one.code})`;

function sorted(key) {
  return [...languages.keys()].sort((a, b) => key(languages[a]).localeCompare(key(languages[b])));
}

// The languages of a layer in the chosen order: [rows of the layer's numbers].
function rowsOf(known) {
  const row = new Map(known.map((language, i) => [language, i]));
  return rankOf[$("order").value]().filter(language => row.has(language))
    .map(language => ({ language, row: row.get(language) }));
}

// A map of colors with room for labels; returns what tells the cell under the pointer.
function drawCells(canvas, width, height, label, cell, colorAt) {
  const pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  const across = label.left + width * cell.width + label.right;
  const down = label.top + height * cell.height;
  canvas.width = across * ratio;
  canvas.height = down * ratio;
  canvas.style.width = across + "px";
  canvas.style.height = down + "px";
  const pixels = new ImageData(width, height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      pixels.data.set([...colorAt(y, x), FULL], (y * width + x) * 4);
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(pixels, 0, 0);
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = cell.width < 1;
  pen.drawImage(small, label.left, label.top, width * cell.width, height * cell.height);
  const style = getComputedStyle(document.body);
  pen.fillStyle = style.getPropertyValue("--soft");
  pen.strokeStyle = style.getPropertyValue("--page");
  pen.font = "11px system-ui, sans-serif";
  return pen;
}

function labelRows(pen, rows, label, step) {
  const write = (text, at) => {
    pen.textAlign = "right";
    pen.fillText(text, label.left - 6, label.top + at + 4, label.left - 8);
  };
  const group = groupOf[$("order").value];
  if (step >= 10 && rows.length <= MOST_NAMED)
    rows.forEach((one, i) => write(languages[one.language].code, (i + 0.5) * step));
  else if (group) groups(rows, group).forEach(one => {
    if ((one.to - one.from) * step >= 11) write(one.name, (one.from + one.to) / 2 * step);
  });
}

function groups(rows, group) {
  const found = [];
  rows.forEach((one, i) => {
    const name = group(languages[one.language]), last = found.at(-1);
    if (last && last.name === name) last.to = i + 1;
    else found.push({ name, from: i, to: i + 1 });
  });
  return found;
}

function drawLines(pen, rows, label, step, width, isSquare) {
  const group = groupOf[$("order").value];
  if (!group) return;
  pen.lineWidth = 1;
  for (const one of groups(rows, group).slice(1)) {
    pen.beginPath();
    pen.moveTo(label.left, label.top + one.from * step);
    pen.lineTo(label.left + width, label.top + one.from * step);
    if (isSquare) {
      pen.moveTo(label.left + one.from * step, label.top);
      pen.lineTo(label.left + one.from * step, label.top + width);
    }
    pen.stroke();
  }
}

function roomFor(rows, step) {
  const isNamed = step >= 10 && rows.length <= MOST_NAMED;
  return isNamed ? 68 : groupOf[$("order").value] ? 96 : 0;
}

// The palest color: of the bulk of a map, so that one odd pair does not bleach the rest.
function lowest({ cells, size }) {
  const values = cells.filter((_, i) => Math.floor(i / size) !== i % size).sort();
  return values.length ? Math.min(values[Math.floor(0.01 * values.length)], FULL - 1) : 0;
}

const maps = Object.fromEntries(Object.entries(data.similarity).map(([layer, one]) =>
  [layer, { languages: one.languages, size: one.languages.length,
    cells: unpack(one.cells, Uint8Array) }]));
for (const map of Object.values(maps)) map.low = lowest(map);
const leastLow = Math.min(...Object.values(maps).map(map => map.low));
const lowOf = map => $("colors").value === "own" ? map.low : leastLow;

function drawSimilarity(canvas) {
  const map = maps[canvas.dataset.layer], rows = rowsOf(map.languages);
  const room = canvas.parentElement.clientWidth, color = heat(), low = lowOf(map);
  let step = room / rows.length;
  const left = roomFor(rows, Math.min(34, (room - 68) / rows.length));
  step = Math.min(34, (room - left) / rows.length);
  const label = { left, top: 0, right: 0 };
  const pen = drawCells(canvas, rows.length, rows.length, label, { width: step, height: step },
    (y, x) => color((map.cells[rows[y].row * map.size + rows[x].row] - low) / (FULL - low)));
  labelRows(pen, rows, label, step);
  drawLines(pen, rows, label, step, rows.length * step, true);
  canvas.parentElement.querySelector("small").textContent = canvas.dataset.layer +
    ($("colors").value === "own" ? `, from ${(low / FULL).toFixed(2)}` : "");
  answer(canvas, (x, y) => {
    const column = Math.floor((x - left) / step), line = Math.floor(y / step);
    if (!rows[column] || !rows[line]) return [];
    const value = map.cells[rows[line].row * map.size + rows[column].row] / FULL;
    return [value.toFixed(2), nameOf(languages[rows[line].language]),
      nameOf(languages[rows[column].language])];
  });
}

function drawUsage() {
  const one = data.usage[$("layer").value], rows = rowsOf(one.languages), canvas = $("usage");
  const cells = unpack(one.cells, Uint8Array), count = one.experts.length, color = heat();
  const room = $("usage-room").clientWidth - 16;
  const height = rows.length <= MOST_NAMED ? 18 : 5;
  const left = roomFor(rows, height), isNumbered = (room - left) / count >= 20;
  const width = Math.min(40, (room - left) / count);
  const label = { left, top: isNumbered ? 18 : 0, right: 0 };
  const pen = drawCells(canvas, count, rows.length, label, { width, height },
    (y, x) => color(Math.sqrt(cells[rows[y].row * count + x] / FULL)));
  labelRows(pen, rows, label, height);
  drawLines(pen, rows, label, height, count * width, false);
  pen.textAlign = "center";
  if (isNumbered)
    one.experts.forEach((expert, i) => pen.fillText(expert, left + (i + 0.5) * width, 12));
  answer(canvas, (x, y) => {
    const column = Math.floor((x - left) / width), line = Math.floor((y - label.top) / height);
    if (one.experts[column] === undefined || !rows[line]) return [];
    const share = cells[rows[line].row * count + column] / FULL * one.top;
    return [`${(100 * share).toFixed(1)} % of ${nameOf(languages[rows[line].language])}`,
      `expert ${one.experts[column]}`, `all languages: ${(100 * one.load[column]).toFixed(1)} %`];
  });
}

function answer(canvas, linesAt) {
  const show = event => {
    const box = canvas.getBoundingClientRect();
    tip(event, linesAt(event.clientX - box.left, event.clientY - box.top));
  };
  canvas.onpointermove = canvas.onpointerdown = show;
  canvas.onpointerleave = event => { if (event.pointerType === "mouse") tip(event, []); };
}

function drawLegend() {
  const color = heat(), stops = [...Array(9).keys()].map(i => `rgb(${color(i / 8)})`);
  $("legend").style.background = `linear-gradient(90deg, ${stops})`;
  const isOwn = $("colors").value === "own";
  $("legend-low").textContent = isOwn ? "least" : (leastLow / FULL).toFixed(2);
  $("legend-high").textContent = "1.00";
}

function redraw() {
  drawLegend();
  document.querySelectorAll("canvas[data-layer]").forEach(drawSimilarity);
  drawUsage();
}
for (const id of ["order", "colors"]) $(id).addEventListener("change", redraw);
$("layer").addEventListener("change", drawUsage);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 120); });
addEventListener("scroll", event => tip(event, []), { passive: true });
redraw();
document.documentElement.dataset.drawn = "yes";
