// The annotator's page: one item at a time, scored by key or click. Answers stay in the browser
// until they are saved as a table.
const data = JSON.parse($("data").textContent);
const state = { evaluator: "", scores: {}, place: 0 };
let order = [], shown = 0, isKept = true;

// Everyone has an order of their own, and the same one again after a break.
function shuffled(count, seed) {
  let x = 2166136261;
  for (const unit of seed) x = Math.imul(x ^ unit.codePointAt(0), 16777619) >>> 0;
  const next = () => {
    x = (x + 0x6d2b79f5) >>> 0;
    let t = Math.imul(x ^ (x >>> 15), x | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const places = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [places[i], places[j]] = [places[j], places[i]];
  }
  return places;
}

const key = () => `tongues ${data.sample} ${data.direction} ${state.evaluator}`;
function keep() {
  try { localStorage.setItem(key(), JSON.stringify({ scores: state.scores, place: state.place })); }
  catch { isKept = false; }
}
function recall() {
  try { return JSON.parse(localStorage.getItem(key())) ?? {}; }
  catch { isKept = false; return {}; }
}

function begin(name) {
  state.evaluator = name.replace(/\s+/g, " ").trim();
  if (!state.evaluator) return;
  const found = recall();
  state.scores = found.scores ?? {};
  state.place = Math.min(found.place ?? 0, data.items.length - 1);
  order = shuffled(data.items.length, data.sample + state.evaluator);
  $("who").hidden = true;
  $("work").hidden = false;
  show();
}

function show() {
  const item = data.items[order[state.place]], score = state.scores[item.id]?.score;
  $("source").textContent = item.source;
  $("target").textContent = item.target;
  for (const button of document.querySelectorAll("#scale button"))
    button.setAttribute("aria-pressed", String(Number(button.value) === score));
  const done = data.items.filter(one => one.id in state.scores).length;
  $("place").textContent = `${state.place + 1} of ${data.items.length}`;
  $("done").textContent = done === data.items.length
    ? "all scored: save the table and send it back" : `${done} scored`;
  $("bar").max = data.items.length;
  $("bar").value = done;
  $("lost").hidden = isKept;
  $("save").className = done === data.items.length ? "ready" : "";
  shown = performance.now();
}

function move(step) {
  state.place = Math.max(0, Math.min(data.items.length - 1, state.place + step));
  keep();
  show();
}

function give(score) {
  const item = data.items[order[state.place]], before = state.scores[item.id]?.seconds ?? 0;
  const seconds = Math.round((performance.now() - shown) / 100) / 10;
  state.scores[item.id] = { score, seconds: Math.round((before + seconds) * 10) / 10 };
  move(state.place + 1 < data.items.length ? 1 : 0);
}

function asTable() {
  const rows = data.items.filter(item => item.id in state.scores).map(item => [
    state.evaluator, item.id, data.direction, state.scores[item.id].score,
    state.scores[item.id].seconds,
  ].join("\t"));
  return ["evaluator\titem\tdirection\tscore\tseconds", ...rows].join("\n") + "\n";
}

function save() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([asTable()], { type: "text/tab-separated-values" }));
  link.download = `${data.direction}.${state.evaluator.replace(/[^\p{L}\p{M}\p{N}]+/gu, "_")}.tsv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

$("who").addEventListener("submit", event => { event.preventDefault(); begin($("name").value); });
$("save").addEventListener("click", save);
$("back").addEventListener("click", () => move(-1));
$("next").addEventListener("click", () => move(1));
$("scale").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) give(Number(button.value));
});
addEventListener("keydown", event => {
  if ($("work").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (/^[1-5]$/.test(event.key)) give(Number(event.key));
  else if (event.key === "ArrowLeft") move(-1);
  else if (event.key === "ArrowRight") move(1);
  else return;
  event.preventDefault();
});
