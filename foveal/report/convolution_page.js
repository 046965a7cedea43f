// The sums in numbers, and what answers to pointer, keys and controls.

const MOST_ROWS = 7, MOST_IN_LINE = 24, MOST_TERMS = 25, MOST_CHANNELS = 8, FAST_SECONDS = 8;
let playing = 0;

// ---- the arithmetic

function table(values, rows, columns, colour, spell) {
  const body = element("tbody");
  for (let r = 0; r < rows; r++) {
    const line = body.appendChild(element("tr"));
    for (let c = 0; c < columns; c++) line.appendChild(cell(values[r * columns + c], colour, spell));
  }
  const made = element("table", undefined, "cells num");
  made.append(body);
  return made;
}

function cell(value, colour, spell) {
  const made = element("td", spell(value));
  const rgb = colour(value);
  made.style.backgroundColor = css(rgb);
  made.style.color = readable(rgb);
  return made;
}

/** One channel's numbers as a table, or as colours alone where there are too many to read. */
function block(values, colour, spell) {
  const [, rows, columns] = kernel.shape;
  const few = rows <= MOST_ROWS && columns <= (data.line ? MOST_IN_LINE : MOST_ROWS);
  if (few) return table(values, rows, columns, colour, spell);
  const canvas = element("canvas", undefined, data.line ? "strip" : "patch");
  paint(canvas, rows, columns, (r, c) => colour(values[r * columns + c]));
  return canvas;
}

function titled(title, content, sign) {
  const made = element("figure", undefined, "factor");
  made.append(element("figcaption", title), content);
  made.dataset.sign = sign;
  return made;
}

function ofChannel(values) {
  const area = kernel.shape[1] * kernel.shape[2];
  return values.subarray(state.channel * area, (state.channel + 1) * area);
}

function showArithmetic() {
  const all = arithmetic(input, kernel, state.how, data.bias, ...state.at);
  const [window, weights, products] = [all.window, all.weights, all.products].map(ofChannel);
  const spell = speller([...products, all.sums[state.channel]]);
  $("tables").replaceChildren(
    titled("window", block(window, inputColour, speller(window)), ""),
    titled("kernel", block(weights, kernelColour, speller(ofChannel(kernel.values))), "×"),
    titled("products", block(products, productColour, spell), "="));
  const terms = products.length <= MOST_TERMS ? joined(products, spell) : `all ${products.length} products`;
  const sum = $("sum");
  sum.replaceChildren(element("span", channels > 1 ? `sum of channel ${data.first + state.channel}` : "sum", "sum-name"));
  sum.append(element("span", products.length > 1 ? `${terms} = ` : ""));
  sum.append(result(channels > 1 ? all.sums[state.channel] : all.total - data.bias, spell));
  if (channels > 1) showChannels(all);
  else {
    if (data.bias) sum.append(`; with the bias ${spell(data.bias)}: `, result(all.total, spell));
    sum.append(element("span", `the map's value at ${where()}`, "sum-name"));
  }
  $("place").textContent = `${where()} of ${size(map.shape)}${state.held ? ", held" : ""}`;
}

const where = () => (data.line ? `position ${state.at[1]}` : `row ${state.at[0]}, column ${state.at[1]}`);
const size = ([, rows, columns]) => (data.line ? columns.toLocaleString("en") : `${rows} × ${columns}`);

function result(value, spell) {
  return element("b", spell(value), value > 0 ? "for" : value < 0 ? "against" : "");
}

/** "3 + 4 − 5" */
function joined(values, spell) {
  return Array.from(values, (value, i) => {
    const text = spell(value);
    if (i === 0) return text;
    return text.startsWith("−") ? ` − ${text.slice(1)}` : ` + ${text}`;
  }).join("");
}

/** The sums of all channels: the largest ones each, the others in one line, and the total. */
function showChannels(all) {
  const spell = speller([...all.sums, all.total]);
  const first = strongest(all.sums, MOST_CHANNELS);
  const scale = Math.abs(all.sums[first[0]]) || 1;
  const rest = all.sums.reduce((sum, value, i) => (first.includes(i) ? sum : sum + value), 0);
  const rows = first.map((channel) => {
    const row = element("button", undefined, "channel");
    row.type = "button";
    row.setAttribute("aria-pressed", String(channel === state.channel));
    const bar = element("span", undefined, all.sums[channel] > 0 ? "bar plus" : "bar minus");
    bar.style.width = `${(50 * Math.abs(all.sums[channel])) / scale}%`;
    const track = element("span", undefined, "track");
    track.append(bar);
    row.append(element("span", `channel ${data.first + channel}`), track, result(all.sums[channel], spell));
    row.addEventListener("click", () => chooseChannel(channel));
    return row;
  });
  const others = channels - first.length;
  if (others) rows.push(total(`the other ${others} together`, rest, spell, "quiet"));
  if (data.bias) rows.push(total("bias", data.bias, spell, "quiet"));
  rows.push(total(`all ${channels} channels: the map's value`, all.total, spell, "last"));
  const title = others
    ? `The ${first.length} channels with the largest sums here; choose one to see its products`
    : "Each channel's sum, the largest first; choose one to see its products";
  $("channels").replaceChildren(element("p", title, "small quiet"), ...rows);
}

