// Curve: lines over x, with intervals, gaps, and the untrained twin in dashed grey.

import { useState } from "preact/hooks";
import type { Finding, Panel } from "../data";
import { css, ramp } from "../colours";
import { interval, number, shorten, shortenAll, tick } from "../format";
import { Facts, tip } from "../tip";
import { AxisX, AxisY, Drawing, type Entry, Legend, Names, legend, linear, logarithmic, names, pointer, positive, useWidth, wide } from "./axes";
import { type Plot, type Series, plot, reach } from "./series";

export interface ChartProps { panel: Panel; finding: Finding; fixed: Record<string, number>; range?: [number, number] }

/** Pieces of a path: a gap in the values is a gap in the line; a lone point becomes a dot. */
function pieces(xs: number[], ys: number[]): { path: string; dots: [number, number][] } {
  let path = "";
  const dots: [number, number][] = [];
  const good = (k: number) => Number.isFinite(ys[k]) && Number.isFinite(xs[k]);
  xs.forEach((x, k) => {
    if (!good(k)) return;
    path += `${k > 0 && good(k - 1) ? "L" : "M"}${x.toFixed(1)},${ys[k].toFixed(1)}`;
    if (!(k > 0 && good(k - 1)) && !(k + 1 < xs.length && good(k + 1))) dots.push([x, ys[k]]);
  });
  return { path, dots };
}

function band(xs: number[], low: number[], high: number[]): string {
  const runs: number[][] = [[]];
  xs.forEach((_, k) => { if (Number.isFinite(low[k]) && Number.isFinite(high[k])) runs[runs.length - 1].push(k); else runs.push([]); });
  return runs.filter((run) => run.length).map((run) => {
    const up = run.map((k) => `${xs[k].toFixed(1)},${high[k].toFixed(1)}`);
    const down = [...run].reverse().map((k) => `${xs[k].toFixed(1)},${low[k].toFixed(1)}`);
    return `M${up.join("L")}L${down.join("L")}Z`;
  }).join("");
}

/** What the legend says: every line by name, or for many ordered lines the first and the last with the colours between. */
export function entries(p: Plot, swatch = false): Entry[] {
  const own = p.series.filter((s) => !s.twin), twins = p.series.filter((s) => s.twin);
  const looks = twins.filter((s, k) => twins.findIndex((t) => t.dash === s.dash) === k);
  const twin: Entry[] = looks.map((s) => ({ label: twins.length > looks.length ? s.label.split(":")[0] : s.label, colour: "var(--twin)", dash: s.dash }));
  if (own.length > 8) return [own[0], own[Math.floor(own.length / 2)], own[own.length - 1]].map((s, k) => ({ label: k === 1 ? `… ${s.label} …` : s.label, colour: s.colour, swatch })).concat(twin as never);
  if (own.length === 1 && !twin.length) return [];
  return [...own.map((s) => ({ label: s.label, colour: s.colour, dash: s.dash, swatch })), ...twin];
}

