// Rows in the order of a column whose head was pressed: pressed again the other way round, then as they came.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Coord } from "./data";

export interface Sorting { column: number; down: boolean }

function compare(a: Coord, b: Coord): number {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

/** The rows in the order of `value`; gaps stay last whichever way. */
export function sorted<Row>(rows: Row[], sort: Sorting | null, value: (row: Row, column: number) => Coord | undefined): Row[] {
  if (!sort) return rows;
  const known = rows.filter((r) => value(r, sort.column) !== null && value(r, sort.column) !== undefined);
  const gaps = rows.filter((r) => value(r, sort.column) === null || value(r, sort.column) === undefined);
  known.sort((a, b) => compare(value(a, sort.column) as Coord, value(b, sort.column) as Coord));
  return [...(sort.down ? known.reverse() : known), ...gaps];
}

/** The order that is chosen, and what a press on the head of a column does; `down` says which way a column begins. */
export function useSorting(): [Sorting | null, (column: number, down: boolean) => void] {
  const [sort, by] = useState<Sorting | null>(null);
  const press = (column: number, down: boolean) => by(sort?.column !== column ? { column, down } : sort.down === down ? { column, down: !down } : null);
  return [sort, press];
}

/** The head of a column; `aside` is small print under its name. */
export function Head({ column, sort, press, down, number, title, aside, children }: {
  column: number; sort: Sorting | null; press: (column: number, down: boolean) => void; down: boolean; number: boolean; title?: string; aside?: ComponentChildren; children: ComponentChildren;
}) {
  const own = sort?.column === column;
  return (
    <th scope="col" class={number ? "number" : ""} aria-sort={own ? (sort.down ? "descending" : "ascending") : "none"}>
      <button type="button" onClick={() => press(column, down)} title={title}>{children}<span class="arrow" aria-hidden="true">{own ? (sort.down ? "↓" : "↑") : "↕"}</span></button>{aside ? <small>{aside}</small> : null}
    </th>
  );
}

/** A bar behind or under a number: filled up to it from zero, with its interval and a tick at what it is compared with. */
export function Bar({ span, value, low, high, baseline, best }: { span: [number, number]; value: number; low?: number | null; high?: number | null; baseline?: number | null; best?: boolean }) {
  const at = (v: number) => 100 * Math.min(1, Math.max(0, (v - span[0]) / (span[1] - span[0])));
  const [from, to] = [Math.min(at(0), at(value)), Math.max(at(0), at(value))];
  return (
    <span class={best ? "bar best" : "bar"} aria-hidden="true">
      <i class="fill" style={{ left: `${from}%`, width: `${to - from}%` }} />
      {typeof low === "number" && typeof high === "number" ? <i class="reach" style={{ left: `${at(low)}%`, width: `${at(high) - at(low)}%` }} /> : null}
      {typeof baseline === "number" ? <i class="mark" style={{ left: `${at(baseline)}%` }} /> : null}
    </span>
  );
}

/** The scale of the bars of a column: from zero; fractions to 100% unless all are small. Null where bars would say nothing. */
export function barSpan(values: (number | null | undefined)[], fraction: boolean): [number, number] | null {
  const known = values.filter((v): v is number => typeof v === "number" && Number.isFinite(v));
  const low = Math.min(0, ...known), high = Math.max(0, ...known);
  if (!known.length || low === high) return null;
  return fraction && low === 0 && high > 0.4 && high <= 1 ? [0, 1] : [low, high];
}