function total(name, value, spell, className) {
  const row = element("p", undefined, `total ${className}`);
  row.append(element("span", name), result(value, spell));
  return row;
}

// ---- what changes what

function drawKernel() {
  const weights = ofChannel(laid(kernel, state.how).values);
  $("kernel").replaceChildren(block(weights, kernelColour, speller(weights)));
}

function drawLegend(id, colour, asGrey, scale, cut) {
  const canvas = element("canvas");
  const low = asGrey ? 0 : -scale;
  paint(canvas, 1, 101, (_, column) => colour(low + ((scale - low) * column) / 100));
  const marks = element("p", undefined, "marks num");
  const names = [cut ? `≤ ${low}` : `${low}`, asGrey ? "" : "0", cut ? `≥ ${scale}` : `${scale}`];
  marks.append(...names.map((name) => element("span", name.replace("-", "−"))));
  $(id).replaceChildren(canvas, marks);
}

function drawLegends() {
  if (data.line) return;
  drawLegend("input-legend", inputColour, data.grey, data.inputScale, !data.grey);
  drawLegend("map-legend", mapColour, data.greyMap, data.mapScale, true);
}

function describe() {
  const plural = channels > 1 ? `${channels} × ` : "";
  const full = state.how.padding[1] ? `, padded to ${size([0, padded(0), padded(1)])}` : "";
  $("input-size").textContent = plural + size(input.shape) + full;
  $("kernel-size").textContent = plural + size(kernel.shape) + (state.how.flip ? ", flipped" : "");
  $("map-size").textContent = size(map.shape);
  const names = data.line ? [["", 1]] : [["rows: ", 0], ["columns: ", 1]];
  $("formula").textContent = names.map(([name, axis]) => {
    const { stride, padding, dilation } = state.how;
    const [n, k] = [input.shape[axis + 1], kernel.shape[axis + 1]];
    const room = `(${n} + 2·${padding[axis]} − ${dilation[axis]}·(${k} − 1) − 1)`;
    return `${name}⌊${room} / ${stride[axis]}⌋ + 1 = ${map.shape[axis + 1]}`;
  }).join("     ");
  for (const name of ["stride", "padding", "dilation"]) {
    const [down, across] = state.how[name];
    $(name).value = data.line || down === across ? across : `${down} × ${across}`;
  }
  $("flip").checked = state.how.flip;
  $("where").max = map.values.length - 1;
}

function drawAll() {
  describe();
  drawKernel();
  drawLegends();
  if (!data.line) {
    drawInput();
    drawMap();
  }
  point();
}

/** After the position changed. */
function point() {
  $("where").value = state.at[0] * map.shape[2] + state.at[1];
  if (data.line) drawLines();
  else markPlanes();
  showArithmetic();
}

function moveTo(row, column) {
  const inside = (value, most) => Math.max(0, Math.min(most - 1, value));
  state.at = [inside(row, map.shape[1]), inside(column, map.shape[2])];
  if (state.shown !== Infinity && !playing) {
    state.shown = Infinity;
    if (!data.line) drawMap();
  }
  point();
}

function chooseChannel(channel) {
  state.channel = channel;
  $("channel").value = channel;
  drawAll();
}

function setHow(change) {
  const how = { ...state.how, ...change };
  const found = convolve(input, kernel, how, data.bias);
  $("problem").hidden = found !== null;
  if (found === null) {
    const reaches = data.line ? reach(kernel, how, 1) : `${reach(kernel, how, 0)} × ${reach(kernel, how, 1)}`;
    $("problem").textContent = `The kernel would reach over ${reaches}: more than the padded input has.`;
    describe();
    return;
  }
  stop();
  state.shown = Infinity;
  // The window stays where it was on the input, as nearly as the new steps allow.
  const near = (axis) => Math.round(
    (state.at[axis] * state.how.stride[axis] - state.how.padding[axis] + how.padding[axis]) / how.stride[axis]);
  const at = [near(0), near(1)];
  Object.assign(state, { how });
  map = found;
  state.at = at.map((value, axis) => Math.max(0, Math.min(map.shape[axis + 1] - 1, value)));
  drawAll();
}

/** One number of a stepper for both axes; a line has nothing to step down. */
function setNumber(name, wanted) {
  const field = $(name);
  const value = Math.max(Number(field.dataset.least), Math.min(Number(field.dataset.most), Math.round(wanted)));
  if (Number.isNaN(value)) describe();
  else setHow({ [name]: data.line ? [data.how[name][0], value] : [value, value] });
}

