// How findings are laid out on the page: four questions, a section for each analysis, in it one row and one tab for each network.

import { type Bundle, type Finding, type Panel, arr, cell, labels, length } from "./data";
import { displayName, nameNetworks } from "./networks";

export type Question = "choose" | "understand" | "slim" | "repair";
export const QUESTIONS: { id: Question; title: string; asks: string; none: string }[] = [
  { id: "choose", title: "Choose", asks: "Which backbone suits these images?", none: "Nothing was measured that helps to choose between backbones." },
  { id: "understand", title: "Understand", asks: "What does each layer respond to?", none: "Nothing was measured that explains what the layers respond to." },
  { id: "slim", title: "Slim", asks: "What could be removed, and what would it cost?", none: "Nothing was measured about what could be removed." },
  { id: "repair", title: "Repair", asks: "Which parts are badly built or trained, and what repairs them?", none: "Nothing was measured about faults and their repair." },
];

/** One analysis under one question: the findings of its networks and, for each, the panels that belong here. */
export interface Part { id: string; question: Question; analysis: string; title: string; summary: string; main: boolean; items: Item[] }
/** `name` in full, `label` as printed. */
export interface Item { finding: Finding; panels: Panel[]; name: string; label: string; untrained: boolean }

const questionOf = (q: string): Question => (QUESTIONS.some((one) => one.id === q) ? (q as Question) : "understand");

/** What the subject of a finding is called. */
const subject = ({ origin }: Finding): string => origin.specimen?.name || (origin.specimens?.length ? origin.specimens.join(" · ") : "all networks");
const label = (f: Finding): string => (f.origin.specimen?.name ? displayName(f.origin.specimen.name) : (f.origin.specimens ?? []).map(displayName).join(" · ") || "all networks");

export interface Model { bundle: Bundle; comparison?: Finding; table?: Panel; recommended?: string; parts: Part[]; questions: typeof QUESTIONS; specimens: string[]; untrained: Set<string> }

/** The network that the comparison ranks first, or undefined when it ranks none. */
function recommendation(f: Finding): string | undefined {
  if (typeof f.origin.facts?.choice === "string") return f.origin.facts.choice || undefined;
  if (f.arrays.choice?.text) return f.arrays.choice.text[0] || undefined; // findings of format 1
  const rank = arr(f, "rank");
  if (!rank.dims.includes("specimen")) return undefined;
  const names = rank.coords.specimen?.map(String) ?? labels(rank, "specimen");
  let best = -1;
  for (let k = 0; k < length(rank, "specimen"); k++) {
    const v = cell(rank, k);
    if (v !== null && (best < 0 || Number(v) < Number(cell(rank, best)))) best = k;
  }
  return best < 0 ? undefined : names[best];
}

export function model(bundle: Bundle): Model {
  const specimens = [...new Set([...(bundle.run.specimens ?? []), ...bundle.findings.flatMap((f) => (f.origin.specimen?.name ? [f.origin.specimen.name] : f.origin.specimens ?? []))])];
  nameNetworks(specimens);
  const comparison = bundle.findings.find((f) => f.analysis === "compare");
  const table = comparison?.panels.find((p) => p.kind === "Table" && p.rows === "specimen");
  const parts = new Map<string, Part>();
  const place = (f: Finding, question: Question, panels: Panel[]) => {
    const main = question === questionOf(f.question);
    const id = main ? f.analysis : `${f.analysis}-${question}`;
    const part = parts.get(id) ?? { id, question, analysis: f.analysis, title: main || panels.length !== 1 ? f.title : panels[0].title, summary: f.summary, main, items: [] };
    parts.set(id, part);
    part.items.push({ finding: f, panels, name: subject(f), label: label(f), untrained: f.origin.specimen?.trained === false });
  };
  for (const f of bundle.findings) {
    const home = questionOf(f.question);
    for (const { id } of QUESTIONS) {
      const panels = f.panels.filter((p) => p !== table && (p.question ? questionOf(p.question) : home) === id); // the table stands in the answer
      if (id === home || panels.length) place(f, id, panels);
    }
  }
  const rank = (p: Part) => (p.analysis === "compare" ? 0 : p.main ? 1 : 2);
  const sorted = [...parts.values()].sort((a, b) => rank(a) - rank(b) || a.title.localeCompare(b.title));
  const untrained = new Set(bundle.findings.filter((f) => f.origin.specimen?.trained === false).map((f) => f.origin.specimen?.name ?? ""));
  // a run made for one answer (a training, an experiment, a claim) asks no other question
  const questions = bundle.run.answer ? QUESTIONS.filter((q) => sorted.some((p) => p.question === q.id)) : QUESTIONS;
  return { bundle, comparison, table, questions, recommended: comparison && recommendation(comparison), parts: sorted, specimens, untrained };
}
