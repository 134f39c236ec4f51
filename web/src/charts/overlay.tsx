// Overlay: heat maps over their images, each on its own colour scale with its largest value written under it.

import type { ComponentChildren } from "preact";
import { useContext, useMemo, useState } from "preact/hooks";
import { type Arr, type Finding, type Panel, arr, arrange, cell, labels, length, names as listed, spoken } from "../data";
import { number, shorten, withUnit } from "../format";
import { Facts, tip } from "../tip";
import { useWidth } from "./axes";
import type { ChartProps } from "./curve";
import { Lines, PAPER, Printing, Sheet } from "./lines";
import { RampBar } from "./curve";
import { type Method, MethodLine, MethodName, methodsOf } from "./methods";
import { type Edges, type Tiles, canvasOf, heatCanvas, outline, quantile, range, tiles, valueAt } from "./tiles";

const GAP = 10, CAPTION = 20;
/** Height of the name of a method with its verdict, and the narrowest tile that has room for both. */
const NAMED = 46, ROOMY = 150;
/** Methods beside each other: fraction of a map's values below the last colour, or a few pixels would leave all others dark. */
const CAPPED = 0.99;

export interface OverlayLayout { base: Tiles; heat: Tiles; mask?: Tiles; outlined: string; images: string[]; across: string[]; edges: (image: number, k: number) => Edges; signed: boolean; unit: string; over: string; methods: Method[]; captions: string[] }

const within = (a: Arr, dim: string, k: number): number => Math.min(k, length(a, dim) - 1);

/** What an Overlay panel lays out, before any width is known. */
export function overlayLayout(panel: Panel, finding: Finding, fixed: Record<string, number>): OverlayLayout {
  const over = String(panel.across ?? "");
  const rawHeat = arr(finding, panel.heat);
  const heat = tiles(rawHeat, ["image", over], fixed);
  const base = tiles(arr(finding, panel.base), ["image"], fixed);
  const mask = listed(panel.mask).length ? tiles(arr(finding, panel.mask), ["image"], fixed) : undefined;
  const outlined = arr(finding, panel.mask).title || "object";
  const rawEdges = listed(panel.extent).length ? arr(finding, panel.extent) : undefined;
  const laid = rawEdges ? arrange(rawEdges, ["image", over, "axis"], fixed) : undefined;
  const edges = (image: number, k: number): Edges => {
    if (!laid) return [0, 1, 0, 1];
    const from = (within(laid, "image", image) * length(laid, over) + within(laid, over, k)) * 4;
    return [0, 1, 2, 3].map((e) => Number(cell(laid, from + e) ?? (e % 2))) as Edges;
  };
  const images = labels(rawHeat.coords.image ? rawHeat : { ...arr(finding, panel.base) }, "image");
  const words = listed(panel.caption).length ? arrange(arr(finding, panel.caption), ["image"], fixed) : undefined;
  const captions = words?.text ?? [];
  const methods = methodsOf(panel, finding);
  return { base, heat, mask, outlined, images, methods, captions, across: over && rawHeat.dims.includes(over) ? labels(rawHeat, over) : [""], edges, signed: heat.a.values.some((v) => v < 0), unit: rawHeat.unit, over };
}

