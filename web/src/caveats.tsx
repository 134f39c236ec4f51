// Interpretation and limits: each caveat is one line that opens, with the networks it holds for.

import { useContext } from "preact/hooks";
import { prose } from "./format";
import type { Item } from "./model";
import { Printing } from "./charts/lines";

interface Caveat { text: string; who: string[] }

/** Each caveat once, in the order of the findings, with the labels of the networks it holds for. */
function collect(items: Item[]): Caveat[] {
  const about = new Map<string, string[]>();
  for (const { finding, label } of items) for (const text of new Set(finding.caveats)) about.set(text, [...(about.get(text) ?? []), label]);
  return [...about].map(([text, who]) => ({ text, who }));
}

function Line({ caveat, all }: { caveat: Caveat; all: number }) {
  const printing = useContext(Printing);
  const holds = all < 2 ? "" : caveat.who.length === all ? `all ${all} networks` : caveat.who.join(", ");
  if (printing) return <li>{prose(caveat.text)}{holds && caveat.who.length < all ? ` (${holds})` : ""}</li>;
  return (
    <li><details class="caveat"><summary>{holds && caveat.who.length < all ? <span class="soft">{caveat.who.length > 1 ? `${caveat.who.length} networks` : holds}: </span> : null}{prose(caveat.text)}</summary>{holds ? <p class="soft">Holds for {holds}.</p> : null}</details></li>
  );
}

/** The caveats of all networks and of the chosen ones; those of others only wait behind one line. */
export function Caveats({ items, shown }: { items: Item[]; shown: Item[] }) {
  const all = collect(items);
  if (!all.length) return null;
  const mine = new Set(shown.flatMap((i) => i.finding.caveats));
  const near = all.filter((c) => mine.has(c.text)).sort((a, b) => b.who.length - a.who.length);
  const far = all.filter((c) => !mine.has(c.text));
  const list = (some: Caveat[], label: string) => <ul class="caveats" aria-label={label}>{some.map((c) => <Line key={c.text} caveat={c} all={items.length} />)}</ul>;
  return (
    <div class="limits">
      <h4>Interpretation and limits</h4>
      {list(near, "Interpretation and limits")}
      {far.length ? <details><summary>{far.length} more for other networks</summary>{list(far, "For other networks")}</details> : null}
    </div>
  );
}
