// One panel: title, the chart of one network or of several side by side, its table, its downloads.

import type { ComponentChildren, JSX } from "preact";
import { useContext, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Finding, type Panel, arr, extent, labels, length, names, spoken } from "./data";
import { slug } from "./format";
import { csvOfTable, figure, save, savePng } from "./save";
import { DataTable } from "./table";
import { choices, tabled } from "./tabled";
import { Bars } from "./charts/bars";
import { type ChartProps, Curve } from "./charts/curve";
import { Grid, gridLayout, groupings } from "./charts/grid";
import { Heat } from "./charts/heat";
import { Hist } from "./charts/hist";
import { Printing } from "./charts/lines";
import { Overlay } from "./charts/overlay";
import { Scatter } from "./charts/scatter";
import { plot, reach } from "./charts/series";

const CHARTS: Record<string, (props: ChartProps) => JSX.Element> = { Curve, Bars, Hist, Heat, Grid, Scatter, Overlay };
const TALL: Record<string, number> = { Curve: 320, Bars: 300, Hist: 340, Heat: 380, Grid: 420, Scatter: 380, Overlay: 460, Table: 220 };
/** Kinds that need the whole width even when several networks stand side by side. */
const WIDE = new Set(["Grid", "Overlay", "Hist"]);
/** Whether a table is too wide, or has too long texts, to stand beside another figure. */
function broad({ panel, finding }: Shown): boolean {
  const { columns, rows } = tabled(panel, finding);
  const widths = columns.map((c, k) => {
    const head = Math.max(...`${c.title} ${c.unit ?? ""}`.split(/[\s-]+/).map((word) => word.length)) + 2;
    return 22 + 6.8 * Math.max(head, ...rows.map((r) => (typeof r[k] === "string" ? (r[k] as string).length : 6)));
  });
  return widths.reduce((sum, w) => sum + w, 0) > 430;
}

export interface Shown { finding: Finding; panel: Panel; name: string; label: string; untrained: boolean }
/** Whether a figure takes the whole width of a section. */
export function isWide(one: Shown): boolean {
  const { panel, finding } = one;
  switch (panel.kind) {
    case "Table": return broad(one);
    case "Grid": { const { across, two, scale, t, parts } = gridLayout(panel, finding, {}); return Boolean(parts) || (two ? 110 : 0) + (two ? across.length : Math.ceil(across.length / 2)) * (t.cols * scale + 6) > 430; }
    case "Overlay": return length(arr(finding, panel.heat), String(panel.across)) > (panel.across === "method" ? 1 : 2);
    case "Hist": return length(arr(finding, panel.density), String(panel.by || "layer")) > 6;
    default: return false;
  }
}

/** Draws its children only once they come near the screen; printing draws them all. */
function Late({ height, children }: { height: number; children: () => ComponentChildren }) {
  const printing = useContext(Printing);
  const ref = useRef<HTMLDivElement>(null);
  const [near, come] = useState(false);
  useLayoutEffect(() => {
    if (near || !ref.current) return;
    const watcher = new IntersectionObserver((seen) => { if (seen.some((s) => s.isIntersecting)) { come(true); watcher.disconnect(); } }, { rootMargin: "900px 0px" });
    watcher.observe(ref.current);
    return () => watcher.disconnect();
  }, [near]);
  return near || printing ? <>{children()}</> : <div ref={ref} class="late" style={{ minHeight: `${height}px` }} />;
}

/** The common scale of charts that stand side by side; none when it would flatten one of them. */
function common(shown: Shown[]): [number, number] | undefined {
  if (shown.length < 2) return undefined;
  const spans = shown.map(({ panel, finding }): [number, number] =>
    panel.kind === "Curve" || panel.kind === "Bars" ? reach(plot(panel, finding)) : panel.kind === "Heat" ? extent(arr(finding, panel.z).values) : [NaN, NaN]);
  if (spans.some(([a, b]) => !(b >= a))) return undefined;
  const whole: [number, number] = [Math.min(...spans.map((s) => s[0])), Math.max(...spans.map((s) => s[1]))];
  const size = (s: [number, number]) => s[1] - Math.min(0, s[0]);
  return spans.every((s) => size(s) * 12 > size(whole)) ? whole : undefined;
}

interface Marks { marked?: string; mark?: string; badge?: (name: string) => string; bars?: boolean }

