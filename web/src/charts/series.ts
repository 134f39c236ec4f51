// A Curve or Bars panel as a list of lines over x: shared by both charts, by their tables and by their common scales.

import { type Arr, type Finding, type Panel, arr, arrange, arrs, axisTitle, extent, labels, names, numeric, row, short, spoken, unit } from "../data";
import { line } from "../colours";

export interface Series { label: string; values: number[]; low?: number[]; high?: number[]; colour: string; dash?: string; twin: boolean; array: Arr }
export interface Plot { series: Series[]; x: string[]; numbers?: number[]; xTitle: string; yTitle: string; unit: string; ordered: boolean }

export const TWIN = "untrained twin";

/** The lines of a panel; `fixed` picks a place in dimensions that the panel does not draw. */
export function plot(panel: Panel, finding: Finding, fixed: Record<string, number> = {}): Plot {
  const x = String(panel.x), by = String(panel.by ?? "");
  const dims = by ? [by, x] : [x];
  const ys = arrs(finding, panel.y).map((a) => arrange(a, a.dims.includes(by) ? dims : [x], fixed));
  const first = ys[0] ?? arr(finding, "");
  const bands = [panel.low, panel.high].map((name) => (names(name).length ? arrange(arr(finding, name), first.dims, fixed) : undefined));
  const lines = by && first.dims.includes(by) ? labels(first, by) : [];
  const many = lines.length || ys.length;
  const series: Series[] = [];
  ys.forEach((a, at) => {
    const rows = a.dims.length === 2 ? labels(a, by) : [""];
    rows.forEach((name, k) => {
      const label = !name ? short(a) : ys.length > 1 ? `${name}, ${short(a)}` : name;
      const colour = lines.length ? line(name ? k : at, many) : line(at, many);
      const own = at === 0;
      series.push({ label, values: row(a, k), low: own && bands[0] ? row(bands[0], k) : undefined, high: own && bands[1] ? row(bands[1], k) : undefined, colour, dash: lines.length && at ? ["6 3", "2 3", "8 3 2 3"][(at - 1) % 3] : undefined, twin: false, array: a });
    });
  });
  const nulls = arrs(finding, panel.null);
  const several = nulls.length > 1 && nulls.length !== ys.length; // baselines of the same values, each with a look of its own
  for (const [at, raw] of nulls.entries()) {
    const a = arrange(raw, raw.dims.includes(by) ? dims : [x], fixed);
    const named = a.title && !ys.some((y) => y.title === a.title) ? a.title : TWIN;
    const rows = a.dims.length === 2 ? labels(a, by) : [""];
    rows.forEach((name, k) => series.push({ label: name ? `${named}: ${name}` : named, values: row(a, k), colour: "var(--twin)", dash: several && at ? ["1 3.5", "8 3 2 3"][(at - 1) % 2] : "5 4", twin: true, array: a }));
  }
  const units = new Set(ys.map((a) => a.unit));
  const yTitle = ys.length === 1 ? axisTitle(first) : units.size === 1 ? unit(first) : "";
  return { series, x: labels(first, x), numbers: numeric(first, x), xTitle: spoken(x), yTitle, unit: units.size === 1 ? first.unit : "1", ordered: lines.length > 8 || series.filter((s) => !s.twin).length > 8 };
}

/** Smallest and largest of all that a panel draws on y. */
export function reach(p: Plot): [number, number] {
  return p.series.flatMap((s) => [s.values, s.low ?? [], s.high ?? []]).reduce<[number, number]>((so, v) => extent(v, so), [Infinity, -Infinity]);
}