export function Overlay({ panel, finding, fixed }: ChartProps) {
  const [ref, measured] = useWidth();
  const width = useContext(Printing) ? Math.min(measured, PAPER) : measured;
  const [opacity, fade] = useState(0.75);
  const [lined, draw] = useState(true);
  const layout = useMemo(() => overlayLayout(panel, finding, fixed), [panel, finding, JSON.stringify(fixed)]);
  const columns = layout.across.length + 1;
  const named = layout.over === "method" && layout.methods.length > 0; // each tile bears its name, so tiles may stand below each other
  const [open, about] = useState(-1);
  const single = !named && layout.across.length === 1; // then an image and its map are a pair, and pairs stand side by side
  const per = single ? Math.max(1, Math.floor((width - 8) / (2 * (160 + GAP) + 18))) : 1;
  const broad = named ? Math.min(columns, Math.max(2, Math.floor((width - 12) / (ROOMY + GAP)))) : columns;
  const w = single ? Math.min(208, Math.floor((width - 8) / per / 2) - GAP - 9) : Math.max(72, Math.min(208, Math.floor((width - 12) / broad) - GAP));
  const h = Math.round((w * layout.base.rows) / Math.max(1, layout.base.cols));
  const high = named ? Math.ceil(columns / broad) * (NAMED + h + CAPTION + GAP) : h + CAPTION + GAP;
  const head = named || (single && !layout.across[0]) ? undefined : (
    <div class="heads" aria-hidden="true">{["image", ...layout.across].map((name) => <span style={{ width: `${w}px` }} title={name}>{shorten(name, Math.floor(w / 6.6))}</span>)}</div>
  );
  const lone = !named && layout.methods.length ? 0 : -1;
  return (
    <div ref={ref} class="overlay">
      <div class="knobs">
        <label>Opacity <input type="range" min="0" max="1" step="0.05" value={opacity} onInput={(e) => fade(Number(e.currentTarget.value))} /></label>
        {layout.mask ? <label><input type="checkbox" checked={lined} onChange={(e) => draw(e.currentTarget.checked)} /> Outline of the {layout.outlined}</label> : null}
        <span class="ramp"><span class="soft">{layout.signed ? "−max" : "0"}</span><svg width="96" height="8" aria-hidden="true"><RampBar kind={layout.signed ? "diverging" : "sequential"} x={0} y={0} width={96} /></svg><span class="soft">{layout.signed ? "+max" : "each map's own max"}</span></span>
        {lone < 0 ? null : <MethodName method={layout.methods[0]} open={open === 0} toggle={() => about(open === 0 ? -1 : 0)} />}
      </div>
      {open >= 0 && layout.methods[open] ? <MethodLine method={layout.methods[open]} /> : null}
      <Lines count={Math.ceil(layout.images.length / per)} height={high + 18} label={`${panel.title}: ${layout.images.length} images`} head={per === 1 ? head : undefined}>
        {(line) => layout.images.slice(line * per, (line + 1) * per).map((name, j) => (
          <div class="strip" key={name}>
            <span class="above" title={name}>{shorten(name, 40)}{layout.captions[line * per + j] ? <span class="for"> · for {shorten(layout.captions[line * per + j], 40)}</span> : null}</span>
            <div class={named ? "row folded" : "row"} style={named ? { width: `${broad * (w + GAP)}px` } : undefined}>
              <BaseImage layout={layout} image={line * per + j} w={w} h={h} lined={lined} head={named ? <div class="method" style={{ width: `${w}px` }}><span class="name">image</span></div> : undefined} />
              {layout.across.map((_, k) => <Map layout={layout} image={line * per + j} k={k} w={w} h={h} opacity={opacity} lined={lined} head={named ? <MethodName method={layout.methods[k]} width={w} open={open === k} toggle={() => about(open === k ? -1 : k)} /> : undefined} />)}
            </div>
          </div>
        ))}
      </Lines>
    </div>
  );
}

interface Tile { layout: OverlayLayout; image: number; w: number; h: number; lined: boolean; head?: ComponentChildren }

function BaseImage({ layout, image, w, h, lined, head }: Tile) {
  const draw = (pen: CanvasRenderingContext2D) => paint(pen, layout, image, -1, 0, 0, w, h, 0, lined);
  return <div class="tile">{head}<Sheet width={w} height={h} keys={[layout, image, lined]} draw={draw} role="img" aria-label={`Image ${layout.images[image]}`} /></div>;
}

function Map({ layout, image, k, w, h, opacity, lined, head }: Tile & { k: number; opacity: number }) {
  const { heat, images, across, over } = layout;
  const at = image * across.length + k;
  const { low, high, empty } = range(heat, at);
  const name = `${images[image]}${across[k] ? `, ${across[k]}` : ""}`;
  const lacking = !(high >= low); // nothing but gaps: such a map does not exist
  if (empty) return <div class="tile">{head}<div class="empty" style={{ width: `${w}px`, height: `${h}px` }}>{lacking ? "no map of this layer" : "empty: no evidence"}</div><span class="caption">{lacking ? "" : "max 0"}</span></div>;
  const draw = (pen: CanvasRenderingContext2D) => paint(pen, layout, image, k, 0, 0, w, h, opacity, lined);
  const move = (event: MouseEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const v = valueAt(heat, at, layout.edges(image, k), (event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width);
    tip(event, <Facts head={v === null ? "outside the map" : withUnit(v, layout.unit)} rows={[["image", images[image]], ...(across[k] ? [[spoken(over), across[k]] as [string, string]] : []), ["map", `${number(low)} … ${number(high)}`]]} />);
  };
  return (
    <div class="tile">
      {head}
      <Sheet width={w} height={h} keys={[layout, image, k, opacity, lined]} draw={draw} onPointerMove={move} onPointerLeave={() => tip(null)} role="img" aria-label={`Heat map of ${name}, largest value ${number(high)}`} />
      <span class="caption">{layout.signed ? `±${number(Math.max(-low, high))}` : `max ${number(high)}`}</span>
    </div>
  );
}

/** The image, its heat map (none for k = -1) and the outline, at a place of a canvas. */
export function paint(pen: CanvasRenderingContext2D, layout: OverlayLayout, image: number, k: number, x: number, y: number, w: number, h: number, opacity: number, lined: boolean): void {
  const { base, heat, mask, across } = layout;
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  if (base.size && base.a.values.length) pen.drawImage(canvasOf(base, within(base.a, "image", image), "sequential"), x, y, w, h);
  if (k >= 0) {
    pen.globalAlpha = opacity;
    const at = image * across.length + k;
    const top = layout.over === "method" ? quantile(heat, at, CAPPED) : NaN;
    pen.drawImage(heatCanvas(heat, at, layout.edges(image, k), Math.round(w), Math.round(h), top), x, y, w, h);
    pen.globalAlpha = 1;
  }
  if (mask && lined && mask.a.values.length) outline(pen, mask, within(mask.a, "image", image), x, y, w, h);
}
