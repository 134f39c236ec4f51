// Grid: many small tiles, drawn pixel by pixel; wrapped when there is one dimension (perhaps in groups), a matrix when there are two.

import { useContext, useMemo, useState } from "preact/hooks";
import { type Arr, type Finding, type Panel, arr, arrange, axisTitle, extent, labels, spoken } from "../data";
import { type Ramp, bounds } from "../colours";
import { number, shorten } from "../format";
import { Facts, tip } from "../tip";
import { useWidth } from "./axes";
import { type ChartProps, RampBar } from "./curve";
import { Lines, PAPER, Printing, Sheet } from "./lines";
import { type Tiles, canvasOf, range, tiles } from "./tiles";

const GAP = 6, CAPTION = 17, CHUNK = 24, CROWD = 60;

/** Neighbouring places in the order of drawing that belong together. */
interface Part { name: string; size: string; from: number; to: number }
/** `order` says which tile stands in which place, when that is not their own order; `crowded` tiles are small and have no captions. */
export interface GridLayout { t: Tiles; kind: Ramp; span?: [number, number]; across: string[]; down: string[]; two: boolean; scale: number; title: string; order?: number[]; parts?: Part[]; crowded: boolean }

/** The groupings of a Grid: the dimension that a slider goes over, and what its steps are called. */
export function groupings(panel: Panel, finding: Finding): { dim: string; names: string[]; array: Arr } | null {
  if (!panel.groups) return null;
  const array = arr(finding, panel.groups);
  const dim = array.dims.find((d) => d !== panel.across);
  return dim && !array.omitted && array.values.length ? { dim, names: labels(array, dim), array } : null;
}

/** The group of each tile, under the grouping that is chosen. */
export function groupOf(panel: Panel, finding: Finding, fixed: Record<string, number>): number[] | null {
  const found = groupings(panel, finding);
  return found && Array.from(arrange(found.array, [String(panel.across)], fixed).values);
}

function partsOf(group: number[]): { order: number[]; parts: Part[] } {
  const order = group.map((_, k) => k).sort((a, b) => group[a] - group[b] || a - b);
  const parts: Part[] = [];
  order.forEach((tile, place) => {
    if (!place || group[tile] !== group[order[place - 1]]) parts.push({ name: `group ${group[tile] + 1}`, size: "", from: place, to: place });
    parts[parts.length - 1].to = place + 1;
  });
  for (const part of parts) part.size = `${number((part.to - part.from) / order.length, "fraction")} · ${part.to - part.from}`;
  return { order, parts };
}

export interface Row { down: number; from: number; to: number; part?: Part; first: boolean }
/** The lines of tiles when `per` of them stand side by side. */
export function gridRows(layout: GridLayout, per: number): Row[] {
  const cut = (down: number, from: number, to: number, part?: Part): Row[] =>
    Array.from({ length: Math.ceil((to - from) / per) }, (_, k) => ({ down, from: from + k * per, to: Math.min(to, from + (k + 1) * per), part, first: k === 0 }));
  return layout.parts ? layout.parts.flatMap((part) => cut(0, part.from, part.to, part)) : layout.down.flatMap((_, d) => cut(d, 0, layout.across.length));
}

/** The tile in a place of a row. */
export const tileAt = (layout: GridLayout, row: Row, place: number): number => (layout.order ? layout.order[place] : row.down * layout.across.length + place);
/** What that tile is called along `across`. */
export const nameAt = (layout: GridLayout, place: number): string => layout.across[layout.order ? layout.order[place] : place];

/** What a Grid panel lays out, before any width is known. */
export function gridLayout(panel: Panel, finding: Finding, fixed: Record<string, number>): GridLayout {
  const raw = arr(finding, panel.z);
  const two = Boolean(panel.down) && raw.dims.includes(String(panel.down));
  const outer = [...(two ? [String(panel.down)] : []), String(panel.across)];
  const t = tiles(raw, outer, fixed);
  const kind: Ramp = panel.scale === "diverging" ? "diverging" : "sequential";
  const span = panel.each === false && !t.colour ? extent(t.a.values) : undefined;
  const side = Math.max(t.rows, t.cols, 1);
  const across = labels(t.a, String(panel.across));
  const group = two ? null : groupOf(panel, finding, fixed);
  const crowded = group !== null && across.length > CROWD;
  const scale = side > 96 ? 96 / side : Math.max(1, Math.round((crowded ? 40 : 68) / side));
  return { t, kind, span, across, down: two ? labels(t.a, String(panel.down)) : [""], two, scale, title: axisTitle(raw), crowded, ...(group ? partsOf(group) : {}) };
}

/** How much smaller tiles of that width become so that a line of them fits into the room; 1 where they would become too small to read. */
function fitting(width: number, count: number, room: number): number {
  const factor = (Math.floor((room + GAP) / count) - GAP) / width;
  return factor >= 0.6 && factor < 1 ? factor : 1;
}