// ---- playing

function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  $("play").textContent = "Play";
}

function play() {
  const last = map.values.length - 1;
  const rate = Number($("speed").value) || last / FAST_SECONDS;
  if (state.shown === Infinity || state.shown >= last) state.shown = -1;
  let index = Math.max(0, state.shown);
  let begun = null;
  const step = (now) => {
    begun ??= now - (1000 * index) / rate;
    const due = Math.min(last, Math.floor(((now - begun) * rate) / 1000));
    if (due !== state.shown) {
      index = due;
      state.shown = due;
      state.at = [Math.floor(due / map.shape[2]), due % map.shape[2]];
      if (!data.line) drawMap();
      point();
    }
    if (due < last) playing = requestAnimationFrame(step);
    else stop();
  };
  state.held = false;
  $("play").textContent = "Pause";
  playing = requestAnimationFrame(step);
}

// ---- pointer, keys, controls

function positionUnder(event, onMap) {
  const box = event.currentTarget.getBoundingClientRect();
  const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  const along = (axis) => {
    if (onMap && !data.line) return Math.floor(share[axis] * map.shape[axis + 1]);
    const place = share[axis] * padded(axis) - reach(kernel, state.how, axis) / 2;
    return Math.round(place / state.how.stride[axis]);
  };
  return data.line ? [0, along(1)] : [along(0), along(1)];
}

function listen(canvas, onMap) {
  canvas.addEventListener("pointermove", (event) => {
    if (!state.held && !playing) moveTo(...positionUnder(event, onMap));
  });
  canvas.addEventListener("pointerdown", (event) => {
    stop();
    state.held = event.pointerType === "mouse" && !state.held;
    moveTo(...positionUnder(event, onMap));
  });
}

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function pressed(event) {
  const move = KEYS[event.key];
  if (move) {
    stop();
    moveTo(state.at[0] + move[0], state.at[1] + move[1]);
  } else if (event.key === " ") {
    $("play").click();
  } else return;
  event.preventDefault();
}

function selfCheck() {
  const expected = unpack(data.map).values;
  const worst = difference(map.values, expected);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const passed = worst <= 1e-9 * largest;
  const text = `largest difference ${worst === 0 ? "0" : worst.toExponential(1).replace("-", "−")}`;
  $("check").dataset.passed = passed;
  $("check").textContent = passed
    ? `✓ Checked: this page's own sums against foveal's in Python, ${expected.length.toLocaleString("en")} values, ${text}.`
    : `✗ This page's own sums differ from foveal's in Python: ${text}. Do not trust them.`;
}

/** Mark the cell under the pointer in window, kernel and products alike. */
function markCells(event) {
  const hovered = event.type === "pointerover" && event.target.closest("td");
  const tables = [...$("tables").querySelectorAll("table")];
  const cellsOf = (made) => [...made.querySelectorAll("td")];
  const index = hovered ? cellsOf(hovered.closest("table")).indexOf(hovered) : -1;
  for (const made of tables) cellsOf(made).forEach((one, i) => one.classList.toggle("same", i === index));
}

function begin() {
  for (let channel = 0; channel < channels && channels > 1; channel++) {
    const option = element("option", `${data.first + channel}`);
    option.value = channel;
    $("channel").append(option);
  }
  if (channels > 1) {
    const all = arithmetic(input, kernel, state.how, data.bias, ...state.at);
    state.channel = strongest(all.sums, 1)[0];
    $("channel").value = state.channel;
    $("channel").addEventListener("change", (event) => chooseChannel(Number(event.target.value)));
  }
  for (const button of document.querySelectorAll("[data-step]")) {
    const { step, by } = button.dataset;
    button.addEventListener("click", () => setNumber(step, state.how[step][1] + Number(by)));
  }
  for (const name of ["stride", "padding", "dilation"]) {
    $(name).addEventListener("change", (event) => setNumber(name, parseFloat(event.target.value)));
  }
  $("flip").addEventListener("change", (event) => setHow({ flip: event.target.checked }));
  $("reset").addEventListener("click", () => setHow(structuredClone(data.how)));
  $("play").addEventListener("click", () => (playing ? stop() : play()));
  $("where").addEventListener("input", (event) => {
    stop();
    const index = Number(event.target.value);
    moveTo(Math.floor(index / map.shape[2]), index % map.shape[2]);
  });
  $("tables").addEventListener("pointerover", markCells);
  $("tables").addEventListener("pointerleave", markCells);
  listen($("input-mark"), false);
  listen($("map-mark"), true);
  $("map-mark").addEventListener("keydown", pressed);
  window.addEventListener("resize", point);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colours = theme();
    drawAll();
  });
  drawAll();
  selfCheck();
}

begin();
