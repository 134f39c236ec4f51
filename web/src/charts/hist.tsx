// Hist: one small density for each layer (or other dimension), with the untrained twin as an outline.

import { type Arr, type Finding, type Panel, arr, arrange, axisTitle, extent, labels, names as listed, row } from "../data";
import { line } from "../colours";
import { number, shorten, tick, withUnit } from "../format";
import { Facts, tip } from "../tip";
import { Drawing, Legend, legend, linear, pointer, useWidth } from "./axes";
import type { ChartProps } from "./curve";
import { TWIN } from "./series";

export interface Small { name: string; value: number[]; density: number[]; twinValue?: number[]; twin?: number[]; at: number }

const binOf = (a: Arr, by: string): string => a.dims.filter((d) => d !== by).pop() ?? "bin";

/** The densities a panel draws, in order. */
export function smalls(panel: Panel, finding: Finding, fixed: Record<string, number>): Small[] {
  const by = String(panel.by || "layer");
  const raw = arr(finding, panel.density);
  const bin = binOf(raw, by);
  const laid = (field: unknown) => { const a = arr(finding, field); return arrange(a, a.dims.includes(by) ? [by, bin] : [bin], fixed); };
  const density = laid(panel.density), value = laid(panel.value);
  const twin = listed(panel.null).length ? laid(panel.null) : undefined;
  const twinValue = twin ? (listed(panel.null_value).length ? laid(panel.null_value) : value) : undefined;
  const rowOf = (a: Arr, k: number) => row(a, a.dims.length === 2 ? k : 0);
  const only = listed(panel.only);
  const which = density.dims.length === 2 ? labels(density, by) : [""];
  return which.map((name, k) => ({ name, at: k, value: rowOf(value, k), density: rowOf(density, k), twin: twin && rowOf(twin, k), twinValue: twinValue && rowOf(twinValue, k) }))
    .filter((s) => !only.length || only.includes(s.name));
}

export function Hist({ panel, finding, fixed }: ChartProps) {
  const [ref, width] = useWidth();
  const all = smalls(panel, finding, fixed);
  const density = arr(finding, panel.density), value = arr(finding, panel.value);
  const log = panel.log === "y";
  const across = Math.max(1, Math.min(all.length, Math.floor(width / (all.length > 12 || width < 420 ? 132 : 170))));
  const w = width / across, h = all.length > 12 ? 88 : 112;
  const twin = all.some((s) => s.twin);
  const key = [{ label: shorten(axisTitle(density), 60), colour: "var(--c0)", swatch: true }, ...(twin ? [{ label: TWIN, colour: "var(--twin)", dash: "4 3" }] : [])];
  const top = legend(key, width).height;
  const height = top + Math.ceil(all.length / across) * h + 16;
  const move = (event: MouseEvent) => {
    const [x, y] = pointer(event);
    const k = Math.floor((y - top) / h) * across + Math.floor(x / w);
    const s = all[k];
    if (!s || y < top) return tip(null);
    const [low, high] = extent(s.twinValue ?? [], extent(s.value));
    const v = low + ((x - Math.floor(x / w) * w - 8) / (w - 16)) * (high - low);
    let near = 0;
    s.value.forEach((u, b) => { if (Math.abs(u - v) < Math.abs(s.value[near] - v)) near = b; });
    tip(event, <Facts head={s.name || panel.title} rows={[[value.title || "value", withUnit(s.value[near], value.unit)], ["density", number(s.density[near])], ...(s.twin && s.twinValue ? [[TWIN, number(s.twin[nearest(s.twinValue, s.value[near])])] as [string, string]] : [])]} />);
  };
  return (
    <div ref={ref}>
      <Drawing width={width} height={height} label={`${panel.title}: ${all.length} densities of ${axisTitle(value)}`} onPointerMove={move} onPointerLeave={() => tip(null)}>
        <Legend entries={key} left={4} width={width} />
        {all.map((s, k) => <One key={k} s={s} x={(k % across) * w} y={top + Math.floor(k / across) * h} w={w} h={h} log={log} colour={all.length > 8 ? line(k, all.length) : "var(--c0)"} />)}
        <text x={width - 4} y={height - 4} text-anchor="end" class="title">{axisTitle(value)}</text>
      </Drawing>
    </div>
  );
}

const nearest = (list: number[], v: number): number => list.reduce((best, u, k) => (Math.abs(u - v) < Math.abs(list[best] - v) ? k : best), 0);

function One({ s, x, y, w, h, log, colour }: { s: Small; x: number; y: number; w: number; h: number; log: boolean; colour: string }) {
  const [low, high] = extent(s.twinValue ?? [], extent(s.value));
  const left = 8, right = w - 8, bottom = h - 24, top = 16;
  const sx = linear([low, high], left, right, 2, true);
  const [, peak] = extent(s.twin ?? [], extent(s.density));
  const floor = log ? Math.log10(Math.max(peak, 1e-30)) - 4 : 0;
  const sy = (v: number) => {
    const t = log ? (v > 0 ? (Math.log10(v) - floor) / 4 : 0) : peak > 0 ? v / peak : 0;
    return bottom - Math.max(0, Math.min(1, t)) * (bottom - top);
  };
  const path = (values: number[], heights: number[]) => values.map((v, k) => Number.isFinite(v) && Number.isFinite(heights[k]) ? `${sx.at(v).toFixed(1)},${sy(heights[k]).toFixed(1)}` : "").filter(Boolean);
  const own = path(s.value, s.density);
  const ends: [number, "start" | "middle" | "end"][] = low < 0 && high > 0 ? [[low, "start"], [0, "middle"], [high, "end"]] : [[low, "start"], [high, "end"]];
  return (
    <g transform={`translate(${x.toFixed(1)},${y})`} class="axis">
      <text x={left} y={10} class="label">{shorten(s.name, Math.max(8, Math.floor((w - 16) / 6.6)))}<title>{s.name}</title></text>
      {own.length ? <path d={`M${own[0].split(",")[0]},${bottom}L${own.join("L")}L${own[own.length - 1].split(",")[0]},${bottom}Z`} class="area" style={{ fill: colour, stroke: colour }} /> : <text x={left} y={bottom - 8} class="faint">no values</text>}
      {s.twin && s.twinValue ? <path d={`M${path(s.twinValue, s.twin).join("L")}`} class="curve twin" style={{ stroke: "var(--twin)" }} stroke-dasharray="4 3" /> : null}
      <line x1={left} x2={right} y1={bottom} y2={bottom} class="tick" />
      {low < 0 && high > 0 ? <line x1={sx.at(0)} x2={sx.at(0)} y1={bottom} y2={bottom + 4} class="tick" /> : null}
      {Number.isFinite(low) ? ends.map(([v, anchor]) => v === 0 && Math.min(sx.at(0) - left, right - sx.at(0)) < 38 ? null : <text x={sx.at(v)} y={bottom + 14} text-anchor={anchor}>{tick(Number(v.toPrecision(2)))}</text>) : null}
    </g>
  );
}
