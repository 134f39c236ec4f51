// Scatter: named points, intervals, groups by colour, and the Pareto front as a stepped line.

import { type Finding, type Panel, arr, arrange, axisTitle, cell, extent, labels, names as listed, row, short } from "../data";
import { line } from "../colours";
import { interval, shorten, tick, withUnit } from "../format";
import { Facts, tip } from "../tip";
import { AxisX, AxisY, Drawing, type Entry, Legend, type Scale, legend, linear, logarithmic, pointer, positive, useWidth, wide } from "./axes";
import type { ChartProps } from "./curve";

export interface Point { name: string; x: number; y: number; front: boolean; group: string; low: number; high: number }

/** The points of a panel, in the order of their dimension. */
export function points(panel: Panel, finding: Finding, fixed: Record<string, number>): Point[] {
  const x = arr(finding, panel.x);
  const dim = x.dims[0] ?? "";
  const line1 = (field: unknown) => (listed(field).length ? arrange(arr(finding, field), [dim], fixed) : undefined);
  const [xs, ys, front, group, low, high] = [panel.x, panel.y, panel.front, panel.group, panel.low, panel.high].map(line1);
  if (!xs || !ys) return [];
  const [xv, yv] = [row(xs, 0), row(ys, 0)];
  const [l, h] = [low && row(low, 0), high && row(high, 0)];
  return labels(x, dim).map((name, k) => ({ name, x: xv[k], y: yv[k], front: front ? Boolean(cell(front, k)) : false, group: group ? String(cell(group, k) ?? "") : "", low: l ? l[k] : NaN, high: h ? h[k] : NaN }));
}

interface Tag { text: string; x: number; y: number; anchor: "start" | "end" | "middle"; k: number }

/** Names beside points, where they hide neither a point nor each other; the rest are left to the tooltip. */
function tags(list: Point[], sx: Scale, sy: Scale, left: number, right: number, top: number, bottom: number): Tag[] {
  const taken = list.map((p) => [sx.at(p.x) - 6, sy.at(p.y) - 6, sx.at(p.x) + 6, sy.at(p.y) + 6]);
  const out: Tag[] = [];
  list.forEach((p, k) => {
    if (!Number.isFinite(sx.at(p.x)) || !Number.isFinite(sy.at(p.y))) return;
    const text = shorten(p.name, 24), w = wide(text), [x, y] = [sx.at(p.x), sy.at(p.y)];
    const ways: Tag[] = [
      { text, x: x + 12, y: y + 4, anchor: "start", k }, { text, x: x - 12, y: y + 4, anchor: "end", k },
      { text, x, y: y - 12, anchor: "middle", k }, { text, x, y: y + 20, anchor: "middle", k },
      { text, x: x + 7, y: y - 8, anchor: "start", k }, { text, x: x - 7, y: y - 8, anchor: "end", k },
    ];
    for (const way of ways) {
      const a = way.anchor === "start" ? way.x : way.anchor === "end" ? way.x - w : way.x - w / 2;
      const box = [a, way.y - 10, a + w, way.y + 3];
      const free = box[0] >= left - 20 && box[2] <= right + 6 && box[1] >= top - 4 && box[3] <= bottom && taken.every((t, j) => j === k || box[2] < t[0] || box[0] > t[2] || box[3] < t[1] || box[1] > t[3]);
      if (free) { taken.push(box); out.push(way); break; }
    }
  });
  return out;
}

export function Scatter({ panel, finding, fixed }: ChartProps) {
  const [ref, width] = useWidth();
  const list = points(panel, finding, fixed);
  const log = String(panel.log ?? "");
  const groups = [...new Set(list.map((p) => p.group).filter(Boolean))];
  const fronted = list.some((p) => p.front);
  const key: Entry[] = [...groups.map((g, k) => ({ label: g, colour: line(k, groups.length), swatch: true })), ...(fronted ? [{ label: "Pareto front", colour: "var(--accent)", dash: "1 0" }] : [])];
  const ax = arr(finding, panel.x), ay = arr(finding, panel.y);
  const top = legend(key, width - 12).height + 22;
  const bottom = top + Math.max(200, Math.min(340, width * 0.5)), height = bottom + 40;
  const xs = list.map((p) => p.x), ys = list.map((p) => p.y);
  const xr = extent(xs), yr = extent(list.map((p) => p.high), extent(list.map((p) => p.low), extent(ys)));
  const y = log.includes("y") ? logarithmic([positive(ys), yr[1]], bottom, top) : linear(yr, bottom, top);
  const left = Math.max(30, ...y.ticks.map((v) => wide(tick(v, ay.unit)) + 14)), right = width - 16;
  const room = Math.max(3, Math.round(width / 100));
  const x = log.includes("x") ? logarithmic([positive(xs), xr[1]], left + 12, right, room) : linear(xr, left + 12, right, room);
  const front = list.filter((p) => p.front).sort((a, b) => a.x - b.x);
  const path = front.map((p, k) => `${k ? "L" : "M"}${x.at(p.x).toFixed(1)},${y.at(p.y).toFixed(1)}`).join("");
  const colour = (p: Point) => (p.group ? line(groups.indexOf(p.group), groups.length) : fronted && !p.front ? "var(--c7)" : "var(--accent)");
  const move = (event: MouseEvent) => {
    const [px, py] = pointer(event);
    const far = (p: Point) => Math.hypot(x.at(p.x) - px, y.at(p.y) - py);
    const near = list.filter((p) => Number.isFinite(far(p))).sort((a, b) => far(a) - far(b))[0];
    if (!near || far(near) > 40) return tip(null);
    tip(event, <Facts head={near.name} rows={[[short(ax), withUnit(near.x, ax.unit)], [short(ay), withUnit(near.y, ay.unit) + interval(near.low, near.high, ay.unit)], ...(near.group ? [["group", near.group] as [string, string]] : []), ...(fronted ? [["Pareto front", near.front ? "yes" : "no"] as [string, string]] : [])]} />);
  };
  return (
    <div ref={ref}>
      <Drawing width={width} height={height} label={`${panel.title}: ${axisTitle(ay)} against ${axisTitle(ax)}`} onPointerMove={move} onPointerLeave={() => tip(null)}>
        <Legend entries={key} left={4} width={width - 12} />
        <text x={4} y={top - 10} class="title">{shorten(axisTitle(ay), Math.floor(width / 6.4))}</text>
        <AxisY scale={y} left={left} right={right} unit={ay.unit} />
        <AxisX scale={x} bottom={bottom} unit={ax.unit} />
        <text x={right} y={height - 4} text-anchor="end" class="title">{shorten(axisTitle(ax), Math.floor(width / 6.4))}</text>
        {fronted ? <path d={path} class="curve front" /> : null}
        {list.map((p) => Number.isFinite(p.low) && Number.isFinite(p.high) ? <path d={`M${x.at(p.x)},${y.at(p.low)}V${y.at(p.high)}`} class="whisker" /> : null)}
        {front.map((p) => <circle cx={x.at(p.x)} cy={y.at(p.y)} r={8.5} class="halo" />)}
        {list.map((p) => Number.isFinite(x.at(p.x)) && Number.isFinite(y.at(p.y)) ? <circle cx={x.at(p.x)} cy={y.at(p.y)} r={5} class="point" style={{ fill: colour(p) }} /> : null)}
        {tags(list, x, y, left, right, top, bottom).map((t) => <text x={t.x} y={t.y} text-anchor={t.anchor} class={list[t.k].front ? "label tag strong" : "label tag"}>{t.text}</text>)}
      </Drawing>
    </div>
  );
}
