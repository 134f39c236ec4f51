// What the page shows: the bundle written by microtome.report.html, and arrays with named dimensions.

import { isFraction, unitText } from "./format";
import { displayName } from "./networks";

export type Numbers = Uint8Array | Int32Array | Float32Array | Float64Array;
export type Coord = string | number | boolean | null;

export interface Arr {
  name: string;
  dims: string[];
  shape: number[];
  dtype: string;
  unit: string;
  title: string;
  coords: Record<string, Coord[]>;
  values: Numbers;
  text?: string[]; // instead of values
  omitted?: string; // why there are no values
  rounded?: string;
}

export interface Panel {
  kind: "Curve" | "Bars" | "Hist" | "Heat" | "Grid" | "Scatter" | "Table" | "Overlay";
  title: string;
  note: string;
  question: string;
  [field: string]: unknown;
}

export interface Specimen {
  name: string;
  weights?: string;
  trained?: boolean | null;
  family?: string;
  family_reason?: string;
  parameters?: number;
  digest?: string;
  notes?: string[];
}

export interface Origin {
  specimen?: Partial<Specimen>;
  specimens?: string[];
  images?: { name?: string; count?: number; digest?: string };
  options?: Record<string, unknown>;
  facts?: Record<string, unknown>;
  seed?: unknown;
  device?: string;
  dtype?: string;
  microtome?: string;
  torch?: string;
  seconds?: number;
  started?: string | number;
  [other: string]: unknown;
}

/** One quantity that is compared between networks; its texts come from Python and are shown as they are. */
export interface KeyNumber {
  name: string;
  value: number | null;
  unit: string;
  low: number | null;
  high: number | null;
  baseline: number | null;
  baseline_name: string;
  better: "higher" | "lower" | "";
  at: string;
  text: string;
  baseline_text: string;
}

export interface Finding {
  id: string;
  folder: string;
  analysis: string;
  title: string;
  summary: string;
  source: string;
  question: string;
  headline: string;
  key_numbers: KeyNumber[];
  caveats: string[];
  panels: Panel[];
  arrays: Record<string, Arr>;
  origin: Origin;
}

export interface Reason {
  specimen?: string;
  analysis?: string;
  reason: string;
}

export interface Run {
  title?: string;
  answer?: string; // the analysis whose headline answers what the run was made for
  command?: string;
  started?: string | number;
  seconds?: number;
  specimens?: string[];
  images?: { name?: string; count?: number; digest?: string; classes?: string[] | null; skipped?: { path: string; reason: string }[]; skipped_count?: number; notes?: string[] };
  skipped?: Reason[];
  failed?: Reason[];
  notes?: string[];
  versions?: Record<string, string>;
}

export interface Bundle {
  title: string;
  run: Run;
  findings: Finding[];
  damaged: { folder: string; analysis: string; reason: string }[];
  live?: boolean;
  state?: string;
}

const EMPTY = new Float32Array(0);
export const blank = (name: string): Arr => ({
  name, dims: [], shape: [], dtype: "float32", unit: "", title: "", coords: {}, values: EMPTY, omitted: "not in this finding",
});

/** Position of a dimension, or -1. */
export const axis = (a: Arr, dim: string): number => a.dims.indexOf(dim);
export const length = (a: Arr, dim: string): number => { const k = axis(a, dim); return k < 0 ? 1 : a.shape[k]; };
export const count = (a: Arr): number => a.shape.reduce((p, n) => p * n, 1);

/** The value at a flat index: text for text arrays, null for a gap. */
export function cell(a: Arr, at: number): string | number | boolean | null {
  if (a.text) return a.text[at];
  const v = a.values[at];
  if (v === undefined || Number.isNaN(v)) return null;
  return a.dtype === "bool" ? v !== 0 : v;
}