export function PanelFigure({ shown, level = 4, bare, lone, ...marks }: { shown: Shown[]; level?: 3 | 4; bare?: boolean; lone?: boolean } & Marks) {
  const first = shown[0].panel;
  const range = useMemo(() => common(shown), [shown.map((s) => s.finding.id + s.panel.title).join()]);
  const several = shown.length > 1;
  const Head = `h${level}` as "h4";
  const side = first.kind === "Table" ? (shown.some(broad) ? "wide" : "tables") : WIDE.has(first.kind) ? "wide" : "";
  const sameTitle = shown.every((s) => s.panel.title === first.title);
  return (
    <figure class={several || isWide(shown[0]) ? "panel whole" : lone ? "panel lone" : "panel"} data-kind={first.kind}>
      <figcaption>
        {bare ? null : <Head>{first.title}</Head>}
        {first.note ? <p class="note">{first.note}</p> : null}
        {range ? <p class="note soft">All networks on the same scale.</p> : null}
      </figcaption>
      <div class={several ? `multiples ${side}` : ""}>
        {shown.map((one) => (
          <div class="multiple" key={one.finding.id}>
            {several ? <p class="who"><span title={one.name}>{one.label}</span>{one.untrained ? <span class="badge">untrained</span> : null}{sameTitle ? null : <span class="soft">{one.panel.title}</span>}</p> : null}
            <Late height={TALL[first.kind]}>{() => <One {...one} range={range} few={several} {...marks} />}</Late>
          </div>
        ))}
      </div>
    </figure>
  );
}

function One({ finding, panel, name, label: shownName, range, few, ...marks }: Shown & Marks & { range?: [number, number]; few: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const printing = useContext(Printing);
  const [asTable, table] = useState(false);
  const offered = useMemo(() => choices(panel, finding), [panel, finding]);
  const groups = useMemo(() => (panel.kind === "Grid" ? groupings(panel, finding) : null), [panel, finding]);
  const slide = panel.kind === "Overlay" ? String(panel.slide ?? "") : "";
  const steps = useMemo(() => (slide && arr(finding, panel.heat).dims.includes(slide) ? labels(arr(finding, panel.heat), slide) : []), [panel, finding]);
  const [fixed, fix] = useState<Record<string, number>>(steps.length ? { [slide]: steps.length - 1 } : {});
  const missing = names(panel[panel.kind === "Table" ? "columns" : panel.kind === "Overlay" ? "heat" : panel.kind === "Hist" ? "density" : panel.kind === "Curve" || panel.kind === "Bars" || panel.kind === "Scatter" ? "y" : "z"]).map((n) => finding.arrays[n]).find((a) => !a || a.omitted);
  if (missing !== undefined) return <p class="gone">Not drawn: the array {missing.name} is {missing.omitted}.</p>;
  const Chart = CHARTS[panel.kind];
  const file = `${slug(name)}_${finding.analysis}_${slug(panel.title)}`;
  const svg = () => figure(panel, finding, fixed, place.current);
  const label = `${panel.title}, ${shownName}`;
  if (panel.kind !== "Table" && !Chart) return <p class="gone">This page does not know the panel kind {panel.kind}; a newer microtome wrote it.</p>;
  return (
    <div ref={place}>
      {offered.map(({ dim, names: list }) => (
        <label class="knobs">{spoken(dim)} <select value={fixed[dim] ?? 0} onChange={(e) => fix({ ...fixed, [dim]: Number(e.currentTarget.value) })}>{list.map((n, k) => <option value={k}>{n}</option>)}</select></label>
      ))}
      {steps.length > 1 ? (
        <label class="knobs slide">{spoken(slide)} <input type="range" min={0} max={steps.length - 1} step={1} value={fixed[slide]} aria-valuetext={steps[fixed[slide]]} onInput={(e) => fix({ ...fixed, [slide]: Number(e.currentTarget.value) })} /> <output>{steps[fixed[slide]]}</output> <span class="soft">{fixed[slide] + 1} of {steps.length}, shallow to deep</span></label>
      ) : null}
      {groups && groups.names.length > 1 ? (
        <label class="knobs slide">{spoken(groups.dim)} <input type="range" min={0} max={groups.names.length - 1} step={1} value={fixed[groups.dim] ?? 0} aria-valuetext={`${groups.names[fixed[groups.dim] ?? 0]} ${spoken(groups.dim)}`} onInput={(e) => fix({ ...fixed, [groups.dim]: Number(e.currentTarget.value) })} /> <output>{groups.names[fixed[groups.dim] ?? 0]}</output></label>
      ) : null}
      {panel.kind === "Table" ? <DataTable data={tabled(panel, finding, fixed)} label={label} {...marks} most={printing ? Infinity : few ? 8 : 40} /> : <Chart panel={panel} finding={finding} fixed={fixed} range={range} />}
      {asTable && panel.kind !== "Table" ? <DataTable data={tabled(panel, finding, fixed)} label={`${label}, as a table`} /> : null}
      <div class="tools">
        {panel.kind === "Table" ? null : <button type="button" aria-pressed={asTable} aria-label={`Show ${label} as a table`} onClick={() => table(!asTable)}>Table</button>}
        {panel.kind === "Table" ? null : <button type="button" aria-label={`Download ${label} as SVG`} onClick={() => save(`${file}.svg`, svg(), "image/svg+xml")}>SVG</button>}
        {panel.kind === "Table" ? null : <button type="button" aria-label={`Download ${label} as PNG`} onClick={() => savePng(`${file}.png`, svg())}>PNG</button>}
        <button type="button" aria-label={`Download the numbers of ${label} as CSV`} onClick={() => save(`${file}.csv`, csvOfTable(tabled(panel, finding, fixed)), "text/csv")}>CSV</button>
      </div>
    </div>
  );
}
