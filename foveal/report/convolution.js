"use strict";
// The arithmetic of the page: the same sums as foveal.convolve, over arrays of (channels, rows, columns).
// Knows numbers only. `how` is {stride, padding, dilation: [down, across], flip}.

/** {shape, bits, data} as the page embeds it -> {shape, values}. */
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const values = packed.bits === 32 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
  return { shape: packed.shape, values };
}

/** How far the kernel reaches along an axis (0 down, 1 across), from its first cell to its last. */
function reach(kernel, how, axis) {
  return how.dilation[axis] * (kernel.shape[axis + 1] - 1) + 1;
}

/** How many positions there are along an axis; 0 where the kernel does not fit once. */
function positions(input, kernel, how, axis) {
  const room = input.shape[axis + 1] + 2 * how.padding[axis] - reach(kernel, how, axis);
  return room < 0 ? 0 : Math.floor(room / how.stride[axis]) + 1;
}

/** The kernel as it lies on the input: turned around, down and across, where `flip` is set. */
function laid(kernel, how) {
  if (!how.flip) return kernel;
  const [channels, rows, columns] = kernel.shape;
  const area = rows * columns;
  const values = new Float64Array(kernel.values.length);
  for (let i = 0; i < channels * area; i++) {
    const channel = Math.floor(i / area);
    values[i] = kernel.values[channel * area + (area - 1 - (i % area))];
  }
  return { shape: kernel.shape, values };
}

/** The map, {shape: [1, rows, columns], values}; null where the kernel does not fit. */
function convolve(input, kernel, how, bias) {
  const rows = positions(input, kernel, how, 0);
  const columns = positions(input, kernel, how, 1);
  if (!rows || !columns) return null;
  const values = new Float64Array(rows * columns).fill(bias);
  const weights = laid(kernel, how).values;
  const [, height, width] = input.shape;
  const [channels, down, across] = kernel.shape;
  for (let tap = 0; tap < channels * down * across; tap++) {
    const weight = weights[tap];
    const channel = Math.floor(tap / (down * across));
    const fromRow = (Math.floor(tap / across) % down) * how.dilation[0] - how.padding[0];
    const fromColumn = (tap % across) * how.dilation[1] - how.padding[1];
    for (let r = 0; r < rows; r++) {
      const y = r * how.stride[0] + fromRow;
      if (y < 0 || y >= height) continue;
      const start = (channel * height + y) * width;
      for (let c = 0; c < columns; c++) {
        const x = c * how.stride[1] + fromColumn;
        if (x >= 0 && x < width) values[r * columns + c] += weight * input.values[start + x];
      }
    }
  }
  return { shape: [1, rows, columns], values };
}

/**
 * The arithmetic of one position, channel by channel: window, weights and products in the kernel's order, the sum of
 * each channel, and their total with the bias.
 */
function arithmetic(input, kernel, how, bias, row, column) {
  const weights = laid(kernel, how).values;
  const [, height, width] = input.shape;
  const [channels, down, across] = kernel.shape;
  const window = new Float64Array(weights.length);
  const products = new Float64Array(weights.length);
  const sums = new Float64Array(channels);
  for (let tap = 0; tap < weights.length; tap++) {
    const channel = Math.floor(tap / (down * across));
    const y = row * how.stride[0] - how.padding[0] + (Math.floor(tap / across) % down) * how.dilation[0];
    const x = column * how.stride[1] - how.padding[1] + (tap % across) * how.dilation[1];
    if (y >= 0 && y < height && x >= 0 && x < width) window[tap] = input.values[(channel * height + y) * width + x];
    products[tap] = window[tap] * weights[tap];
    sums[channel] += products[tap];
  }
  return { window, weights, products, sums, total: sums.reduce((a, b) => a + b, bias) };
}

/** The largest difference between two arrays; infinite where their lengths differ. */
function difference(a, b) {
  if (a.length !== b.length) return Infinity;
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);
}

/** What writes numbers of this size alike: whole numbers whole, others with four digits in the largest. */
function speller(values) {
  let largest = 0;
  let whole = true;
  for (const value of values) {
    largest = Math.max(largest, Math.abs(value));
    whole = whole && Number.isInteger(value);
  }
  const minus = (text) => text.replace("-", "−");
  const none = (value) => (value === 0 ? "0" : null); // exactly 0: a product with nothing, not a small number
  if (largest >= 1e7 || (largest > 0 && largest < 1e-4)) return (value) => none(value) ?? minus(value.toPrecision(3));
  const digits = largest >= 0.1 ? 3 - Math.max(0, Math.floor(Math.log10(largest))) : 2 - Math.floor(Math.log10(largest));
  const decimals = whole || largest === 0 ? 0 : Math.max(0, digits);
  return (value) => {
    const text = value.toFixed(decimals);
    return none(value) ?? minus(Number(text) === 0 ? text.replace("-", "") : text);
  };
}

/** The numbers of the `most` largest sums in size, largest first. */
function strongest(sums, most) {
  return Array.from(sums.keys()).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]) || a - b).slice(0, most);
}
