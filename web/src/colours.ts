// Colour scales from our own control points: lightness rises evenly, so that order is kept in grey and for colour-blind eyes.

export type Rgb = [number, number, number];

// Named after the stains of a histology slide: ink, haematoxylin, eosin, then the lamp.
const SEQUENTIAL: Rgb[] = [[12, 8, 32], [44, 19, 84], [86, 26, 122], [134, 36, 136], [182, 51, 126], [222, 82, 104], [242, 130, 88], [250, 184, 106], [253, 243, 184]];
const DIVERGING: Rgb[] = [[8, 62, 82], [20, 110, 128], [86, 164, 172], [176, 212, 212], [246, 243, 246], [240, 190, 206], [218, 118, 152], [176, 50, 104], [106, 14, 66]];
// For lines and bars ordered by depth: mid tones, readable on white and on black.
const DEPTH: Rgb[] = [[20, 140, 150], [44, 128, 200], [112, 110, 214], [166, 92, 196], [208, 74, 150], [222, 84, 92], [200, 112, 28]];

function along(points: Rgb[], t: number): Rgb {
  const p = Math.min(1, Math.max(0, t)) * (points.length - 1);
  const k = Math.min(points.length - 2, Math.floor(p));
  const w = p - k;
  return [0, 1, 2].map((c) => Math.round(points[k][c] * (1 - w) + points[k + 1][c] * w)) as Rgb;
}

export type Ramp = "sequential" | "diverging";
/** The colour of t in 0…1 (diverging: 0.5 is the middle). */
export const ramp = (kind: Ramp, t: number): Rgb => along(kind === "diverging" ? DIVERGING : SEQUENTIAL, t);
export const css = ([r, g, b]: Rgb): string => `rgb(${r},${g},${b})`;
/** 256 colours at once, for canvases. */
export function table(kind: Ramp): Uint8Array {
  const out = new Uint8Array(768);
  for (let k = 0; k < 256; k++) out.set(ramp(kind, k / 255), k * 3);
  return out;
}
/** Whether dark text is the readable one on this colour. */
export const bright = ([r, g, b]: Rgb): boolean => 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2 > 0.2;

/** Colour of line `k` of `n`: eight distinct ones, or a walk through depth when there are more. */
export function line(k: number, n: number): string {
  if (n <= 8) return `var(--c${k % 8})`;
  return css(along(DEPTH, k / (n - 1)));
}

/** `v` on a scale from low to high as 0…1. */
export const fraction = (v: number, low: number, high: number): number => (high > low ? (v - low) / (high - low) : v === 0 ? 0 : 0.5);

/** The scale of a matrix: diverging ones are symmetric about zero unless fixed. */
export function bounds(kind: Ramp, span: [number, number], low: number | null, high: number | null): [number, number] {
  let [a, b] = span;
  if (!(b >= a)) [a, b] = [0, 1];
  if (kind === "diverging" && low === null && high === null) { const m = Math.max(Math.abs(a), Math.abs(b)) || 1; return [-m, m]; }
  return [low ?? a, high ?? b];
}
