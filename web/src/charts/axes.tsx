// Scales, ticks, axes and legends: what every chart with axes needs.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { shorten, shortenAll, tick } from "../format";

export interface Scale { at: (v: number) => number; ticks: number[]; log: boolean }

let pen: CanvasRenderingContext2D | null | undefined;
/** Width in pixels of `text` as the charts set it. */
export function wide(text: string, size = 11): number {
  if (pen === undefined) { pen = document.createElement("canvas").getContext("2d"); if (pen) pen.font = '11px system-ui, "Segoe UI", Roboto, sans-serif'; }
  return pen ? (pen.measureText(text).width * size) / 11 : text.length * size * 0.56;
}

function steps(low: number, high: number, most: number): number[] {
  const rough = (high - low) / Math.max(1, most);
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * ten).find((s) => s >= rough * 0.999) ?? 10 * ten;
  const out: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push(Number((k * step).toPrecision(12)));
  return out;
}

/** A linear scale from values low…high to pixels a…b, with round ticks. */
export function linear([low, high]: [number, number], a: number, b: number, most = 5, tight = false): Scale {
  if (!(high >= low)) [low, high] = [0, 1];
  if (high === low) { const pad = Math.abs(low) * 0.1 || 0.5; low -= pad; high += pad; }
  if (!tight) { const pad = (high - low) * 0.04; if (low !== 0) low -= low > 0 && low < pad ? low : pad; if (high !== 0 && high !== 1) high += pad; }
  return { at: (v) => a + ((v - low) / (high - low)) * (b - a), ticks: steps(low, high, most), log: false };
}

/** A logarithmic scale; values of zero and less have no place on it. */
export function logarithmic([low, high]: [number, number], a: number, b: number, most = 6): Scale {
  if (!(high > 0)) [low, high] = [0.1, 1];
  if (!(low > 0)) low = high / 1e4;
  if (low === high) { low /= 2; high *= 2; }
  const [l, h] = [Math.log10(low), Math.log10(high)];
  const pad = (h - l) * 0.04;
  const at = (v: number) => (v > 0 ? a + ((Math.log10(v) - l + pad) / (h - l + 2 * pad)) * (b - a) : NaN);
  const every = Math.max(1, Math.ceil((h - l) / most));
  const parts = h - l < 1.2 ? [1, 2, 3, 5, 7] : h - l < 3 ? [1, 2, 5] : [1];
  const ticks: number[] = [];
  for (let e = Math.floor(l); e <= Math.ceil(h); e += every) for (const m of parts) { const v = m * 10 ** e; if (v >= low * 0.95 && v <= high * 1.05) ticks.push(v); }
  return { at, ticks: ticks.length < 2 ? [low, high] : ticks, log: true };
}

/** Smallest positive number among values, for the lower end of logarithmic scales. */
export const positive = (values: number[]): number => values.reduce((m, v) => (v > 0 && v < m ? v : m), Infinity);

/** The element's width in pixels, followed as it changes. */
export function useWidth(start = 640) {
  const ref = useRef<HTMLDivElement>(null);
  const [width, set] = useState(start);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const measure = () => { const w = Math.round(element.clientWidth); if (w > 40) set(w); };
    measure();
    const watcher = new ResizeObserver(measure);
    watcher.observe(element);
    return () => watcher.disconnect();
  }, []);
  return [ref, width] as const;
}

export interface Entry { label: string; colour: string; dash?: string; swatch?: boolean }

/** How a legend wraps in `width`: the place of each entry, and its height. */
export function legend(entries: Entry[], width: number): { at: [number, number][]; height: number } {
  let x = 0, y = 0;
  const at = entries.map(({ label }): [number, number] => {
    const w = wide(shorten(label, 28)) + 34;
    if (x && x + w > width) { x = 0; y += 18; }
    const here: [number, number] = [x, y];
    x += w;
    return here;
  });
  return { at, height: entries.length ? y + 22 : 0 };
}

