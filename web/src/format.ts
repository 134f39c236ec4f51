// Numbers, names and times as people write them.

/** A number with about four digits; a dash for a gap. */
export function number(v: unknown, digits = 4): string {
  if (v === null || v === undefined || v === "") return "–";
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (typeof v === "string") return v;
  const x = Number(v);
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size === 0) return "0";
  if (size >= 1e6) return minus(trim((x / (size >= 1e9 ? 1e9 : 1e6)).toPrecision(digits))) + (size >= 1e9 ? " G" : " M");
  if (Number.isInteger(x)) return minus(size >= 10000 ? x.toLocaleString("en-US").replace(/,/g, "\u202f") : String(x));
  if (size < 1e-4) { const [m, e] = x.toExponential(Math.max(0, digits - 2)).split("e"); return `${minus(trim(m))}·10${raised(Number(e))}`; }
  return minus(trim(x.toPrecision(digits)));
}

/** The number in full, for tooltips. */
export const exact = (v: unknown): string => (typeof v === "number" ? number(Number.isInteger(v) ? v : Number(v.toPrecision(6)), 6) : number(v));
const trim = (text: string): string => (text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text.includes("e") ? String(Number(text)) : text);
const minus = (text: string): string => text.replace("-", "−");
const raised = (n: number): string => String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)]));

/** A long name shortened in the middle. */
export function shorten(name: string, most = 18): string {
  if (name.length <= most) return name;
  const head = Math.ceil((most - 1) * 0.45);
  return `${name.slice(0, head)}…${name.slice(name.length - (most - 1 - head))}`;
}

/** Names that stand together, shortened alike: what all begin with goes first, so that what tells them apart stays. */
export function shortenAll(names: string[], most = 18): string[] {
  if (names.every((name) => name.length <= most)) return names;
  let shared = names[0].length;
  for (const name of names) while (!name.startsWith(names[0].slice(0, shared))) shared--;
  const cut = names.length > 1 && shared > 2 ? shared : 0;
  return names.map((name) => shorten(cut && name.length > most ? `…${name.slice(cut)}` : name, most));
}

export function seconds(s: number | undefined): string {
  if (s === undefined || s === null || !Number.isFinite(s)) return "";
  if (s < 0.1) return `${Math.round(s * 1000)} ms`;
  if (s < 90) return `${number(Number(s.toFixed(s < 10 ? 1 : 0)))} s`;
  const m = Math.round(s / 60);
  return m < 90 ? `${m} min` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

/** A date as "3 March 2026, 14:05"; the text itself where it is none. */
export function moment(when: string | number | undefined): string {
  if (when === undefined || when === null || when === "") return "";
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  if (Number.isNaN(date.getTime())) return String(when);
  return `${date.getDate()} ${"January February March April May June July August September October November December".split(" ")[date.getMonth()]} ${date.getFullYear()}, ${String(date.getHours()).padStart(2, "0")}:${String(date.getMinutes()).padStart(2, "0")}`;
}

/** A sentence whose numbers keep to their units at the end of a line. */
export const prose = (text: string): string => text.replace(/(\d) (?=(%|px|ms|MB|GB|M|G|s|σ)(?![\w]))/g, "$1\u00a0");
export const plural = (n: number, word: string, many = `${word}s`): string => `${number(n)} ${n === 1 ? word : many}`;
export const slug = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "x";
