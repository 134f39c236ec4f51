// Bars: upright for a few short names, lying down for many long ones; the untrained twin is a grey tick beside each bar.

import { interval, number, shorten, shortenAll, tick } from "../format";
import { Facts, tip } from "../tip";
import { AxisX, AxisY, Drawing, Legend, Names, type Scale, legend, linear, logarithmic, names, pointer, positive, useWidth, wide } from "./axes";
import { type ChartProps, entries } from "./curve";
import { type Plot, plot, reach } from "./series";

interface Layout { p: Plot; width: number; log: boolean; span: [number, number]; title: string }

const scale = ({ p, log, span }: Layout, a: number, b: number, most: number): Scale => {
  if (log) return logarithmic([Math.max(positive(p.series.flatMap((s) => s.values)) / 1.5, 0), span[1]], a, b);
  const low = Math.min(0, span[0]), high = Math.max(0, span[1]);
  return linear([low, high > low ? high : 1], a, b, most); // bars of nothing but zeros stand on the axis, none below it
};

export function Bars({ panel, finding, fixed, range }: ChartProps) {
  const [ref, width] = useWidth();
  const p = plot(panel, finding, fixed);
  const layout: Layout = { p, width, log: panel.log === "y", span: range ?? reach(p), title: panel.title };
  const groups = p.series.filter((s) => !s.twin).length;
  const longest = Math.max(0, ...p.x.map((t) => wide(shorten(t, 22))));
  const lying = !p.numbers && p.x.length * groups <= 90 && p.x.length > 3 && longest > (width - 60) / p.x.length - 6;
  return <div ref={ref}>{lying ? <Lying {...layout} /> : <Upright {...layout} />}</div>;
}

const rows = (p: Plot, k: number): [string, string, string?][] => p.series.map((s) => {
  return [shorten(s.label, 40), number(s.values[k], s.array.unit) + interval(s.low?.[k], s.high?.[k], s.array.unit), s.colour];
});

function Upright(layout: Layout) {
  const { p, width, title } = layout;
  const key = entries(p, true);
  const top = legend(key, width - 12).height + (p.yTitle ? 20 : 6);
  const left = Math.max(30, ...scale(layout, 0, 1, 5).ticks.map((v) => wide(tick(v, p.unit)) + 14));
  const right = width - 10;
  const step = (right - left) / Math.max(1, p.x.length);
  const under = names(p.x, step);
  const bottom = top + Math.max(160, Math.min(260, width * 0.4));
  const height = bottom + under.height + 18;
  const y = scale(layout, bottom, top, 5);
  const own = p.series.filter((s) => !s.twin), twins = p.series.filter((s) => s.twin);
  const thick = Math.min(46, (step * 0.78) / Math.max(1, own.length));
  const base = layout.log ? bottom : y.at(0);
  const place = (k: number) => left + (k + 0.5) * step;
  const move = (event: MouseEvent) => {
    const k = Math.floor((pointer(event)[0] - left) / step);
    if (k < 0 || k >= p.x.length) return tip(null);
    tip(event, <Facts head={p.x[k]} rows={rows(p, k)} />);
  };
  return (
    <Drawing width={width} height={height} label={`${title}: bars of ${p.yTitle || "values"} over ${p.xTitle}`} onPointerMove={move} onPointerLeave={() => tip(null)}>
      <Legend entries={key} left={4} width={width - 12} />
      {p.yTitle ? <text x={4} y={top - 9} class="title">{shorten(p.yTitle, Math.floor(width / 6.4))}</text> : null}
      <AxisY scale={y} left={left} right={right} unit={p.unit} />
      <Names texts={p.x} place={place} bottom={bottom} step={step} />
      <text x={right} y={height - 4} text-anchor="end" class="title">{p.xTitle}</text>
      {own.map((s, g) => p.x.map((_, k) => {
        const v = s.values[k];
        if (!Number.isFinite(v) || !Number.isFinite(y.at(v))) return null;
        const x = place(k) + (g - own.length / 2) * thick, end = y.at(v);
        return (
          <g>
            <rect x={x + 0.5} y={Math.min(base, end)} width={Math.max(1, thick - 1)} height={Math.max(0.8, Math.abs(base - end))} rx={1.5} style={{ fill: s.colour }} />
            {s.low && s.high && Number.isFinite(s.low[k]) ? <path d={`M${x + thick / 2},${y.at(s.low[k])}V${y.at(s.high[k])}`} class="whisker" /> : null}
          </g>
        );
      }))}
      {twins.map((s, g) => s.values.map((v, k) => {
        if (!Number.isFinite(v) || !Number.isFinite(y.at(v))) return null;
        const many = twins.length === own.length && own.length > 1;
        const x = many ? place(k) + (g - own.length / 2) * thick : place(k) - (own.length / 2) * thick;
        return <line x1={x - 2} x2={x + (many ? thick : thick * own.length) + 2} y1={y.at(v)} y2={y.at(v)} class="twin-tick" stroke-dasharray={s.dash === "5 4" ? undefined : s.dash} />;
      }))}
    </Drawing>
  );
}

