// Tiles as pixels: matrices through a colour scale, images as they are, heat maps over images.

import { type Arr, arrange, extent } from "../data";
import { type Ramp, bounds, fraction, table } from "../colours";

const RAMPS = { sequential: table("sequential"), diverging: table("diverging") };

export interface Tiles { a: Arr; rows: number; cols: number; colour: boolean; size: number }

/** An array laid out as tiles: outer dimensions first, then row, col and perhaps rgb. */
export function tiles(raw: Arr, outer: string[], fixed: Record<string, number>): Tiles {
  const colour = raw.dims.includes("rgb");
  const a = arrange(raw, [...outer, "row", "col", ...(colour ? ["rgb"] : [])], fixed);
  const [rows, cols] = [a.shape[outer.length], a.shape[outer.length + 1]];
  return { a, rows, cols, colour, size: rows * cols * (colour ? 3 : 1) };
}

/** Smallest and largest finite value of one tile; `empty` when nothing but zeros and gaps. */
export function range(t: Tiles, at: number): { low: number; high: number; empty: boolean } {
  const [low, high] = extent(t.a.values.subarray(at * t.size, (at + 1) * t.size));
  return { low, high, empty: !(high >= low) || (low === 0 && high === 0) };
}

function blankCanvas(width: number, height: number): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width);
  canvas.height = Math.max(1, height);
  return [canvas, canvas.getContext("2d", { willReadFrequently: false }) as CanvasRenderingContext2D];
}

