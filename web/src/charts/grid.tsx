// Grid: many small tiles, drawn pixel by pixel; wrapped when there is one dimension, laid out as a matrix when there are two.

import { useContext, useMemo, useState } from "preact/hooks";
import { type Finding, type Panel, arr, axisTitle, extent, labels, spoken } from "../data";
import { type Ramp, bounds } from "../colours";
import { exact, number, shorten } from "../format";
import { Facts, tip } from "../tip";
import { useWidth } from "./axes";
import { type ChartProps, RampBar } from "./curve";
import { Lines, PAPER, Printing, Sheet } from "./lines";
import { type Tiles, canvasOf, range, tiles } from "./tiles";

const GAP = 6, CAPTION = 17, CHUNK = 24;

export interface GridLayout { t: Tiles; kind: Ramp; span?: [number, number]; across: string[]; down: string[]; two: boolean; scale: number; title: string }

/** What a Grid panel lays out, before any width is known. */
export function gridLayout(panel: Panel, finding: Finding, fixed: Record<string, number>): GridLayout {
  const raw = arr(finding, panel.z);
  const two = Boolean(panel.down) && raw.dims.includes(String(panel.down));
  const outer = [...(two ? [String(panel.down)] : []), String(panel.across)];
  const t = tiles(raw, outer, fixed);
  const kind: Ramp = panel.scale === "diverging" ? "diverging" : "sequential";
  const span = panel.each === false && !t.colour ? extent(t.a.values) : undefined;
  const side = Math.max(t.rows, t.cols, 1);
  const scale = side > 96 ? 96 / side : Math.max(1, Math.round(68 / side));
  return { t, kind, span, across: labels(t.a, String(panel.across)), down: two ? labels(t.a, String(panel.down)) : [""], two, scale, title: axisTitle(raw) };
}

export function Grid({ panel, finding, fixed }: ChartProps) {
  const [ref, measured] = useWidth();
  const printing = useContext(Printing);
  const width = printing ? Math.min(measured, PAPER) : measured;
  const [zoom, magnify] = useState(1);
  const layout = useMemo(() => gridLayout(panel, finding, fixed), [panel, finding, JSON.stringify(fixed)]);
  const { t, across, down, two } = layout;
  const [w, h] = [Math.round(t.cols * layout.scale * zoom), Math.round(t.rows * layout.scale * zoom)];
  const side = two && width > 460 ? Math.min(150, 14 + Math.max(...down.map((d) => Math.min(d.length, 18))) * 7) : 0;
  const room = width - side - 14;
  // On the screen a line of a matrix of tiles scrolls sideways; paper cannot, so there it is folded.
  const per = two && !printing ? across.length : Math.max(1, Math.floor((room + GAP) / (w + GAP)));
  const folds = Math.ceil(across.length / per);
  const count = down.length * folds;
  const above = two && !side ? 18 : 0;
  return (
    <div ref={ref} class="grid">
      <div class="knobs">
        <span class="ramp soft">{t.colour ? null : <svg width="72" height="8" aria-hidden="true"><RampBar kind={layout.kind} x={0} y={0} width={72} /></svg>}{layout.span ? `one colour scale: ${number(bounds(layout.kind, layout.span, null, null)[0], 3)} … ${number(bounds(layout.kind, layout.span, null, null)[1], 3)}` : t.colour ? `${layout.title}, in its own colours` : "each tile has its own colour scale"} · {t.rows} × {t.cols} px</span>
        <span class="buttons"><button type="button" aria-label="Smaller tiles" disabled={zoom <= 0.5} onClick={() => magnify(zoom / 1.5)}>−</button><button type="button" aria-label="Larger tiles" disabled={zoom >= 3.3} onClick={() => magnify(zoom * 1.5)}>+</button></span>
      </div>
      <Lines count={count} height={h + CAPTION + GAP + above} label={`${panel.title}: ${number(across.length * down.length)} tiles`}>
        {(line) => {
          const at = Math.floor(line / folds), from = (line % folds) * per, to = Math.min(across.length, from + per);
          return (
            <>
              {two ? <span class={side ? "side" : "above"} style={side ? { width: `${side}px`, height: `${h}px` } : undefined} title={down[at]}>{from ? "" : shorten(down[at], 18)}</span> : null}
              <div class="chunks" style={{ left: `${side}px`, top: `${above}px` }}>
                {Array.from({ length: Math.ceil((to - from) / CHUNK) }, (_, c) => {
                  const start = from + c * CHUNK;
                  return <Chunk key={start} layout={layout} line={at} start={start} end={Math.min(start + CHUNK, to)} w={w} h={h} dims={[String(panel.down), String(panel.across)]} />;
                })}
              </div>
            </>
          );
        }}
      </Lines>
    </div>
  );
}

function Chunk({ layout, line, start, end, w, h, dims }: { layout: GridLayout; line: number; start: number; end: number; w: number; h: number; dims: string[] }) {
  const { t, across, down, two } = layout;
  const index = (k: number) => line * across.length + k;
  const draw = (pen: CanvasRenderingContext2D) => {
    pen.imageSmoothingEnabled = layout.scale < 1;
    for (let k = start; k < end; k++) {
      const x = (k - start) * (w + GAP);
      if (!range(t, index(k)).empty || t.colour) { pen.drawImage(canvasOf(t, index(k), layout.kind, layout.span), x, 0, w, h); continue; }
      pen.setLineDash([3, 3]);
      pen.strokeStyle = "rgba(132,121,143,.8)";
      pen.strokeRect(x + 0.5, 0.5, w - 1, h - 1);
    }
  };
  const move = (event: MouseEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const k = start + Math.floor(x / (w + GAP));
    const c = Math.floor(((x - (k - start) * (w + GAP)) / w) * t.cols), r = Math.floor((y / h) * t.rows);
    if (k >= end || c < 0 || c >= t.cols || r < 0 || r >= t.rows) return tip(null);
    const from = index(k) * t.size + (r * t.cols + c) * (t.colour ? 3 : 1);
    const value = t.colour ? Array.from(t.a.values.subarray(from, from + 3), (v) => exact(v)).join(", ") : exact(t.a.values[from]);
    const { low, high } = range(t, index(k));
    tip(event, <Facts head={value} rows={[...(two ? [[spoken(dims[0]), down[line]] as [string, string]] : []), [spoken(dims[1]), across[k]], ["row, col", `${r}, ${c}`], ["tile", `${exact(low)} … ${exact(high)}`]]} />);
  };
  return (
    <div class="chunk" style={{ width: `${(end - start) * (w + GAP)}px` }}>
      <Sheet width={(end - start) * (w + GAP)} height={h} keys={[layout, line, start, end]} draw={draw} onPointerMove={move} onPointerLeave={() => tip(null)} role="img" aria-label={`Tiles ${across[start]} to ${across[end - 1]}${two ? ` of ${down[line]}` : ""}`} />
      {across.slice(start, end).map((name, k) => (
        <span class="caption" style={{ left: `${k * (w + GAP)}px`, width: `${w}px`, top: `${h}px` }} title={name}>{range(t, index(start + k)).empty && !t.colour ? "empty" : shorten(name, Math.max(3, Math.floor(w / 6.4)))}</span>
      ))}
    </div>
  );
}