/** The array with its dimensions in the order of `dims`; dimensions it lacks get length 1, others are fixed at `fixed[dim]` or 0. */
export function arrange(a: Arr, dims: string[], fixed: Record<string, number> = {}): Arr {
  const strides = a.shape.map((_, k) => a.shape.slice(k + 1).reduce((p, n) => p * n, 1));
  let start = 0;
  a.dims.forEach((dim, k) => { if (!dims.includes(dim)) start += Math.min(fixed[dim] ?? 0, Math.max(0, a.shape[k] - 1)) * strides[k]; });
  const shape = dims.map((dim) => length(a, dim));
  const step = dims.map((dim) => (axis(a, dim) < 0 ? 0 : strides[axis(a, dim)]));
  const total = shape.reduce((p, n) => p * n, 1);
  if (!a.text && start === 0 && total === a.values.length && dims.length === a.dims.length && dims.every((d, k) => d === a.dims[k])) return a;
  const values = a.text ? EMPTY : new (a.values.constructor as { new (n: number): Numbers })(total);
  const text: string[] | undefined = a.text ? new Array<string>(total) : undefined;
  const at = dims.map(() => 0);
  let from = start;
  for (let n = 0; n < total; n++) {
    if (text) text[n] = a.text![from]; else values[n] = a.values[from];
    for (let k = dims.length - 1; k >= 0; k--) {
      from += step[k];
      if (++at[k] < shape[k]) break;
      from -= step[k] * shape[k];
      at[k] = 0;
    }
  }
  return { ...a, dims, shape, values, text };
}

/** One row of the last dimension of an arranged array, as numbers with NaN for gaps. */
export function row(a: Arr, at: number): number[] {
  const n = a.shape[a.shape.length - 1];
  const out: number[] = [];
  for (let k = 0; k < n; k++) { const v = cell(a, at * n + k); out.push(v === null ? NaN : Number(v)); }
  return out;
}

/** Smallest and largest finite value of many; [Infinity, -Infinity] when there is none. */
export function extent(values: ArrayLike<number>, from: [number, number] = [Infinity, -Infinity]): [number, number] {
  let [low, high] = from;
  for (let k = 0; k < values.length; k++) {
    const v = values[k];
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return [low, high];
}

/** Coordinates of a dimension as text; positions where there are none. */
export function labels(a: Arr, dim: string): string[] {
  const coords = a.coords[dim];
  return Array.from({ length: length(a, dim) }, (_, k) => {
    const c = coords?.[k];
    return c === undefined || c === null ? `${spoken(dim)} ${k}` : displayName(String(c).replace(/ \(1\)$/, ""));
  });
}

/** Coordinates as numbers, or undefined when they are words (or repeat). */
export function numeric(a: Arr, dim: string): number[] | undefined {
  const coords = a.coords[dim];
  if (!coords?.length || !coords.every((c) => typeof c === "number" && Number.isFinite(c))) return undefined;
  const out = coords as number[];
  return new Set(out).size === out.length ? out : undefined;
}

/** A dimension as a word to print. */
export const spoken = (dim: string): string => (dim === "specimen" ? "network" : dim.replace(/_+$/, "").replace(/_/g, " "));
/** A unit to print after a name, or nothing for pure numbers and per cent. */
export const unit = (a: Arr): string => unitText(a.unit);
/** What an axis that shows this array is called. */
export function axisTitle(a: Arr): string {
  const title = a.title || a.name.split("/")[0].replace(/_/g, " ");
  const behind = isFraction(a.unit) && unit(a) ? `% ${unit(a)}` : unit(a);
  return behind && behind !== title ? `${title} (${behind})` : title;
}
export const short = (a: Arr): string => a.title || a.name.replace(/_/g, " ");

/** Names that a panel field holds: one or several. */
export const names = (value: unknown): string[] => (typeof value === "string" ? (value ? [value] : []) : Array.isArray(value) ? value.map(String).filter(Boolean) : []);
export const arr = (f: Finding, value: unknown): Arr => f.arrays[names(value)[0]] ?? blank(names(value)[0] ?? "?");
export const arrs = (f: Finding, value: unknown): Arr[] => names(value).map((n) => f.arrays[n] ?? blank(n));
