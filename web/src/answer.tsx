// The answer: what the comparison recommends, why, and the numbers behind it.

import { type Finding, cell, labels, length } from "./data";
import { prose } from "./format";
import type { Model } from "./model";
import { PanelFigure } from "./panel";
import { Provenance } from "./provenance";

/** The specimen that the comparison ranks first, or undefined when it ranks none. */
function recommended(f: Finding): string | undefined {
  if (f.arrays.choice?.text) return f.arrays.choice.text[0] || undefined;
  const rank = f.arrays.rank;
  if (!rank?.dims.includes("specimen")) return undefined;
  const names = labels(rank, "specimen");
  let best = -1;
  for (let k = 0; k < length(rank, "specimen"); k++) {
    const v = cell(rank, k);
    if (v !== null && (best < 0 || Number(v) < Number(cell(rank, best)))) best = k;
  }
  return best < 0 ? undefined : names[best];
}

export function Answer({ model, live }: { model: Model; live: boolean }) {
  const f = model.answer[0];
  if (!f) {
    const lines = model.parts.filter((p) => p.main && p.question === "choose").flatMap((p) => p.items.map((i) => ({ who: i.name, what: p.title, line: i.finding.line }))).filter((l) => l.line).slice(0, 4);
    return (
      <section class="answer" id="answer" aria-labelledby="answer-title">
        <h2 id="answer-title">The answer</h2>
        <p>No comparison was measured, so nothing is recommended here.{model.specimens.length < 2 ? " Comparing takes two or more specimens in one folder: microtome analyze SPECIMEN SPECIMEN IMAGES --out DIR." : ""}</p>
        {lines.length ? <ul class="lines-said">{lines.map((l) => <li><span class="who"><span>{l.who}</span></span><span class="said">{prose(l.line)}</span></li>)}</ul> : null}
      </section>
    );
  }
  const best = recommended(f);
  const [lead, ...more] = f.line.split(/\n|(?<=[.?!]) (?=[A-Z])/).map((l) => l.trim()).filter(Boolean);
  const own = f.panels.filter((p) => !p.question || p.question === f.question);
  const order = [...own].sort((a, b) => Number(b.kind === "Table") - Number(a.kind === "Table"));
  return (
    <section class="answer" id="answer" aria-labelledby="answer-title">
      <h2 id="answer-title">The answer</h2>
      {lead ? <p class="lead">{prose(lead)}</p> : null}
      {more.length ? <ul class="reasons">{more.map((l) => <li>{prose(l)}</li>)}</ul> : null}
      {f.caveats.length ? <ul class="caveats" aria-label="Caveats">{f.caveats.map((c) => <li>{prose(c)}</li>)}</ul> : null}
      {order.map((panel, k) => <PanelFigure key={k} level={3} shown={[{ finding: f, panel, name: "comparison", untrained: false }]} marked={best} badge={(name) => (model.untrained.has(name) ? "untrained" : "")} />)}
      {f.source ? <p class="source"><span>Source</span> {f.source}</p> : null}
      <Provenance finding={f} name="" live={live} />
    </section>
  );
}