export function Legend({ entries, left, width }: { entries: Entry[]; left: number; width: number }) {
  const { at } = legend(entries, width);
  return (
    <g class="legend">
      {entries.map(({ label, colour, dash, swatch }, k) => (
        <g transform={`translate(${left + at[k][0]},${at[k][1] + 12})`}>
          {swatch ? <rect x={0} y={-8} width={12} height={10} rx={2} style={{ fill: colour }} /> : <line x1={0} x2={18} y1={-3.5} y2={-3.5} class="stroke" style={{ stroke: colour }} stroke-dasharray={dash} />}
          <text x={swatch ? 17 : 23} class="label">{shorten(label, 28)}<title>{label}</title></text>
        </g>
      ))}
    </g>
  );
}

/** Horizontal lines and numbers at the left. */
export function AxisY({ scale, left, right, unit }: { scale: Scale; left: number; right: number; unit?: string }) {
  return (
    <g class="axis">
      {scale.ticks.map((v) => (
        <g transform={`translate(0,${scale.at(v).toFixed(1)})`}>
          <line x1={left} x2={right} class={v === 0 ? "zero" : "grid"} />
          <text x={left - 7} dy="0.32em" text-anchor="end">{tick(v, unit)}</text>
        </g>
      ))}
    </g>
  );
}

/** Numbers along the bottom. */
export function AxisX({ scale, bottom, top, unit }: { scale: Scale; bottom: number; top?: number; unit?: string }) {
  let last = -Infinity;
  return (
    <g class="axis">
      {scale.ticks.map((v) => {
        const x = scale.at(v), text = tick(v, unit), half = wide(text) / 2;
        const fits = x - half > last + 6;
        if (fits) last = x + half;
        return (
          <g transform={`translate(${x.toFixed(1)},0)`}>
            {top === undefined ? <line y1={bottom} y2={bottom + 4} class="tick" /> : <line y1={top} y2={bottom} class="grid" />}
            {fits ? <text y={bottom + 17} text-anchor="middle">{text}</text> : null}
          </g>
        );
      })}
    </g>
  );
}

/** How names stand under an axis: upright if there is room, else slanted, and every n-th only when they are too many. */
export function names(texts: string[], step: number, most = 18) {
  const shown = shortenAll(texts, most);
  const widest = Math.max(0, ...shown.map((t) => wide(t)));
  const flat = widest + 8 <= step;
  const every = flat ? 1 : Math.max(1, Math.ceil(16 / step));
  return { shown, flat, every, height: flat ? 20 : Math.min(120, widest * 0.72 + 16), overhang: flat ? 0 : Math.min(90, widest * 0.7) };
}

export function Names({ texts, place, bottom, step, most = 18 }: { texts: string[]; place: (k: number) => number; bottom: number; step: number; most?: number }) {
  const { shown, flat, every } = names(texts, step, most);
  return (
    <g class="axis">
      {shown.map((text, k) => k % every ? null : (
        <text transform={`translate(${place(k).toFixed(1)},${bottom + (flat ? 16 : 11)})${flat ? "" : " rotate(-44)"}`} text-anchor={flat ? "middle" : "end"}>{text}<title>{texts[k]}</title></text>
      ))}
    </g>
  );
}

/** The drawing itself: an SVG whose text keeps its size whatever the width. */
export function Drawing({ width, height, label, children, ...rest }: { width: number; height: number; label: string; children: ComponentChildren; [event: string]: unknown }) {
  return (
    <svg class="drawing" viewBox={`0 0 ${width} ${Math.ceil(height)}`} width={width} height={Math.ceil(height)} role="img" aria-label={label} {...rest}>{children}</svg>
  );
}

/** The pointer's place in the drawing's own units. */
export function pointer(event: MouseEvent): [number, number] {
  const svg = (event.currentTarget as Element).closest("svg") as SVGSVGElement;
  const box = svg.getBoundingClientRect();
  const view = svg.viewBox.baseVal;
  return [((event.clientX - box.left) / box.width) * view.width, ((event.clientY - box.top) / box.height) * view.height];
}
