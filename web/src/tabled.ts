// Every panel as a plain table: for readers who hear the page, for printing, and for the CSV.

import { type Coord, type Finding, type Panel, arr, arrange, arrs, cell, count, labels, length, short, spoken } from "./data";
import { groupOf } from "./charts/grid";
import { smalls } from "./charts/hist";
import { points } from "./charts/scatter";
import { TWIN, plot } from "./charts/series";

/** A column; `unit` as the array has it. */
export interface Column { title: string; unit?: string; number: boolean }
export interface Tabled { columns: Column[]; rows: Coord[][] }
type Fixed = Record<string, number>;

const gap = (v: number): Coord => (Number.isFinite(v) ? v : null);
const text = (title: string): Column => ({ title, number: false });
const digits = (title: string, u = ""): Column => ({ title, unit: u, number: true });

/** The unit of a column; where each column has its own, it stands in brackets at the end of the title. */
function unitOf(title: string, unit: string): { title: string; unit: string } {
  const own = unit === "see criterion" ? /^(.+) \(([^()]+)\)$/.exec(title) : null;
  return own ? { title: own[1], unit: own[2] } : { title, unit };
}

function table(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const dim = String(panel.rows);
  const columns: Column[] = [text(spoken(dim))];
  const cells: Coord[][] = [];
  let names: string[] = [];
  const shown = arrs(f, panel.columns);
  const over = shown.map((a) => a.dims.find((d) => d !== dim));
  for (const [k, raw] of shown.entries()) {
    const other = over[k];
    const lead = other && over.filter((d) => d === other).length > 1 ? `${short(raw)}, ` : ""; // which of several arrays over one dimension
    const a = arrange(raw, other ? [other, dim] : [dim], fixed);
    if (!names.length || a.coords[dim]?.length) names = labels(a, dim);
    const n = length(a, dim);
    (other ? labels(a, other).map((name) => lead + name) : [short(a)]).forEach((title, c) => {
      columns.push({ ...unitOf(title, a.unit), number: !a.text && a.dtype !== "bool" });
      cells.push(Array.from({ length: n }, (_, k) => cell(a, c * n + k)));
    });
  }
  return { columns, rows: names.map((name, k) => [name, ...cells.map((column) => column[k] ?? null)]) };
}

function lines(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const p = plot(panel, f, fixed);
  const interval = p.series[0]?.low && p.series[0]?.high;
  const columns = [{ title: p.xTitle, number: Boolean(p.numbers) }, ...p.series.flatMap((s) => [digits(s.label, s.array.unit), ...(interval && s.low ? [digits(`${s.label}, low`, s.array.unit), digits(`${s.label}, high`, s.array.unit)] : [])])];
  return { columns, rows: p.x.map((name, k) => [p.numbers ? p.numbers[k] : name, ...p.series.flatMap((s) => [gap(s.values[k]), ...(interval && s.low && s.high ? [gap(s.low[k]), gap(s.high[k])] : [])])]) };
}

function matrix(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const raw = arr(f, panel.z);
  const a = arrange(raw, raw.dims.slice(0, 2), fixed);
  const over = labels(a, a.dims[1] ?? "");
  return { columns: [text(spoken(a.dims[0] ?? "")), ...over.map((name) => digits(name, a.unit))], rows: labels(a, a.dims[0] ?? "").map((name, r) => [name, ...over.map((_, c) => cell(a, r * over.length + c))]) };
}

function densities(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const all = smalls(panel, f, fixed), twin = all.some((s) => s.twin);
  const columns = [text(spoken(String(panel.by || "layer"))), digits("value", arr(f, panel.value).unit), digits("density"), ...(twin ? [digits(`${TWIN}: value`), digits(`${TWIN}: density`)] : [])];
  return { columns, rows: all.flatMap((s) => s.value.map((v, k) => [s.name, gap(v), gap(s.density[k]), ...(twin ? [gap(s.twinValue?.[k] ?? NaN), gap(s.twin?.[k] ?? NaN)] : [])])) };
}

