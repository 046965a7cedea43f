// What is drawn: colours, planes as cells, lines as curves, and the window that the kernel lies on. Decides nothing.

const LEGIBLE = 9; // pixels of a letter
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const input = unpack(data.input);
const kernel = unpack(data.kernel);
const [channels, height, width] = input.shape;

/** at: the position shown; channel: the one drawn; shown: up to which position the map is drawn, while playing. */
const state = { how: structuredClone(data.how), at: data.at, channel: 0, held: false, shown: Infinity };
let map = convolve(input, kernel, state.how, data.bias);
let colours = theme();

// ---- colours: orange is positive, blue negative, as in the report's maps

function theme() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  const names = ["zero", "plus", "minus", "pad", "ink", "quiet", "page"];
  return Object.fromEntries(names.map((name) => [name, rgb(`--${name}`)]));
}

function signed(value, scale) {
  const share = Math.max(-1, Math.min(1, value / scale));
  const end = share > 0 ? colours.plus : colours.minus;
  return colours.zero.map((from, i) => from + Math.abs(share) * (end[i] - from));
}

function grey(value) {
  const level = Math.max(0, Math.min(255, value));
  return [level, level, level];
}

const inputColour = (value) => (data.grey ? grey(value) : signed(value, data.inputScale));
const mapColour = (value) => (data.greyMap ? grey(value) : signed(value, data.mapScale));
const kernelColour = (value) => signed(value, data.kernelScale);
const productColour = (value) => signed(value, data.inputScale * data.kernelScale);
const css = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;
const readable = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff");

