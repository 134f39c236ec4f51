// Where the bundle comes from: inside the page (the report) or the server that sent the page; blocks become numbers here, once.

import type { Arr, Bundle, Coord, Finding, Numbers } from "./data";

interface Block { dtype: "u1" | "i4" | "f2" | "f4" | "f8"; packing: "raw" | "zlib" | "pixels"; data: string; scale?: number; width?: number }
const SIZE = { u1: 1, i4: 4, f2: 2, f4: 4, f8: 8 };

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let k = 0; k < text.length; k++) out[k] = text.charCodeAt(k);
  return out;
}

async function inflated(packed: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function halves(raw: Uint8Array<ArrayBuffer>, scale: number): Float32Array {
  const bits = new Uint16Array(raw.buffer, 0, raw.length / 2);
  return Float32Array.from(bits, (h) => {
    const power = (h >> 10) & 31, part = h & 1023;
    const size = power === 31 ? (part ? NaN : Infinity) : power ? 2 ** (power - 15) * (1 + part / 1024) : 2 ** -14 * (part / 1024);
    return (h & 32768 ? -size : size) * scale;
  });
}

function undoShuffle(raw: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (size === 1) return raw;
  const n = raw.length / size;
  const out = new Uint8Array(raw.length);
  for (let b = 0; b < size; b++) for (let k = 0; k < n; k++) out[k * size + b] = raw[b * n + k];
  return out;
}

function undoDifferences(raw: Uint8Array<ArrayBuffer>, width: number): Uint8Array<ArrayBuffer> {
  const line = width * 3;
  for (let start = 0; start < raw.length; start += line) for (let k = start + 3; k < start + line; k++) raw[k] = raw[k] + raw[k - 3];
  return raw;
}

async function numbers(block: Block): Promise<Numbers> {
  let raw = bytes(block.data);
  if (block.packing !== "raw") raw = await inflated(raw);
  raw = block.packing === "pixels" ? undoDifferences(raw, block.width ?? 1) : block.packing === "zlib" ? undoShuffle(raw, SIZE[block.dtype]) : raw;
  switch (block.dtype) {
    case "u1": return raw;
    case "i4": return new Int32Array(raw.buffer);
    case "f2": return halves(raw, block.scale ?? 1);
    case "f4": return new Float32Array(raw.buffer);
    case "f8": return new Float64Array(raw.buffer);
  }
}

const flat = (text: unknown): string[] => (Array.isArray(text) ? text.flatMap(flat) : [text === null || text === undefined ? "" : String(text)]);

type Written = Omit<Bundle, "findings"> & { findings: (Omit<Finding, "arrays"> & { line?: string; arrays: Record<string, Arr & { block?: string | string[] }> })[]; blocks: Record<string, Block>; coords: Record<string, Coord[]> };

/** The values of one block, or of several in a row. */
function joined(block: string | string[] | undefined, values: Map<string, Numbers>): Numbers | undefined {
  if (!Array.isArray(block)) return block ? values.get(block) : undefined;
  const parts = block.map((key) => values.get(key) as Uint8Array);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

async function opened(said: Written): Promise<Bundle> {
  if (typeof DecompressionStream === "undefined") throw new Error("This page needs a browser of 2023 or later (Chrome 103, Firefox 113, Safari 16.4).");
  const keys = Object.keys(said.blocks);
  const values = new Map((await Promise.all(keys.map((key) => numbers(said.blocks[key])))).map((v, k) => [keys[k], v]));
  for (const finding of said.findings) {
    finding.headline ??= finding.line ?? ""; // findings of format 1 have a line and no key numbers
    finding.key_numbers ??= [];
    for (const [name, a] of Object.entries(finding.arrays)) {
      a.name = name;
      a.values = joined(a.block, values) ?? new Float32Array(0);
      a.text = a.dtype === "text" ? flat(a.text) : undefined;
      const written = (a.coords ?? {}) as Record<string, Coord[] | string>;
      a.coords = Object.fromEntries(Object.entries(written).map(([dim, names]) => [dim, typeof names === "string" ? said.coords[names] : names]));
    }
  }
  return said as unknown as Bundle;
}

/** The bundle inside the page, or what the server sends. */
export async function load(): Promise<Bundle> {
  const island = document.getElementById("bundle");
  if (island) return opened(JSON.parse(island.textContent ?? "{}"));
  const answer = await fetch("api/bundle");
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? `The server answered ${answer.status}.`);
  return opened(said);
}

/** Call `changed` whenever the folder behind the server changes; nothing for a report. */
export function follow(seen: string | undefined, changed: () => void, lost: (gone: boolean) => void): () => void {
  let state = seen;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const said = await (await fetch("api/state")).json();
      lost(false);
      if (said.state !== state) { state = said.state; changed(); }
    } catch { lost(true); }
  }, 3000);
  return () => clearInterval(timer);
}
