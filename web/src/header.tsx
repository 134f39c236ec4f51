// What was measured: the title, the networks, the images, when and on what.

import { moment, number, plural, prose, seconds } from "./format";
import { Mark } from "./mark";
import type { Model } from "./model";
import { byPrefix, displayName } from "./networks";

export function Header({ m }: { m: Model }) {
  const { run, findings, title } = m.bundle;
  const images = run.images?.name ? run.images : findings.find((f) => f.origin.images?.name)?.origin.images;
  const notes = [...(run.notes ?? []), ...(run.images?.notes ?? [])];
  const devices = [...new Set(findings.map((f) => f.origin.device).filter(Boolean))];
  const when = run.started ?? findings.map((f) => f.origin.started).filter(Boolean).sort().pop();
  const versions = Object.entries(run.versions ?? {}).map(([k, v]) => `${k} ${v}`).join(", ") || [...new Set(findings.map((f) => f.origin.microtome).filter(Boolean))].map((v) => `microtome ${v}`).join(", ");
  const facts: [string, string][] = [
    ["Specimens", plural(m.specimens.length, "network")],
    ["Images", images ? `${images.count !== undefined ? `${number(images.count)} · ` : ""}${images.name ?? ""}` : "none: only weights were read"],
    ["Findings", `${findings.length}`],
    ["Measured", [moment(when), seconds(run.seconds) && `in ${seconds(run.seconds)}`].filter(Boolean).join(" ")],
    ["Device", devices.join(", ")], ["Versions", versions],
  ];
  return (
    <header class="top">
      <div class="brand"><Mark /><span>microtome</span></div>
      <h1>{title}</h1>
      <div class="specimens" role="group" aria-label="Networks">{byPrefix(m.specimens).map(([prefix, names]) => (
        <ul aria-label={prefix ? `Networks of ${prefix}` : "Networks"}>
          {prefix ? <li class="prefix">{prefix}</li> : null}
          {names.map((name) => <li class="chip" title={name}><span>{displayName(name)}</span>{m.untrained.has(name) ? <span class="badge">untrained</span> : null}</li>)}
        </ul>
      ))}</div>
      <dl class="facts line-up">{facts.filter(([, v]) => v).map(([k, v]) => <div><dt>{k}</dt><dd>{prose(v)}</dd></div>)}</dl>
      {run.command ? <p class="command"><code>{run.command}</code></p> : null}
      {notes.length ? <ul class="notes" aria-label="Notes">{notes.map((n) => <li>{prose(n)}</li>)}</ul> : null}
    </header>
  );
}