function scattered(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const list = points(panel, f, fixed);
  const [x, y] = [arr(f, panel.x), arr(f, panel.y)];
  const [grouped, fronted, interval] = [list.some((p) => p.group), list.some((p) => p.front), list.some((p) => Number.isFinite(p.low))];
  const columns = [text(spoken(x.dims[0] ?? "")), digits(short(x), x.unit), digits(short(y), y.unit), ...(interval ? [digits("low", y.unit), digits("high", y.unit)] : []), ...(grouped ? [text("group")] : []), ...(fronted ? [text("Pareto front")] : [])];
  return { columns, rows: list.map((p) => [p.name, gap(p.x), gap(p.y), ...(interval ? [gap(p.low), gap(p.high)] : []), ...(grouped ? [p.group] : []), ...(fronted ? [p.front] : [])]) };
}

/** Tiles as smallest, mean and largest value, with the group that each is in. */
function tiles(panel: Panel, f: Finding, fixed: Fixed): Tabled {
  const raw = arr(f, panel.kind === "Overlay" ? panel.heat : panel.z);
  const outer = raw.dims.filter((d) => !["row", "col", "rgb"].includes(d));
  const a = arrange(raw, [...outer, ...raw.dims.filter((d) => !outer.includes(d))]);
  const n = outer.reduce((p, d) => p * length(a, d), 1), size = n ? count(a) / n : 0;
  const named = outer.map((d) => labels(a, d));
  const group = panel.kind === "Grid" && outer.length === 1 ? groupOf(panel, f, fixed) : null;
  const rows = Array.from({ length: n }, (_, k): Coord[] => {
    let rest = k;
    const place = outer.map((_, d) => { const inner = outer.slice(d + 1).reduce((p, o) => p * length(a, o), 1); const at = Math.floor(rest / inner); rest %= inner; return named[d][at]; });
    let [low, high, sum, good] = [Infinity, -Infinity, 0, 0];
    for (let i = k * size; i < (k + 1) * size; i++) { const v = a.values[i]; if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); sum += v; good++; } }
    return [...place, ...(group ? [group[k] + 1] : []), ...(good ? [low, sum / good, high] : [null, null, null])];
  });
  return { columns: [...outer.map((d) => text(spoken(d))), ...(group ? [digits("group")] : []), digits("smallest", a.unit), digits("mean", a.unit), digits("largest", a.unit)], rows };
}

export function tabled(panel: Panel, f: Finding, fixed: Fixed = {}): Tabled {
  switch (panel.kind) {
    case "Table": return table(panel, f, fixed);
    case "Curve": case "Bars": return lines(panel, f, fixed);
    case "Heat": return matrix(panel, f, fixed);
    case "Hist": return densities(panel, f, fixed);
    case "Scatter": return scattered(panel, f, fixed);
    default: return tiles(panel, f, fixed);
  }
}

/** Dimensions of the drawn arrays that the panel itself does not lay out, with their names: each needs a choice. */
export function choices(panel: Panel, f: Finding): { dim: string; names: string[] }[] {
  const own: Record<string, string[]> = {
    Curve: [String(panel.x), String(panel.by)], Bars: [String(panel.x), String(panel.by)], Grid: [String(panel.across), String(panel.down), "row", "col", "rgb"],
    Overlay: ["image", String(panel.across), String(panel.slide), "row", "col"], Scatter: [], Hist: [], Table: [], Heat: [],
  };
  const main = arr(f, panel.kind === "Grid" || panel.kind === "Heat" ? panel.z : panel.kind === "Overlay" ? panel.heat : panel.kind === "Hist" ? panel.density : panel.kind === "Table" ? panel.columns : panel.y);
  const drawn = panel.kind === "Heat" ? main.dims.slice(0, 2)
    : panel.kind === "Hist" ? [String(panel.by || "layer"), main.dims.filter((d) => d !== (panel.by || "layer")).pop() ?? ""]
    : panel.kind === "Scatter" ? main.dims.slice(0, 1)
    : panel.kind === "Table" ? [String(panel.rows), main.dims.find((d) => d !== panel.rows) ?? ""] : own[panel.kind];
  return main.dims.filter((d) => !drawn.includes(d) && length(main, d) > 1).map((dim) => ({ dim, names: labels(main, dim) }));
}

