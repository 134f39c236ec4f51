// Numbers, names and times as people write them; numbers exactly as microtome.key_numbers.format_value writes them.

const LARGE: [number, string][] = [[1e12, "T"], [1e9, "G"], [1e6, "M"]];

/** Whether values of a unit are fractions, written in per cent; what they are a fraction of is the rest of the unit. */
export const isFraction = (unit: string): boolean => /^(share|fraction)(?: of .+)?$/.test(unit);
/** A unit as people read it after a number or in the head of a column; nothing for pure numbers and plain fractions. */
export function unitText(unit: string): string {
  if (["", "1", "text", "name", "share", "fraction"].includes(unit) || /^(see|as each) /.test(unit)) return ""; // "see criterion": another column says
  return isFraction(unit) ? unit.replace(/^(share|fraction) /, "") : unit;
}

const plainZero = (text: string): string => (/^-/.test(text) && !/[1-9]/.test(text) ? text.slice(1) : text);

/** `shown` with so many decimals and commas between thousands; exact halves go to the even digit, as in Python. */
function fixed(shown: number, places: number): string {
  let text = shown.toFixed(places);
  if (new RegExp(`^-?\\d+\\.\\d{${places}}50*$`).test(shown.toFixed(60)) && /[13579]$/.test(text)) text = text.slice(0, -1) + String(Number(text.slice(-1)) - 1);
  const [whole, part] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
}

function decimals(shown: number, fraction: boolean): number {
  if (fraction) return shown === 0 || shown === 100 ? 0 : shown >= 1 ? 1 : 2;
  if (Number.isInteger(shown)) return 0;
  return shown >= 1e-3 ? Math.max(0, 2 - Math.floor(Math.log10(shown))) : 3;
}

/** A number with three significant digits, `99.2%` for fractions, `25.6 M` for large ones; a dash for a gap. */
export function number(v: unknown, unit = "1"): string {
  if (v === null || v === undefined || v === "") return "–";
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (typeof v === "string") return v;
  const x = Number(v), fraction = isFraction(unit);
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "-∞";
  const [factor, sign] = fraction ? [1, ""] : LARGE.find(([size]) => Math.abs(x) >= size) ?? [1, ""];
  const shown = (x / factor) * (fraction ? 100 : 1);
  if (shown && Math.abs(shown) < 1e-3) return exponent(shown.toExponential(2)) + (fraction ? "%" : "");
  const places = decimals(Math.abs(shown), fraction);
  const digits = plainZero(fixed(shown, places));
  return fraction ? `${digits}%` : sign ? `${digits} ${sign}` : digits;
}

/** An exponent of two digits at least, as Python writes it. */
const exponent = (text: string): string => text.replace(/e([+-])(\d)$/, "e$10$2");

/** A number of a scale: without the decimals that the whole scale does not need. */
export function tick(v: number, unit = "1"): string {
  const text = number(Number(v.toPrecision(6)), unit);
  return text.replace(/(\.\d*?)0+(?=$|%| )/, "$1").replace(/\.(?=$|%| )/, "");
}

/** A number with its unit behind it. */
export const withUnit = (v: unknown, unit: string): string => [number(v, unit), unitText(unit)].filter(Boolean).join(" ");
/** An interval in square brackets after its number, or nothing where none is known. */
export const interval = (low: number | undefined, high: number | undefined, unit: string): string =>
  Number.isFinite(low) && Number.isFinite(high) ? ` [${number(low, unit)}, ${number(high, unit)}]` : "";

/** The number with all its digits, for titles of cells. */
export const exact = (v: unknown): string => (typeof v === "number" && Number.isFinite(v) ? (Number.isInteger(v) ? v.toLocaleString("en-US") : String(Number(v.toPrecision(7)))) : number(v));

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
