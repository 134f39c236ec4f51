// A table whose columns sort when their heading is pressed.

import { useContext, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Coord } from "./data";
import { exact, isFraction, number, plural, unitText } from "./format";
import { Bar, Head, barSpan, sorted, useSorting } from "./sorting";
import type { Tabled } from "./tabled";
import { Printing } from "./charts/lines";

/** How a text may be broken into lines: long ones freely, short ones not into a word a line. */
const breaks = (v: Coord): string => (typeof v !== "string" || !v.includes(" ") ? "" : v.length > 28 ? "prose" : "phrase");

/** How a table fits into the width: first the words of a row move under its name (`foldable` columns), then columns wait for a press.
 *  On paper there are all of them. */
function useFit(count: number, foldable: number, wanted: boolean) {
  const printing = useContext(Printing);
  const ref = useRef<HTMLDivElement>(null);
  const start = { columns: count, folded: false };
  const [fit, take] = useState(start);
  const [all, free] = useState(!wanted);
  useLayoutEffect(() => { take(start); }, [count]);
  useLayoutEffect(() => {
    const place = ref.current;
    if (!place || all || printing || place.scrollWidth <= place.clientWidth + 1) return;
    if (foldable && !fit.folded) take({ columns: count - foldable, folded: true });
    else if (fit.columns > 3) take({ ...fit, columns: fit.columns - 1 });
  });
  useLayoutEffect(() => {
    if (all || !ref.current) return;
    let before = ref.current.clientWidth;
    const watcher = new ResizeObserver(() => { const now = ref.current?.clientWidth ?? before; if (now !== before) { before = now; take(start); } });
    watcher.observe(ref.current);
    return () => watcher.disconnect();
  }, [all, count]);
  return [ref, all || printing ? start : fit, () => free(true)] as const;
}

/** What stands under the name of a row in place of a column of words: the word, or the title where it holds. */
function underName(value: Coord, title: string): string {
  if (value === true || value === "yes") return title.replace(/^on the /, "");
  return value === false || value === "no" || value === null ? "" : String(value);
}

interface Props { data: Tabled; label: string; marked?: string; mark?: string; badge?: (name: string) => string; most?: number; bars?: boolean }

/** `marked` is the name in the first column of a row to recommend, `mark` what its badge says; at most `most` rows show before a button is pressed. */
export function DataTable({ data, label, marked, mark = "recommended", badge, most = 40, bars }: Props) {
  const [sort, press] = useSorting();
  const [whole, open] = useState(false);
  const rows = useMemo(() => sorted(data.rows, sort, (row, column) => row[column]), [data, sort]);
  const spans = useMemo(() => data.columns.map((c, k) => (bars && k && c.number && c.title !== "rank" ? barSpan(data.rows.map((r) => r[k] as number | null), isFraction(c.unit ?? "")) : null)), [data, bars]);
  const words = data.columns.map((_, k) => k).filter((k) => k > 0 && !data.columns[k].number);
  const [ref, fit, all] = useFit(data.columns.length, words.length, bars === true);
  const shown = data.columns.map((_, k) => k).filter((k) => !(fit.folded && words.includes(k))).slice(0, fit.columns);
  const visible = whole || rows.length <= most + 2 ? rows : rows.slice(0, most);
  return (
    <div ref={ref} class={data.columns.length > 8 ? "table dense" : "table"} tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>{shown.map((k) => { const c = data.columns[k]; return (
            <Head column={k} sort={sort} press={press} down={c.number} number={c.number} aside={unitText(c.unit ?? "") === c.title ? "" : unitText(c.unit ?? "")}>{c.title}</Head>
          ); })}</tr>
        </thead>
        <tbody>{visible.map((row) => (
          <tr class={marked !== undefined && row[0] === marked ? "marked" : ""}>{shown.map((k) => {
            const column = data.columns[k], span = spans[k], v = row[k];
            const under = fit.folded && k === 0 ? words.map((w) => underName(row[w], data.columns[w].title)).filter(Boolean) : [];
            if (k === 0) return <th scope="row" class={breaks(v)}>{number(v)}{under.length ? <small>{under.join(" · ")}</small> : null}{marked !== undefined && v === marked ? <span class="badge pick">{mark}</span> : null}{badge?.(String(v)) ? <span class="badge">{badge(String(v))}</span> : null}</th>;
            return <td class={column.number ? "number" : breaks(v)} title={typeof v === "number" ? exact(v) : undefined}>{number(v, column.unit)}{span && typeof v === "number" ? <Bar span={span} value={v} /> : null}</td>;
          })}</tr>
        ))}</tbody>
      </table>
      {fit.columns + (fit.folded ? words.length : 0) < data.columns.length ? <button type="button" class="more" onClick={all}>Show {plural(data.columns.length - fit.columns - (fit.folded ? words.length : 0), "more column")}</button> : null}
      {rows.length > visible.length ? <button type="button" class="more" onClick={() => open(true)}>Show all {plural(rows.length, "row")}</button> : null}
    </div>
  );
}
