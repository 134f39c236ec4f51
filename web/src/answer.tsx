// The answer: what the comparison recommends in at most three sentences, and the table it rests on.

import type { Finding } from "./data";
import { prose } from "./format";
import { overallHeadline } from "./keynumbers";
import type { Model, Part } from "./model";
import { displayName } from "./networks";
import { PanelFigure } from "./panel";

/** Sentences that the answer has at most. */
const MOST = 3;

const sentences = (text: string): string[] => text.split(/\n|(?<=[.?!]) (?=[A-Z])/).map((s) => s.trim()).filter(Boolean);
/** The headline of a part: over all its networks, or that of its only one. */
export const headlineOf = (part: Part): string => overallHeadline(part.items) || (part.items.length === 1 ? part.items[0].finding.headline : "");

export function Answer({ model }: { model: Model }) {
  return (
    <section class="answer" id="answer" aria-labelledby="answer-title">
      <h2 id="answer-title">The answer</h2>
      {model.comparison ? <Compared model={model} finding={model.comparison} /> : <Alone model={model} answer={model.parts.find((p) => p.main && p.analysis === model.bundle.run.answer)} />}
    </section>
  );
}

function Compared({ model, finding }: { model: Model; finding: Finding }) {
  const [lead, ...more] = sentences(finding.headline).slice(0, MOST);
  const home = model.parts.find((p) => p.analysis === "compare");
  const untrained = new Set([...model.untrained].map(displayName));
  return (
    <>
      {lead ? <p class="lead">{prose(lead)}</p> : null}
      {more.map((s) => <p class="next">{prose(s)}</p>)}
      {model.table ? <PanelFigure level={3} shown={[{ finding, panel: model.table, name: "comparison", label: "comparison", untrained: false }]} bars marked={model.recommended && displayName(model.recommended)} mark={finding.origin.facts?.settled === false ? "first, not decided" : undefined} badge={(name) => (untrained.has(name) ? "untrained" : "")} /> : null}
      <Evidence model={model} finding={finding} />
      {home ? <p class="source"><a href="#compare">Figures, interpretation and limits of the comparison</a></p> : null}
    </>
  );
}

/** Links to the sections whose numbers the recommendation rests on. */
function Evidence({ model, finding }: { model: Model; finding: Finding }) {
  const named: unknown = finding.origin.facts?.sections;
  const parts = Array.isArray(named) ? model.parts.filter((p) => p.main && named.includes(p.analysis)) : [];
  return parts.length ? <p class="source">Evidence: {parts.map((part, k) => <>{k ? ", " : ""}<a href={`#${part.id}`}>{part.title}</a></>)}</p> : null;
}

/** Without a comparison: the headline that the run names as its answer, else those of what helps to choose. */
function Alone({ model, answer }: { model: Model; answer?: Part }) {
  const line = answer && headlineOf(answer);
  if (answer && line) return <><p class="lead">{prose(line)}</p><p class="source">Evidence: <a href={`#${answer.id}`}>{answer.title}</a></p></>;
  const lines = model.parts.filter((p) => p.main && p.question === "choose").map((part) => ({ part, line: headlineOf(part) })).filter(({ line }) => line).slice(0, MOST);
  return (
    <>
      <p class={lines.length ? "soft" : ""}>No comparison was measured, so nothing is recommended here.{model.specimens.length < 2 ? " Comparing takes two or more networks in one folder: microtome analyze SPECIMEN SPECIMEN IMAGES --out DIR." : ""}</p>
      {lines.length ? <ul class="lines-said">{lines.map(({ part, line }) => <li><a href={`#${part.id}`}>{part.title}</a><span>{prose(line)}</span></li>)}</ul> : null}
    </>
  );
}