export function Curve({ panel, finding, fixed, range }: ChartProps) {
  const [ref, width] = useWidth();
  const [at, point] = useState(-1);
  const p = plot(panel, finding, fixed);
  const log = String(panel.log ?? "");
  const key = entries(p);
  const top = legend(key, width - 12).height + (p.yTitle ? 20 : 6);
  const span = range ?? reach(p);
  const all = p.series.flatMap((s) => s.values);
  const y0 = log.includes("y") ? logarithmic([Math.max(positive(all), 0), span[1]], 0, 1) : linear(span, 0, 1);
  const left = Math.max(30, ...y0.ticks.map((v) => wide(tick(v, p.unit)) + 14));
  // The last name stands under the end of the axis: half of it needs room at the right.
  const ends = p.numbers ? 0 : wide(shortenAll(p.x).at(-1) ?? "") / 2;
  const flat = !p.numbers && names(p.x, (width - left - 14 - ends) / Math.max(1, p.x.length - 1)).flat;
  const right = width - Math.max(14, flat ? ends + 2 : 0);
  const slanted = p.numbers ? null : names(p.x, (right - left) / Math.max(1, p.x.length - 1));
  const inset = slanted && slanted.overhang > left ? slanted.overhang - left : 0;
  const bottom = top + Math.max(170, Math.min(280, width * 0.42));
  const height = bottom + (slanted ? slanted.height : 22) + 18;
  const ys = log.includes("y") ? logarithmic([Math.max(positive(all), 0), span[1]], bottom, top) : linear(span, bottom, top);
  const xNumbers = p.numbers ?? p.x.map((_, k) => k);
  const xSpan: [number, number] = [Math.min(...xNumbers), Math.max(...xNumbers)];
  const start = left + 6 + inset;
  const xs = log.includes("x") && p.numbers ? logarithmic([positive(xNumbers), xSpan[1]], start, right) : linear(xSpan, start, right, Math.max(3, Math.round(width / 90)), true);
  if (p.numbers && xs.log && p.x.length <= 8) xs.ticks = xNumbers.filter((v) => v > 0); // few measured places: name those
  const places = xNumbers.map(xs.at);
  const drawn = p.series.map((s) => ({ s, ...pieces(places, s.values.map(ys.at)) }));
  const move = (event: MouseEvent) => {
    const [x] = pointer(event);
    let best = -1;
    places.forEach((v, k) => { if (Number.isFinite(v) && (best < 0 || Math.abs(v - x) < Math.abs(places[best] - x))) best = k; });
    point(best);
    if (best >= 0) tip(event, <Facts head={p.numbers ? `${p.xTitle} ${p.x[best]}` : p.x[best]} rows={rowsAt(p.series, best)} />);
  };
  return (
    <div ref={ref}>
      <Drawing width={width} height={height} label={`${panel.title}: lines of ${p.yTitle || "values"} over ${p.xTitle}`} onPointerMove={move} onPointerLeave={() => { point(-1); tip(null); }}>
        <Legend entries={key} left={4} width={width - 12} />
        {p.yTitle ? <text x={4} y={top - 9} class="title">{shorten(p.yTitle, Math.floor(width / 6.4))}</text> : null}
        <AxisY scale={ys} left={left} right={right} unit={p.unit} />
        {p.numbers ? <AxisX scale={xs} bottom={bottom} /> : <Names texts={p.x} place={(k) => places[k]} bottom={bottom} step={(right - start) / Math.max(1, p.x.length - 1)} />}
        <text x={right} y={height - 4} text-anchor="end" class="title">{p.xTitle}</text>
        {p.series.map((s) => s.low && s.high ? <path d={band(places, s.low.map(ys.at), s.high.map(ys.at))} class="band" style={{ fill: s.colour }} /> : null)}
        {at >= 0 ? <line x1={places[at]} x2={places[at]} y1={top} y2={bottom} class="rule" /> : null}
        {drawn.map(({ s, path, dots }) => (
          <g style={{ color: s.colour }}>
            <path d={path} class={s.twin ? "curve twin" : "curve"} style={{ stroke: s.colour }} stroke-dasharray={s.dash} />
            {(dots.length && !s.twin ? dots : []).map(([x, y]) => <circle cx={x} cy={y} r={3} style={{ fill: s.colour }} />)}
            {places.length <= 24 && drawn.length <= 4 && !s.twin ? places.map((x, k) => Number.isFinite(s.values[k]) ? <circle cx={x} cy={ys.at(s.values[k])} r={2.6} style={{ fill: s.colour }} /> : null) : null}
            {at >= 0 && Number.isFinite(s.values[at]) ? <circle cx={places[at]} cy={ys.at(s.values[at])} r={4} class="ring" style={{ fill: s.colour }} /> : null}
          </g>
        ))}
      </Drawing>
    </div>
  );
}

/** Rows of the tooltip: all lines at one x, at most sixteen of them, spread over the order. */
export function rowsAt(series: Series[], at: number): [string, string, string?][] {
  const every = Math.ceil(series.length / 16);
  return series.filter((_, k) => k % every === 0 || k === series.length - 1).map((s) => {
    return [shorten(s.label, 40), number(s.values[at], s.array.unit) + interval(s.low?.[at], s.high?.[at], s.array.unit), s.colour];
  });
}

/** The ramp as a row of small rectangles, for legends of matrices. */
export function RampBar({ kind, x, y, width, height = 8 }: { kind: "sequential" | "diverging"; x: number; y: number; width: number; height?: number }) {
  const n = 48;
  return <g>{Array.from({ length: n }, (_, k) => <rect x={x + (k * width) / n} y={y} width={width / n + 0.6} height={height} fill={css(ramp(kind, k / (n - 1)))} />)}</g>;
}