function Lying(layout: Layout) {
  const { p, width, title } = layout;
  const key = entries(p, true);
  const top = legend(key, width - 12).height + 4;
  const own = p.series.filter((s) => !s.twin), twins = p.series.filter((s) => s.twin);
  const most = Math.max(10, Math.floor(width / 22));
  const rowNames = shortenAll(p.x, most);
  const left = Math.max(...rowNames.map((t) => wide(t))) + 14;
  const right = width - 56;
  const thick = Math.max(6, Math.min(15, 26 / own.length));
  const step = thick * own.length + 7;
  const bottom = top + step * p.x.length;
  const height = bottom + 22 + 18;
  const x = scale(layout, left, right, Math.max(2, Math.round((right - left) / 80)));
  const base = layout.log ? left : x.at(0);
  const move = (event: MouseEvent) => {
    const k = Math.floor((pointer(event)[1] - top) / step);
    if (k < 0 || k >= p.x.length) return tip(null);
    tip(event, <Facts head={p.x[k]} rows={rows(p, k)} />);
  };
  return (
    <Drawing width={width} height={height} label={`${title}: bars of ${p.yTitle || "values"} over ${p.xTitle}`} onPointerMove={move} onPointerLeave={() => tip(null)}>
      <Legend entries={key} left={4} width={width - 12} />
      <AxisX scale={x} bottom={bottom} top={top} unit={p.unit} />
      {p.x.map((name, k) => <text x={left - 8} y={top + (k + 0.5) * step} dy="0.32em" text-anchor="end" class="label">{rowNames[k]}<title>{name}</title></text>)}
      <text x={right} y={height - 4} text-anchor="end" class="title">{p.yTitle}</text>
      {own.map((s, g) => s.values.map((v, k) => {
        const end = x.at(v), y = top + k * step + 3.5 + g * thick;
        if (!Number.isFinite(v) || !Number.isFinite(end)) return <text x={base + 4} y={y + thick / 2} dy="0.32em" class="faint">–</text>;
        return (
          <g>
            <rect x={Math.min(base, end)} y={y + 0.5} width={Math.max(0.8, Math.abs(end - base))} height={thick - 1} rx={1.5} style={{ fill: s.colour }} />
            {s.low && s.high && Number.isFinite(s.low[k]) ? <path d={`M${x.at(s.low[k])},${y + thick / 2}H${x.at(s.high[k])}`} class="whisker" /> : null}
            {own.length === 1 ? <text x={Math.max(end, base, s.high && Number.isFinite(s.high[k]) ? x.at(s.high[k]) : 0, ...twins.map((t) => x.at(t.values[k])).filter(Number.isFinite)) + 5} y={y + thick / 2} dy="0.34em" class="value">{number(v, p.unit)}</text> : null}
          </g>
        );
      }))}
      {twins.map((s, g) => s.values.map((v, k) => {
        if (!Number.isFinite(v) || !Number.isFinite(x.at(v))) return null;
        const many = twins.length === own.length && own.length > 1;
        const y = top + k * step + 3.5 + (many ? g * thick : 0);
        return <line x1={x.at(v)} x2={x.at(v)} y1={y - 2} y2={y + (many ? thick : thick * own.length) + 2} class="twin-tick" stroke-dasharray={s.dash === "5 4" ? undefined : s.dash} />;
      }))}
    </Drawing>
  );
}
