"use strict";
// What the scripts of interactive pages share. Text is only ever set as text.
const $ = id => document.getElementById(id);
const element = (tag, text, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
};

// Numbers that Python packed: base64 of little-endian bytes.
function unpack(text, Type) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Type(bytes.buffer);
}

let isPrinting = false;
addEventListener("beforeprint", () => { isPrinting = true; });
addEventListener("afterprint", () => { isPrinting = false; });
const isDark = () => !isPrinting && matchMedia("(prefers-color-scheme: dark)").matches;
const hex = text => [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16));
// A function from shares in 0 to 1 to colors, [r, g, b].
function ramp(stops) {
  const colors = stops.map(hex), last = colors.length - 1;
  return share => {
    const x = Math.min(Math.max(share, 0), 1) * last, i = Math.min(Math.floor(x), last - 1);
    return colors[i].map((low, k) => Math.round(low + (colors[i + 1][k] - low) * (x - i)));
  };
}
// Lines beside the pointer, the first in bold; none hide them.
function tip(event, lines) {
  const box = $("tip");
  box.hidden = !lines.length;
  if (!lines.length) return;
  box.replaceChildren(...lines.map((line, i) => element(i ? "div" : "b", line)));
  const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
  box.style.left = Math.max(4, left) + "px";
  box.style.top = Math.min(event.clientY + 16, innerHeight - box.offsetHeight - 8) + "px";
}
// Both ends differ from the card behind them: a low value is not an empty cell.
const heat = () => ramp(isDark() ? ["#2c3f66", "#2f5aa6", "#5c92ea", "#c4dbff"]
  : ["#dfe6f0", "#a9c8f3", "#3f7de0", "#14366f"]);
