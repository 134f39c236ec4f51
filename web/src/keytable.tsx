// Key numbers as a table: a row for each network, a small bar in each cell; on narrow screens a card for each network.

import { useContext, useLayoutEffect, useState } from "preact/hooks";
import type { KeyNumber } from "./data";
import { exact, prose } from "./format";
import { type KeyColumn, type KeyTable, intervalText, keyTable, valueText } from "./keynumbers";
import type { Item } from "./model";
import { Bar, Head, sorted, useSorting } from "./sorting";
import { Printing } from "./charts/lines";
import { useWidth } from "./charts/axes";

interface Props { items: Item[]; label: string; chosen: string | null; choose: ((name: string) => void) | null }

export function KeyNumbers({ items, label, chosen, choose }: Props) {
  const [ref, width] = useWidth(1000);
  const printing = useContext(Printing);
  const [sort, press] = useSorting();
  const table = keyTable(items);
  const { columns, others } = table;
  const extra = others.some((o) => o.length);
  // Where the table is wider than its place, rows become cards; `small` is the widest place that was too narrow.
  const [small, narrow] = useState(0);
  const single = items.length === 1; // one row is read as a line: there is nothing to sort
  const cards = single || (!printing && width <= small);
  useLayoutEffect(() => {
    const place = ref.current, drawn = place?.querySelector("table");
    if (!printing && !cards && place && drawn && drawn.offsetWidth > place.clientWidth) narrow(place.clientWidth);
  });
  const order = sorted(items.map((_, k) => k), sort, (k, c) => (c === 0 ? items[k].label : columns[c - 1].numbers[k]?.value));
  return (
    <div class={single ? "keys cards single" : cards ? "keys cards" : "keys"} ref={ref}>
      <table role="table" aria-label={label}>
        <thead role="rowgroup">
          <tr role="row">
            <Head column={0} sort={sort} press={press} down={false} number={false}>network</Head>
            {columns.map((c, k) => <Head column={k + 1} sort={sort} press={press} down={c.better !== "lower"} number title={c.better ? `${c.better} is better` : undefined} aside={[c.at, c.baseline].filter(Boolean).join(" · ")}>{c.name}</Head>)}
            {extra ? <th scope="col">further</th> : null}
          </tr>
        </thead>
        <tbody role="rowgroup">{order.map((k) => <Row item={items[k]} at={k} table={table} extra={extra} chosen={chosen} choose={choose} />)}</tbody>
      </table>
      <Legend columns={columns} />
    </div>
  );
}

function Row({ item, at, table, extra, chosen, choose }: { item: Item; at: number; table: KeyTable; extra: boolean; chosen: string | null; choose: ((name: string) => void) | null }) {
  const own = chosen === item.name;
  return (
    <tr role="row" class={own && choose ? "chosen" : ""}>
      <th scope="row" role="rowheader">
        {choose ? <button type="button" class="pick" aria-pressed={own} title={`Show the figures of ${item.name}`} onClick={() => choose(item.name)}>{item.label}</button> : <span title={item.name}>{item.label}</span>}
        {item.untrained ? <span class="badge">untrained</span> : null}
      </th>
      {table.columns.map((c) => <Cell column={c} number={c.numbers[at]} />)}
      {extra ? <td role="cell" class="further">{table.others[at].map((k) => <span>{k.name} <b>{prose(k.text)}</b></span>)}</td> : null}
    </tr>
  );
}

function Cell({ column, number: k }: { column: KeyColumn; number: KeyNumber | undefined }) {
  if (!k) return <td role="cell" class="number gap" data-name={column.name}>–</td>;
  const best = column.best !== null && k.value === column.best;
  const aside = [column.at ? "" : k.at, column.baseline || !k.baseline_text ? "" : `${k.baseline_name} ${k.baseline_text}`].filter(Boolean).join(" · ");
  return (
    <td role="cell" class="number" data-name={column.name} title={k.value === null ? undefined : exact(k.value)}>
      <span class={best ? "value best" : "value"}>{prose(valueText(k))}</span>{intervalText(k) ? <span class="interval">{intervalText(k)}</span> : null}
      {column.span && k.value !== null ? <Bar span={column.span} value={k.value} low={k.low} high={k.high} baseline={k.baseline} best={best} /> : null}
      {aside ? <small>{aside}</small> : null}
    </td>
  );
}

function Legend({ columns }: { columns: KeyColumn[] }) {
  const all = columns.flatMap((c) => c.numbers).filter((k): k is KeyNumber => Boolean(k));
  const against = [...new Set(all.filter((k) => k.baseline_text).map((k) => k.baseline_name))];
  return (
    <p class="reading">
      {columns.some((c) => c.best !== null) ? <span><b class="best">bold</b> best</span> : null}
      {all.some((k) => k.low !== null && k.high !== null) ? <span><i class="bar"><i class="reach" style={{ left: "10%", width: "80%" }} /></i> 95% interval</span> : null}
      {against.length ? <span><i class="bar"><i class="mark" style={{ left: "50%" }} /></i> {against.join(", ")}</span> : null}
    </p>
  );
}
