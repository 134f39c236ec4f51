// Heat: a matrix, first dimension downwards; gaps are hatched, values are printed where they fit.

import { useId, useMemo } from "preact/hooks";
import { type Arr, arr, arrange, axisTitle, cell, extent, labels, spoken } from "../data";
import { type Ramp, bounds, bright, css, ramp, fraction } from "../colours";
import { shorten, shortenAll, tick, withUnit } from "../format";
import { Facts, tip } from "../tip";
import { Drawing, Names, names, pointer, useWidth, wide } from "./axes";
import { type ChartProps, RampBar } from "./curve";

/** The matrix as an image with a data address: `zoom` pixels for each entry, gaps transparent. */
function matrixImage(a: Arr, rows: number, cols: number, kind: Ramp, low: number, high: number): string {
  const zoom = Math.max(1, Math.min(16, Math.floor(1200 / Math.max(rows, cols))));
  const canvas = document.createElement("canvas");
  canvas.width = cols * zoom;
  canvas.height = rows * zoom;
  const pen = canvas.getContext("2d");
  if (!pen) return "";
  for (let k = 0; k < rows * cols; k++) {
    const v = cell(a, k);
    if (v === null) continue;
    pen.fillStyle = css(ramp(kind, fraction(Number(v), low, high)));
    pen.fillRect((k % cols) * zoom, Math.floor(k / cols) * zoom, zoom, zoom);
  }
  return canvas.toDataURL();
}

export function Heat({ panel, finding, fixed, range }: ChartProps) {
  const [ref, width] = useWidth();
  const id = `gap${useId()}`;
  const raw = arr(finding, panel.z);
  const dims = raw.dims.slice(0, 2);
  const a = useMemo(() => arrange(raw, dims, fixed), [raw, JSON.stringify(fixed)]);
  const [rows, cols] = [a.shape[0] ?? 0, a.shape[1] ?? 0];
  const kind: Ramp = panel.scale === "diverging" ? "diverging" : "sequential";
  const [low, high] = bounds(kind, range ?? extent(a.values), panel.low as number | null, panel.high as number | null);
  const url = useMemo(() => matrixImage(a, rows, cols, kind, low, high), [a, kind, low, high]);
  const down = labels(a, dims[0] ?? ""), over = labels(a, dims[1] ?? "");
  const most = Math.max(12, Math.min(24, Math.floor(width / 24)));
  const rowNames = shortenAll(down, most);
  const left = Math.min(width * 0.36, Math.max(24, ...rowNames.map((t) => wide(t))) + 12);
  const w = Math.min(64, (width - left - 8) / Math.max(1, cols));
  const same = dims.length === 2 && dims[0].replace(/_/g, "") === dims[1].replace(/_/g, "");
  const h = same ? w : Math.max(12, Math.min(30, w, 840 / Math.max(1, rows)));
  const under = names(over, w, most);
  const top = 40, bottom = top + h * rows;
  const height = bottom + under.height + 20;
  const every = Math.max(1, Math.ceil(11.5 / h));
  const said = w >= 34 && h >= 15 && rows * cols <= 240;
  const barWidth = Math.min(150, width * 0.32);
  const lowText = tick(Number(low.toPrecision(3)), a.unit), highText = tick(Number(high.toPrecision(3)), a.unit);
  const barLeft = width - 8 - wide(highText) - 6 - barWidth;
  const at = (event: MouseEvent): [number, number] | null => {
    const [x, y] = pointer(event);
    const c = Math.floor((x - left) / w), r = Math.floor((y - top) / h);
    return r >= 0 && r < rows && c >= 0 && c < cols ? [r, c] : null;
  };
  const move = (event: MouseEvent) => {
    const here = at(event);
    if (!here) return tip(null);
    const v = cell(a, here[0] * cols + here[1]);
    tip(event, <Facts head={v === null ? "not measured" : withUnit(v, a.unit)} rows={[[spoken(dims[0]), down[here[0]]], [spoken(dims[1]), over[here[1]]]]} />);
  };
  return (
    <div ref={ref}>
      <Drawing width={width} height={height} label={`${panel.title}: matrix of ${axisTitle(a)}, ${rows} by ${cols}`} onPointerMove={move} onPointerLeave={() => tip(null)}>
        <text x={4} y={14} class="title">{shorten(axisTitle(a), Math.max(6, Math.floor((barLeft - wide(lowText) - 16) / 6.4)))}</text>
        <text x={barLeft - 6} y={14} text-anchor="end" class="label">{lowText}</text>
        <RampBar kind={kind} x={barLeft} y={6} width={barWidth} />
        <text x={barLeft + barWidth + 6} y={14} class="label">{highText}</text>
        <text x={4} y={top - 8} class="faint">{spoken(dims[0] ?? "")} ↓</text>
        <text x={left} y={top - 8} class="faint">{spoken(dims[1] ?? "")} →</text>
        <pattern id={id} width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5" height="5" class="gap" /><line x1="0" x2="0" y1="0" y2="5" class="hatch" /></pattern>
        <rect x={left} y={top} width={w * cols} height={h * rows} fill={`url(#${id})`} />
        <image href={url} x={left} y={top} width={w * cols} height={h * rows} preserveAspectRatio="none" class="pixels" />
        <g class="axis">{down.map((name, k) => k % every ? null : <text x={left - 6} y={top + (k + 0.5) * h} dy="0.32em" text-anchor="end">{rowNames[k]}<title>{name}</title></text>)}</g>
        <Names texts={over} place={(k) => left + (k + 0.5) * w} bottom={bottom} step={w} most={most} />
        {said ? Array.from({ length: rows * cols }, (_, k) => {
          const v = cell(a, k);
          const x = left + ((k % cols) + 0.5) * w, y = top + (Math.floor(k / cols) + 0.5) * h;
          return <text x={x} y={y} dy="0.34em" text-anchor="middle" class="cell" style={{ fill: v === null ? "var(--soft)" : bright(ramp(kind, fraction(Number(v), low, high))) ? "#1a1420" : "#fff" }}>{v === null ? "–" : tick(Number(Number(v).toPrecision(2)), a.unit)}</text>;
        }) : null}
      </Drawing>
    </div>
  );
}