/** Colour a canvas cell by cell; colourAt(row, column) -> [r, g, b]. */
function paint(canvas, rows, columns, colourAt) {
  canvas.width = columns;
  canvas.height = rows;
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    pixels.data.set([...colourAt(Math.floor(i / columns), i % columns), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** A canvas in the pixels of the screen, cleared, with a context in CSS pixels. */
function fresh(canvas) {
  const { width: w, height: h } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(w * ratio));
  canvas.height = Math.max(1, Math.round(h * ratio));
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, w, h };
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// ---- planes: pictures, maps and what is pointed at in them

const padded = (axis) => input.shape[axis + 1] + 2 * state.how.padding[axis];

function drawInput() {
  paint($("input"), padded(0), padded(1), (row, column) => inputOrPad(inputAt(row, column)));
  fit($("input"));
}

function drawMap() {
  paint($("map"), map.shape[1], map.shape[2], (row, column) => mapOrPad(mapAt(row, column)));
  fit($("map"));
}

/** As large as its column and 400 px of height allow, in the shape of its cells. */
function fit(canvas) {
  canvas.parentElement.style.maxWidth = `${Math.round((400 * canvas.width) / canvas.height)}px`;
}

function outline(pen, x, y, w, h) {
  pen.lineWidth = 4;
  pen.strokeStyle = "rgb(0 0 0 / 75%)";
  pen.strokeRect(x, y, w, h);
  pen.lineWidth = 2;
  pen.strokeStyle = "#ffd84d";
  pen.strokeRect(x, y, w, h);
}

/** The numbers themselves, where the cells are large enough to hold them. */
function label({ pen, w, h }, rows, columns, valueAt, colourAt) {
  const [cellY, cellX] = [h / rows, w / columns];
  if (Math.min(cellX, cellY) < 2 * LEGIBLE) return;
  const values = Array.from({ length: rows * columns }, (_, i) => valueAt(Math.floor(i / columns), i % columns));
  const spell = speller(values.filter((value) => value !== null));
  const longest = Math.max(...values.map((value) => (value === null ? 0 : spell(value).length)));
  const letters = Math.min(14, (1.45 * cellX) / longest);
  if (letters < LEGIBLE) return;
  pen.font = `${letters}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  values.forEach((value, i) => {
    if (value === null) return;
    pen.fillStyle = readable(colourAt(value));
    pen.fillText(spell(value), ((i % columns) + 0.5) * cellX, (Math.floor(i / columns) + 0.5) * cellY);
  });
}

function inputAt(row, column) {
  const [y, x] = [row - state.how.padding[0], column - state.how.padding[1]];
  if (y < 0 || x < 0 || y >= height || x >= width) return null;
  return input.values[(state.channel * height + y) * width + x];
}

function mapAt(row, column) {
  const index = row * map.shape[2] + column;
  return index > state.shown ? null : map.values[index];
}

const inputOrPad = (value) => (value === null ? colours.pad : inputColour(value));
const mapOrPad = (value) => (value === null ? colours.pad : mapColour(value));

function markPlanes() {
  const { how, at } = state;
  const onInput = fresh($("input-mark"));
  label(onInput, padded(0), padded(1), inputAt, inputColour);
  const [cellY, cellX] = [onInput.h / padded(0), onInput.w / padded(1)];
  const [y, x] = [at[0] * how.stride[0], at[1] * how.stride[1]];
  const side = Math.max(2, cellX * 0.5);
  for (let tap = 0; tap < kernel.shape[1] * kernel.shape[2] && how.dilation[1] > 1; tap++) {
    const i = Math.floor(tap / kernel.shape[2]) * how.dilation[0] + 0.5;
    const j = (tap % kernel.shape[2]) * how.dilation[1] + 0.5;
    outline(onInput.pen, (x + j) * cellX - side / 2, (y + i) * cellY - side / 2, side, side);
  }
  outline(onInput.pen, x * cellX, y * cellY, reach(kernel, how, 1) * cellX, reach(kernel, how, 0) * cellY);
  const onMap = fresh($("map-mark"));
  label(onMap, map.shape[1], map.shape[2], mapAt, mapColour);
  const [stepY, stepX] = [onMap.h / map.shape[1], onMap.w / map.shape[2]];
  const grow = Math.max(0, (6 - stepX) / 2); // a cell of two pixels would not be found
  outline(onMap.pen, at[1] * stepX - grow, at[0] * stepY - grow, stepX + 2 * grow, stepY + 2 * grow);
}

// ---- lines: sounds and signals

function range(values) {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low === high ? [-1, 1] : [low - 0.06 * (high - low), high + 0.06 * (high - low)];
}

/** The number in the input on which the middle of a position's window lies. */
const middle = (i) => i * state.how.stride[1] - state.how.padding[1] + (reach(kernel, state.how, 1) - 1) / 2;

function chart(canvas, values, placeOf, from, to, options) {
  const { pen, w, h } = fresh(canvas);
  const [low, high] = range(options.all ?? values);
  const x = (place) => ((place - from + 0.5) / (to - from + 1)) * w;
  const y = (value) => h - ((value - low) / (high - low)) * h;
  const start = state.at[1] * state.how.stride[1] - state.how.padding[1];
  pen.fillStyle = "rgb(255 200 60 / 30%)";
  const half = Math.max(1.5, x(start + reach(kernel, state.how, 1) / 2) - x(start));
  pen.fillRect(x(middle(state.at[1])) - half, 0, 2 * half, h);
  pen.strokeStyle = css(colours.pad);
  pen.strokeRect(0, y(0), w, 0);
  pen.strokeStyle = css(colours.ink);
  pen.lineWidth = 1.2;
  pen.beginPath();
  const last = Math.min(values.length - 1, options.last ?? Infinity);
  for (let i = options.first ?? 0; i <= last; i++) pen.lineTo(x(placeOf(i)), y(values[i]));
  pen.stroke();
  const spell = speller([low, high]);
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 4;
  pen.strokeStyle = css(colours.page);
  pen.fillStyle = css(colours.quiet);
  for (const [text, at] of [[spell(high), 15], [spell(low), h - 7]]) {
    pen.strokeText(text, 7, at);
    pen.fillText(text, 7, at);
  }
  return { pen, x, y, h };
}

function drawLines() {
  const row = input.values.subarray(state.channel * width, (state.channel + 1) * width);
  const [from, to] = [-state.how.padding[1], width - 1 + state.how.padding[1]];
  chart($("input"), row, (i) => i, from, to, {});
  const { pen, x, y } = chart($("map"), map.values, middle, from, to, { last: state.shown });
  pen.fillStyle = css(map.values[state.at[1]] >= 0 ? colours.plus : colours.minus);
  pen.beginPath();
  pen.arc(x(middle(state.at[1])), y(map.values[state.at[1]]), 5, 0, 7);
  pen.fill();
  drawClose(row);
}

function drawClose(row) {
  const span = reach(kernel, state.how, 1);
  const start = state.at[1] * state.how.stride[1] - state.how.padding[1];
  const margin = Math.max(12, span);
  const [from, to] = [start - margin, start + span - 1 + margin];
  const options = { first: Math.max(0, from), last: Math.min(width - 1, to), all: row };
  const { pen, x, y, h } = chart($("close"), row, (i) => i, from, to, options);
  const step = x(1) - x(0);
  const room = 0.8 * Math.max(y(0), h - y(0));
  const weights = laid(kernel, state.how).values.subarray(state.channel * kernel.shape[2]);
  for (let j = 0; j < kernel.shape[2]; j++) {
    const bar = (weights[j] / data.kernelScale) * room;
    pen.fillStyle = css(weights[j] >= 0 ? colours.plus : colours.minus);
    pen.globalAlpha = 0.55;
    pen.fillRect(x(start + j * state.how.dilation[1]) - step * 0.3, y(0) - Math.max(0, bar), step * 0.6, Math.abs(bar));
  }
  pen.globalAlpha = 1;
  pen.fillStyle = css(colours.ink);
  for (let i = options.first; i <= options.last; i++) pen.fillRect(x(i) - 2, y(row[i]) - 2, 4, 4);
}

