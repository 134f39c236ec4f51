// A table whose columns sort when their heading is pressed.

import { useMemo, useState } from "preact/hooks";
import type { Coord } from "./data";
import { exact, number, plural } from "./format";
import type { Tabled } from "./tabled";

function compare(a: Coord, b: Coord): number {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

/** How a text may be broken into lines: long ones freely, short ones not into a word a line. */
const wrapped = (v: Coord): string => (typeof v !== "string" || !v.includes(" ") ? "" : v.length > 28 ? "prose" : "phrase");

/** `marked` is the name in the first column of a row to recommend; at most `most` rows show before a button is pressed. */
export function DataTable({ data, label, marked, badge, most = 40 }: { data: Tabled; label: string; marked?: string; badge?: (name: string) => string; most?: number }) {
  const [sort, by] = useState<{ column: number; down: boolean } | null>(null);
  const [whole, open] = useState(false);
  const rows = useMemo(() => {
    if (!sort) return data.rows;
    const sorted = [...data.rows].sort((a, b) => compare(a[sort.column], b[sort.column]));
    if (!sort.down) return sorted;
    const gaps = sorted.filter((r) => r[sort.column] === null);
    return [...sorted.filter((r) => r[sort.column] !== null).reverse(), ...gaps];
  }, [data, sort]);
  const shown = whole || rows.length <= most + 2 ? rows : rows.slice(0, most);
  const press = (column: number) => by(sort?.column === column ? (sort.down === data.columns[column].number ? { column, down: !sort.down } : null) : { column, down: data.columns[column].number });
  return (
    <div class="table" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>{data.columns.map((c, k) => (
            <th scope="col" class={c.number ? "number" : ""} aria-sort={sort?.column === k ? (sort.down ? "descending" : "ascending") : "none"}>
              <button type="button" onClick={() => press(k)}>{c.title}{c.unit ? <small> {c.unit}</small> : null}<span class="arrow" aria-hidden="true">{sort?.column === k ? (sort.down ? "↓" : "↑") : "↕"}</span></button>
            </th>
          ))}</tr>
        </thead>
        <tbody>{shown.map((row) => (
          <tr class={marked !== undefined && row[0] === marked ? "marked" : ""}>{row.map((v, k) => k === 0
            ? <th scope="row" class={wrapped(v)}>{number(v)}{marked !== undefined && v === marked ? <span class="badge pick">recommended</span> : null}{badge && badge(String(v)) ? <span class="badge">{badge(String(v))}</span> : null}</th>
            : <td class={data.columns[k].number ? "number" : wrapped(v)} title={typeof v === "number" ? exact(v) : undefined}>{number(v)}</td>)}</tr>
        ))}</tbody>
      </table>
      {rows.length > shown.length ? <button type="button" class="more" onClick={() => open(true)}>Show all {plural(rows.length, "row")}</button> : null}
    </div>
  );
}