export function Grid({ panel, finding, fixed }: ChartProps) {
  const [ref, measured] = useWidth();
  const printing = useContext(Printing);
  const width = printing ? Math.min(measured, PAPER) : measured;
  const [zoom, magnify] = useState(1);
  const layout = useMemo(() => gridLayout(panel, finding, fixed), [panel, finding, JSON.stringify(fixed)]);
  const { t, across, down, two, parts } = layout;
  const side = parts ? (width > 460 ? 96 : 0) : two && width > 460 ? Math.min(150, 14 + Math.max(...down.map((d) => Math.min(d.length, 18))) * 7) : 0;
  const room = width - side - 14;
  const scale = layout.scale * zoom * (two && !printing && zoom === 1 ? fitting(t.cols * layout.scale, across.length, room) : 1);
  const [w, h] = [Math.round(t.cols * scale), Math.round(t.rows * scale)];
  // On the screen a line of a matrix of tiles scrolls sideways; paper cannot, so there it is folded.
  const per = two && !printing ? across.length : Math.max(1, Math.floor((room + GAP) / (w + GAP)));
  const rows = gridRows(layout, per);
  const above = (two || parts) && !side ? 18 : 0;
  const below = layout.crowded ? 0 : CAPTION;
  return (
    <div ref={ref} class="grid">
      <div class="knobs">
        <span class="ramp soft">{t.colour ? null : <svg width="72" height="8" aria-hidden="true"><RampBar kind={layout.kind} x={0} y={0} width={72} /></svg>}{layout.span ? `one colour scale: ${number(bounds(layout.kind, layout.span, null, null)[0])} … ${number(bounds(layout.kind, layout.span, null, null)[1])}` : t.colour ? `${layout.title}, in its own colours` : "each tile has its own colour scale"} · {t.rows} × {t.cols} px{parts ? ` · ${parts.length} ${parts.length > 1 ? "groups" : "group"}` : null}</span>
        <span class="buttons"><button type="button" aria-label="Smaller tiles" disabled={zoom <= 0.5} onClick={() => magnify(zoom / 1.5)}>−</button><button type="button" aria-label="Larger tiles" disabled={zoom >= 3.3} onClick={() => magnify(zoom * 1.5)}>+</button></span>
      </div>
      <Lines count={rows.length} height={h + below + GAP + above} label={`${panel.title}: ${number(across.length * down.length)} tiles`}>
        {(line) => {
          const row = rows[line], { from, to, part } = row;
          const said = part ? (row.first ? `${part.name}\n${part.size}` : "") : row.first ? shorten(down[row.down], 18) : "";
          return (
            <>
              {two || parts ? <span class={side ? "side" : "above"} style={side ? { width: `${side}px`, height: `${h}px` } : undefined} title={part ? `${part.name}: ${part.size}` : down[row.down]}>{side ? said : said.replace("\n", ": ")}</span> : null}
              <div class="chunks" style={{ left: `${side}px`, top: `${above}px` }}>
                {Array.from({ length: Math.ceil((to - from) / CHUNK) }, (_, c) => {
                  const start = from + c * CHUNK;
                  return <Chunk key={start} layout={layout} row={row} start={start} end={Math.min(start + CHUNK, to)} w={w} h={h} dims={[String(panel.down), String(panel.across)]} />;
                })}
              </div>
            </>
          );
        }}
      </Lines>
    </div>
  );
}

function Chunk({ layout, row, start, end, w, h, dims }: { layout: GridLayout; row: Row; start: number; end: number; w: number; h: number; dims: string[] }) {
  const { t, down, two } = layout;
  const index = (k: number) => tileAt(layout, row, k);
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
    const value = t.colour ? Array.from(t.a.values.subarray(from, from + 3), (v) => number(v)).join(", ") : number(t.a.values[from]);
    const { low, high } = range(t, index(k));
    tip(event, <Facts head={value} rows={[...(two ? [[spoken(dims[0]), down[row.down]] as [string, string]] : row.part ? [["group", `${row.part.name.slice(6)}, ${row.part.size}`] as [string, string]] : []), [spoken(dims[1]), nameAt(layout, k)], ["row, col", `${r}, ${c}`], ["tile", `${number(low)} … ${number(high)}`]]} />);
  };
  return (
    <div class="chunk" style={{ width: `${(end - start) * (w + GAP)}px` }}>
      <Sheet width={(end - start) * (w + GAP)} height={h} keys={[layout, row.from, row.down, start, end]} draw={draw} onPointerMove={move} onPointerLeave={() => tip(null)} role="img" aria-label={`Tiles ${nameAt(layout, start)} to ${nameAt(layout, end - 1)}${two ? ` of ${down[row.down]}` : row.part ? ` of ${row.part.name}` : ""}`} />
      {layout.crowded ? null : Array.from({ length: end - start }, (_, k) => {
        const name = nameAt(layout, start + k);
        return <span class="caption" style={{ left: `${k * (w + GAP)}px`, width: `${w}px`, top: `${h}px` }} title={name}>{range(t, index(start + k)).empty && !t.colour ? "empty" : shorten(name, Math.max(3, Math.floor(w / 6.4)))}</span>;
      })}
    </div>
  );
}
