// How findings are laid out on the page: four questions, a section for each analysis, one tab for each specimen.

import type { Bundle, Finding, Panel } from "./data";

export type Question = "choose" | "understand" | "slim" | "repair";
export const QUESTIONS: { id: Question; title: string; asks: string; none: string }[] = [
  { id: "choose", title: "Choose", asks: "Which backbone suits these images?", none: "Nothing was measured that helps to choose between backbones." },
  { id: "understand", title: "Understand", asks: "What does each layer see, and what does it answer to?", none: "Nothing was measured that explains what the layers see." },
  { id: "slim", title: "Slim", asks: "What could be left out, and what would it cost?", none: "Nothing was measured about what could be left out." },
  { id: "repair", title: "Repair", asks: "What is built or trained wrongly, and what would mend it?", none: "Nothing was measured about faults and their repair." },
];

/** One analysis under one question: the findings of its specimens and, for each, the panels that belong here. */
export interface Part { id: string; question: Question; analysis: string; title: string; summary: string; main: boolean; items: Item[] }
export interface Item { finding: Finding; panels: Panel[]; name: string; untrained: boolean }

const known = (q: string): Question => (QUESTIONS.some((one) => one.id === q) ? (q as Question) : "understand");

/** What the subject of a finding is called on the page. */
const named = ({ origin }: Finding): string => origin.specimen?.name || (origin.specimens?.length ? origin.specimens.join(" · ") : "all specimens");

export interface Model { bundle: Bundle; answer: Finding[]; parts: Part[]; specimens: string[]; untrained: Set<string> }

export function model(bundle: Bundle): Model {
  const answer = bundle.findings.filter((f) => f.analysis === "compare");
  const parts = new Map<string, Part>();
  const place = (f: Finding, question: Question, panels: Panel[]) => {
    const main = question === known(f.question);
    const id = main ? f.analysis : `${f.analysis}-${question}`;
    const part = parts.get(id) ?? { id, question, analysis: f.analysis, title: main || panels.length !== 1 ? f.title : panels[0].title, summary: f.summary, main, items: [] };
    parts.set(id, part);
    part.items.push({ finding: f, panels, name: named(f), untrained: f.origin.specimen?.trained === false });
  };
  for (const f of bundle.findings) {
    const home = known(f.question), comparison = f.analysis === "compare";
    for (const { id } of QUESTIONS) {
      const panels = f.panels.filter((p) => (p.question ? known(p.question) : home) === id);
      if (id === home ? !comparison : panels.length) place(f, id, panels); // a comparison stands in the answer, not in a group
    }
  }
  const sorted = [...parts.values()].sort((a, b) => Number(b.main) - Number(a.main) || a.title.localeCompare(b.title));
  const specimens = [...new Set([...(bundle.run.specimens ?? []), ...bundle.findings.flatMap((f) => f.origin.specimen?.name ? [f.origin.specimen.name] : f.origin.specimens ?? [])])];
  const untrained = new Set(bundle.findings.filter((f) => f.origin.specimen?.trained === false).map((f) => f.origin.specimen?.name ?? ""));
  return { bundle, answer, parts: sorted, specimens, untrained };
}
