// The name of a method with the verdict on its faithfulness; a click opens a line about it.

import { type Finding, type Panel, arr, cell, labels, length, names } from "../data";
import { tip } from "../tip";

export interface Method { name: string; about: string; standing: number; verdict: Verdict }
interface Verdict { words: string; mark: string; tone: "good" | "bad" | "open" }

/** What stands beside the name, by the number in the finding; not a number: not measured. */
const verdictOf = (standing: number): Verdict =>
  standing > 0 ? { words: "beats its baselines", mark: "✓", tone: "good" }
    : standing < 0 ? { words: "no better than its baselines", mark: "!", tone: "bad" }
      : standing === 0 ? { words: "undecided against its baselines", mark: "~", tone: "open" }
        : { words: "faithfulness not measured", mark: "?", tone: "open" };

/** The methods that a panel names, in their order; none where it names none. */
export function methodsOf(panel: Panel, finding: Finding): Method[] {
  if (!names(panel.standing).length) return [];
  const standing = arr(finding, panel.standing), about = names(panel.about).length ? arr(finding, panel.about) : undefined;
  if (standing.omitted) return [];
  const titles = labels(standing, "method");
  return Array.from({ length: length(standing, "method") }, (_, k) => {
    const value = cell(standing, k);
    const number = value === null ? NaN : Number(value);
    return { name: titles[k], about: String(about?.text?.[k] ?? ""), standing: number, verdict: verdictOf(number) };
  });
}

interface NameProps { method: Method; width?: number; open: boolean; toggle: () => void }

/** A button with the name, its verdict below it (behind it where there is no width). */
export function MethodName({ method, width, open, toggle }: NameProps) {
  const { name, about, verdict } = method;
  const show = (event: MouseEvent) => tip(event, <div class="about"><b>{name}</b><p>{about}</p></div>);
  return (
    <div class={width ? "method" : "method lone"} style={width ? { width: `${width}px` } : undefined}>
      <button type="button" class="name" aria-expanded={open} onClick={() => { tip(null); toggle(); }} onPointerMove={(e) => { if (e.pointerType === "mouse" && !open) show(e); }} onPointerLeave={() => tip(null)}>{name}</button>
      <span class={`verdict ${verdict.tone}`}><i aria-hidden="true">{verdict.mark}</i>{verdict.words}</span>
    </div>
  );
}

/** The line about a method. */
export function MethodLine({ method }: { method: Method }) {
  return <p class="note aboutline" role="status"><b>{method.name}</b> {method.about}</p>;
}
