// The key numbers of one analysis over its networks: columns of a table, and the headline over all of them.

import type { KeyNumber } from "./data";
import { isFraction } from "./format";
import type { Item } from "./model";
import { barSpan } from "./sorting";

/** One column: the key number of that name of each item, what holds for the whole column, and the scale of its bars. */
export interface KeyColumn { name: string; numbers: (KeyNumber | undefined)[]; baseline: string; at: string; better: KeyNumber["better"]; best: number | null; span: [number, number] | null }
export interface KeyTable { columns: KeyColumn[]; others: KeyNumber[][] }

const known = (k: KeyNumber | undefined): k is KeyNumber & { value: number } => typeof k?.value === "number" && Number.isFinite(k.value);
/** The one text that all share, or "". */
const common = (texts: string[]): string => (texts.length && texts.every((t) => t === texts[0]) ? texts[0] : "");

function keyColumn(items: Item[], name: string): KeyColumn {
  const numbers = items.map((i) => i.finding.key_numbers.find((k) => k.name === name));
  const there = numbers.filter((k): k is KeyNumber => Boolean(k));
  const values = numbers.filter(known).map((k) => k.value);
  const better = there[0]?.better ?? "";
  const all = there.flatMap((k) => [k.value, k.low, k.high, k.baseline]);
  const single = values.length < 2 && there.every((k) => k.baseline === null && k.low === null) && !isFraction(there[0]?.unit ?? "");
  return {
    name, numbers, better,
    baseline: common(there.map((k) => (k.baseline_text ? `${k.baseline_name} ${k.baseline_text}` : ""))),
    at: common(there.map((k) => k.at)),
    best: better && values.length > 1 && new Set(values).size > 1 ? (better === "higher" ? Math.max(...values) : Math.min(...values)) : null,
    span: single || (values.length > 1 && new Set(all).size === 2 && values.every((v) => v === values[0])) ? null : barSpan(all, isFraction(there[0]?.unit ?? "")),
  };
}

/** Names that at least half of the networks have become columns, in the order of their first appearance; the rest is kept per row. */
export function keyTable(items: Item[]): KeyTable {
  const names = [...new Set(items.flatMap((i) => i.finding.key_numbers.map((k) => k.name)))];
  const holders = (name: string) => items.filter((i) => i.finding.key_numbers.some((k) => k.name === name)).length;
  const written = items.filter((i) => i.finding.key_numbers.length).length;
  const wide = names.filter((name) => holders(name) * 2 >= written);
  return { columns: wide.map((name) => keyColumn(items, name)), others: items.map((i) => i.finding.key_numbers.filter((k) => !wide.includes(k.name))) };
}

/** A value without its interval. */
export const valueText = (k: KeyNumber): string => k.text.replace(/ \[.*\]$/, "");
export const intervalText = (k: KeyNumber): string => k.text.slice(valueText(k).length).trim();

/** Networks that share a value, as a short text. */
function holders(items: Item[], numbers: (KeyNumber | undefined)[], value: number): string {
  const who = items.filter((_, k) => numbers[k]?.value === value).map((i) => i.label);
  return who.length > 2 ? `${who[0]} and ${who.length - 1} more` : who.join(" and ");
}

/** One headline over several networks: best and worst by the leading key number; empty where fewer than two have it. */
export function overallHeadline(items: Item[]): string {
  const lead = items.find((i) => i.finding.key_numbers.length)?.finding.key_numbers[0];
  if (!lead || items.length < 2) return "";
  const { numbers, better, baseline } = keyColumn(items, lead.name);
  const there = numbers.filter(known);
  if (there.length < 2) return "";
  const order = [...there].sort((a, b) => (better === "lower" ? a.value - b.value : b.value - a.value));
  const [best, worst] = [order[0], order[order.length - 1]];
  const name = lead.name.charAt(0).toUpperCase() + lead.name.slice(1);
  const against = baseline ? `; ${baseline}` : "";
  if (best.value === worst.value) return `${name}: ${valueText(best)} for ${there.length === items.length ? "all" : ""} ${there.length} networks${against}.`.replace("  ", " ");
  return `${name}: ${valueText(best)} (${holders(items, numbers, best.value)}) to ${valueText(worst)} (${holders(items, numbers, worst.value)})${against}.`;
}
