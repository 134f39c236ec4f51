// What is missing from the page, and why.

import type { Bundle, Reason } from "./data";
import { number, plural, prose } from "./format";
import { displayName } from "./networks";

/** Each reason of an analysis once, with the networks it holds for; in the order of the analyses. */
function grouped(list: Reason[]): { analysis: string; reason: string; who: string[] }[] {
  const rows = new Map<string, { analysis: string; reason: string; who: string[] }>();
  for (const { specimen, analysis, reason } of list) {
    const key = `${analysis ?? ""}\n${reason}`, row = rows.get(key) ?? { analysis: analysis ?? "", reason, who: [] };
    row.who.push(specimen ? displayName(specimen) : "all");
    rows.set(key, row);
  }
  return [...rows.values()].sort((a, b) => a.analysis.localeCompare(b.analysis));
}

function Reasons({ title, list }: { title: string; list: Reason[] | undefined }) {
  if (!list?.length) return null;
  return (
    <>
      <h3>{title}</h3>
      <div class="table" tabIndex={0} role="region" aria-label={title}>
        <table><thead><tr><th scope="col">Analysis</th><th scope="col">Networks</th><th scope="col">Reason</th></tr></thead>
          <tbody>{grouped(list).map((r) => <tr><th scope="row">{r.analysis}</th><td class="names">{r.who.map((name) => <span>{name}</span>)}</td><td class="prose">{prose(r.reason)}</td></tr>)}</tbody></table>
      </div>
    </>
  );
}

export function LeftOut({ bundle }: { bundle: Bundle }) {
  const { skipped, failed, images } = bundle.run;
  const unread = images?.skipped ?? [];
  const damaged = bundle.damaged.map((d) => ({ specimen: d.folder, analysis: d.analysis, reason: d.reason }));
  const nothing = !skipped?.length && !failed?.length && !unread.length && !damaged.length;
  return (
    <section class="group" id="left-out" aria-labelledby="left-out-title">
      <div class="group-head"><h2 id="left-out-title">Skipped and failed</h2><p>What is missing from this page, and why.</p></div>
      {nothing ? <p class="none">{bundle.run.started || bundle.run.command ? "Nothing was skipped and nothing failed." : "The folder has no run.json, so what was skipped is not known."}</p> : null}
      <Reasons title="Failed" list={failed} />
      <Reasons title="Damaged on disk" list={damaged} />
      <Reasons title="Skipped" list={skipped} />
      {unread.length ? <><h3>{plural(images?.skipped_count ?? unread.length, "image")} skipped</h3><ul class="plain">{unread.map((p) => <li><span class="mono">{p.path}</span> {p.reason}</li>)}{(images?.skipped_count ?? 0) > unread.length ? <li class="soft">… and {number((images?.skipped_count ?? 0) - unread.length)} more.</li> : null}</ul></> : null}
    </section>
  );
}