/** One tile at its own resolution; `span` fixes the colour scale, otherwise the tile has its own. */
export function canvasOf(t: Tiles, at: number, kind: Ramp, span?: [number, number]): HTMLCanvasElement {
  const [canvas, pen] = blankCanvas(t.cols, t.rows);
  const image = pen.createImageData(Math.max(1, t.cols), Math.max(1, t.rows));
  const values = t.a.values, from = at * t.size, n = t.rows * t.cols;
  const found = span ?? (() => { const r = range(t, at); return [r.low, r.high] as [number, number]; })();
  const [low, high] = t.colour ? spanOfColour(t, found, kind) : bounds(kind, found, null, null);
  const colours = RAMPS[kind];
  for (let k = 0; k < n; k++) {
    if (t.colour) {
      for (let c = 0; c < 3; c++) image.data[k * 4 + c] = Math.round(fraction(values[from + k * 3 + c], low, high) * 255);
      image.data[k * 4 + 3] = Number.isNaN(values[from + k * 3]) ? 0 : 255;
    } else {
      const v = values[from + k];
      if (Number.isNaN(v)) continue;
      const p = Math.max(0, Math.min(255, Math.round(fraction(v, low, high) * 255))) * 3;
      image.data[k * 4] = colours[p]; image.data[k * 4 + 1] = colours[p + 1]; image.data[k * 4 + 2] = colours[p + 2]; image.data[k * 4 + 3] = 255;
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

/** Bytes are colours as they are, floats within 0…1 too; other floats are stretched, about mid grey when signed. */
function spanOfColour(t: Tiles, [low, high]: [number, number], kind: Ramp): [number, number] {
  if (t.a.dtype === "uint8") return [0, 255];
  if (low >= 0 && high <= 1 && kind !== "diverging") return [0, 1];
  if (low < 0 || kind === "diverging") { const m = Math.max(Math.abs(low), Math.abs(high)) || 1; return [-m, m]; }
  return [low, high];
}

/** Outer edges of a heat map in its image, as fractions: top, bottom, left, right. */
export type Edges = [number, number, number, number];

/** The value that a fraction of a tile's numbers do not exceed. */
export function quantile(t: Tiles, at: number, fraction: number): number {
  const sorted = t.a.values.slice(at * t.size, (at + 1) * t.size).filter((v) => !Number.isNaN(v)).sort();
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] : NaN;
}

/** One heat map, `width` by `height` pixels: bilinear between the centres of its positions, transparent outside its edges; values above `top` have the last colour. */
export function heatCanvas(t: Tiles, at: number, edges: Edges, width: number, height: number, top = NaN): HTMLCanvasElement {
  const [canvas, pen] = blankCanvas(width, height);
  const image = pen.createImageData(width, height);
  const { low, high } = range(t, at);
  const kind: Ramp = low < 0 ? "diverging" : "sequential";
  const [a, b] = low < 0 ? bounds("diverging", [low, high], null, null) : [0, (top > 0 ? top : high) || 1];
  const colours = RAMPS[kind], values = t.a.values, from = at * t.size;
  const across = mixing(edges[2], edges[3], width, t.cols);
  const down = mixing(edges[0], edges[1], height, t.rows);
  for (let y = 0; y < height; y++) {
    const d = down[y];
    if (!d) continue;
    for (let x = 0; x < width; x++) {
      const c = across[x];
      if (!c) continue;
      let sum = 0, whole = 0;
      for (let corner = 0; corner < 4; corner++) {
        const v = values[from + (corner & 2 ? d.b : d.a) * t.cols + (corner & 1 ? c.b : c.a)];
        const weight = (corner & 2 ? d.w : 1 - d.w) * (corner & 1 ? c.w : 1 - c.w);
        if (!Number.isNaN(v)) { sum += v * weight; whole += weight; }
      }
      if (whole < 0.5) continue;
      const s = Math.max(0, Math.min(1, fraction(sum / whole, a, b)));
      const p = Math.round(s * 255) * 3, o = (y * width + x) * 4;
      const strength = kind === "diverging" ? Math.abs(s - 0.5) * 2 : s;
      image.data[o] = colours[p]; image.data[o + 1] = colours[p + 1]; image.data[o + 2] = colours[p + 2];
      image.data[o + 3] = 255 * (0.1 + 0.9 * Math.sqrt(strength));
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

interface Mix { a: number; b: number; w: number }
/** For each of `pixels`, between which two of `cells` it lies, and how far; null outside the edges. */
function mixing(start: number, end: number, pixels: number, cells: number): (Mix | null)[] {
  return Array.from({ length: pixels }, (_, p) => {
    const across = (p + 0.5) / pixels;
    if (across < start || across > end || end <= start) return null;
    const place = Math.max(0, Math.min(cells - 1, ((across - start) / (end - start)) * cells - 0.5));
    const a = Math.floor(place);
    return { a, b: Math.min(cells - 1, a + 1), w: place - a };
  });
}

/** The value of a heat map under a point of the image (fractions of height and width), as drawn; null outside. */
export function valueAt(t: Tiles, at: number, edges: Edges, down: number, across: number): number | null {
  const r = Math.floor(((down - edges[0]) / (edges[1] - edges[0])) * t.rows), c = Math.floor(((across - edges[2]) / (edges[3] - edges[2])) * t.cols);
  if (r < 0 || c < 0 || r >= t.rows || c >= t.cols) return null;
  const v = t.a.values[at * t.size + r * t.cols + c];
  return Number.isNaN(v) ? null : v;
}

/** Outline of a mask, drawn light over dark so that it shows on any image. */
export function outline(pen: CanvasRenderingContext2D, t: Tiles, at: number, x: number, y: number, width: number, height: number): void {
  const on = (r: number, c: number) => r >= 0 && c >= 0 && r < t.rows && c < t.cols && t.a.values[at * t.size + r * t.cols + c] > 0;
  const [h, w] = [height / t.rows, width / t.cols];
  pen.beginPath();
  for (let r = 0; r <= t.rows; r++) for (let c = 0; c <= t.cols; c++) {
    if (on(r, c) !== on(r - 1, c)) { pen.moveTo(x + c * w, y + r * h); pen.lineTo(x + (c + 1) * w, y + r * h); }
    if (on(r, c) !== on(r, c - 1)) { pen.moveTo(x + c * w, y + r * h); pen.lineTo(x + c * w, y + (r + 1) * h); }
  }
  pen.lineCap = "round";
  pen.strokeStyle = "rgba(10,6,20,.75)"; pen.lineWidth = 3; pen.stroke();
  pen.strokeStyle = "#fff"; pen.lineWidth = 1.25; pen.stroke();
}
