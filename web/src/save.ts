// Downloads made in the browser: figures as SVG and PNG, arrays as .npy and .csv, tables as .csv.

import { type Arr, type Coord, type Finding, type Panel, cell, count, labels } from "./data";
import { shorten, number } from "./format";
import type { Tabled } from "./tabled";
import { type GridLayout, gridLayout, gridRows, nameAt, tileAt } from "./charts/grid";
import { overlayLayout, paint } from "./charts/overlay";
import { canvasOf, range } from "./charts/tiles";

export function save(name: string, content: BlobPart, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const escaped = (v: Coord | undefined): string => {
  if (v === null || v === undefined) return "";
  const text = String(v);
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
};

export const csvOfTable = ({ columns, rows }: Tabled): string =>
  [columns.map((c) => escaped(c.unit && c.unit !== "1" ? `${c.title} (${c.unit})` : c.title)), ...rows.map((r) => r.map(escaped))].map((r) => r.join(",")).join("\n") + "\n";

/** One line for each value: its coordinate along every dimension, then the value. */
export function csvOfArray(a: Arr): string {
  const named = a.dims.map((d) => labels(a, d));
  const lines = [[...a.dims, a.name].map(escaped).join(",")];
  for (let k = 0; k < count(a); k++) {
    let rest = k;
    const place: string[] = [];
    for (let d = a.dims.length - 1; d >= 0; d--) { place.unshift(named[d][rest % a.shape[d]]); rest = Math.floor(rest / a.shape[d]); }
    lines.push([...place, cell(a, k)].map(escaped).join(","));
  }
  return lines.join("\n") + "\n";
}

/** NumPy's own file format, version 1.0 (numpy.lib.format): magic, header padded to 64 bytes, values. */
export function npy(a: Arr): Uint8Array<ArrayBuffer> {
  const kind = a.dtype === "bool" ? "|b1" : a.values instanceof Uint8Array ? "|u1" : a.values instanceof Int32Array ? "<i4" : a.values instanceof Float64Array ? "<f8" : "<f4";
  const shape = a.shape.length === 1 ? `(${a.shape[0]},)` : `(${a.shape.join(", ")})`;
  let header = `{'descr': '${kind}', 'fortran_order': False, 'shape': ${shape}, }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const out = new Uint8Array(10 + header.length + a.values.byteLength);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  for (let k = 0; k < header.length; k++) out[10 + k] = header.charCodeAt(k);
  out.set(new Uint8Array(a.values.buffer, a.values.byteOffset, a.values.byteLength), 10 + header.length);
  return out;
}

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linejoin", "stroke-linecap", "font-family", "font-size", "font-weight", "opacity", "image-rendering", "paint-order"];

/** A chart of the page as an SVG file of its own: light colours, all styles written out. */
export function standalone(drawing: SVGSVGElement): string {
  const root = document.documentElement, theme = root.dataset.theme;
  root.dataset.theme = "light";
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const from = [drawing, ...drawing.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, k) => {
    const style = getComputedStyle(element);
    to[k].setAttribute("style", STYLES.map((p) => `${p}:${style.getPropertyValue(p)}`).filter((s) => !/:(none|auto|normal|1|)$/.test(s) || /^(fill|stroke):none/.test(s)).join(";"));
    to[k].removeAttribute("class");
  });
  const paper = getComputedStyle(root).getPropertyValue("--paper") || "#fff";
  root.dataset.theme = theme ?? "light";
  copy.querySelectorAll(".rule").forEach((rule) => rule.remove());
  const back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", paper.trim()]]) back.setAttribute(name, value);
  copy.prepend(back);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return new XMLSerializer().serializeToString(copy);
}

const xml = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
const words = (x: number, y: number, text: string, anchor = "start"): string => `<text x="${x}" y="${y}" text-anchor="${anchor}" font-family="system-ui, sans-serif" font-size="11" fill="#3b3345">${xml(text)}</text>`;
const wrapped = (width: number, height: number, inside: string): string => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#fff"/>${inside}</svg>`;

/** All tiles of a Grid on one sheet. */
function gridSheet(panel: Panel, finding: Finding, fixed: Record<string, number>): string {
  const layout: GridLayout = gridLayout(panel, finding, fixed);
  const { t, across, down, two, parts } = layout;
  const per = two ? across.length : Math.ceil(Math.sqrt(across.length * 1.6));
  const rows = gridRows(layout, per), lines = rows.length;
  const scale = Math.min(layout.scale, 8000 / (per * (t.cols + 2)), 8000 / (lines * (t.rows + 2)));
  const [w, h] = [t.cols * scale, t.rows * scale];
  const canvas = document.createElement("canvas");
  const side = two || parts ? 130 : 0, step = [w + 6, h + (layout.crowded ? 6 : 20)];
  canvas.width = Math.ceil(per * step[0]);
  canvas.height = Math.ceil(lines * step[1]);
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  pen.imageSmoothingEnabled = scale < 1;
  let text = "";
  rows.forEach((row, line) => {
    for (let k = row.from; k < row.to; k++) {
      const place = k - row.from, tile = tileAt(layout, row, k);
      const empty = range(t, tile).empty && !t.colour;
      if (!empty) pen.drawImage(canvasOf(t, tile, layout.kind, layout.span), place * step[0], line * step[1], w, h);
      if (!layout.crowded) text += words(side + place * step[0] + w / 2, line * step[1] + h + 12, empty ? "empty" : shorten(nameAt(layout, k), Math.max(3, Math.floor(w / 6))), "middle");
    }
    if (side && row.first) text += words(side - 8, line * step[1] + h / 2, row.part ? `${row.part.name}: ${row.part.size}` : shorten(down[row.down], 20), "end");
  });
  return wrapped(side + canvas.width, canvas.height, `<image href="${canvas.toDataURL()}" x="${side}" y="0" width="${canvas.width}" height="${canvas.height}" style="image-rendering:pixelated"/>${text}`);
}

/** All images of an Overlay on one sheet. */
function overlaySheet(panel: Panel, finding: Finding, fixed: Record<string, number>): string {
  const layout = overlayLayout(panel, finding, fixed);
  const w = 160, h = Math.round((160 * layout.base.rows) / layout.base.cols), fine = 2;
  const [columns, lines] = [layout.across.length + 1, layout.images.length];
  const named = layout.over === "method" && layout.methods.length > 0, top = named ? 40 : 24;
  const step = [w + 10, h + 40];
  let inside = ["image", ...layout.across].map((name, k) => words(k * step[0] + w / 2, 14, shorten(name, 24), "middle")).join("");
  if (named) inside += layout.methods.map((one, k) => words((k + 1) * step[0] + w / 2, 30, one.verdict.words, "middle")).join("");
  for (let i = 0; i < lines; i++) for (let k = -1; k < columns - 1; k++) {
    const [x, y] = [(k + 1) * step[0], top + i * step[1]];
    const reach = k >= 0 ? range(layout.heat, i * layout.across.length + k) : { low: 0, high: 0, empty: false };
    if (reach.empty) { inside += words(x + w / 2, y + h / 2, reach.high >= reach.low ? "empty: no evidence" : "no map of this layer", "middle"); continue; }
    const canvas = document.createElement("canvas");
    canvas.width = w * fine;
    canvas.height = h * fine;
    const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
    pen.scale(fine, fine);
    paint(pen, layout, i, k, 0, 0, w, h, 0.75, true);
    inside += `<image href="${canvas.toDataURL()}" x="${x}" y="${y}" width="${w}" height="${h}"/>`;
    inside += words(x + w / 2, y + h + 14, k < 0 ? shorten(layout.images[i], 26) : layout.signed ? `±${number(Math.max(-reach.low, reach.high))}` : `max ${number(reach.high)}`, "middle");
  }
  return wrapped(columns * step[0], top + lines * step[1], inside);
}

/** The figure of a panel as SVG text; `place` holds the drawn chart. */
export function figure(panel: Panel, finding: Finding, fixed: Record<string, number>, place: Element | null): string {
  if (panel.kind === "Grid") return gridSheet(panel, finding, fixed);
  if (panel.kind === "Overlay") return overlaySheet(panel, finding, fixed);
  const drawing = place?.querySelector<SVGSVGElement>("svg.drawing");
  return drawing ? standalone(drawing) : "";
}

/** Draws SVG text as PNG at three times its size (as far as a canvas goes) and saves it. */
export function savePng(name: string, svg: string): void {
  const image = new Image();
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  image.onload = () => {
    const fine = Math.min(3, 12_000 / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth * fine;
    canvas.height = image.naturalHeight * fine;
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => { if (blob) save(name, blob, "image/png"); URL.revokeObjectURL(address); }, "image/png");
  };
  image.src = address;
}
