// The way around: the answer, the four questions with their sections, what was left out.

import { useEffect, useState } from "preact/hooks";
import { Mark } from "./mark";
import { type Model, QUESTIONS } from "./model";
import { Theme } from "./theme";

/** With more sections than this, only the question that is being read is unfolded. */
const LONG = 14;

export function Nav({ m }: { m: Model }) {
  const [here, go] = useState("answer");
  const [open, show] = useState(false);
  const [unfolded, unfold] = useState<Record<string, boolean>>({});
  useEffect(() => {
    const passed = () => {
      const above = [...document.querySelectorAll<HTMLElement>("main section[id]")].filter((s) => s.getBoundingClientRect().top < 140);
      go(above.length ? above[above.length - 1].id : "answer");
    };
    addEventListener("scroll", passed, { passive: true });
    passed();
    return () => removeEventListener("scroll", passed);
  }, [m]);
  const link = (id: string, text: string, minor = false) => <a href={`#${id}`} class={minor ? "minor" : ""} aria-current={here === id ? "true" : undefined} onClick={() => show(false)}>{text}</a>;
  const current = QUESTIONS.find((q) => q.id === here || m.parts.some((p) => p.id === here && p.question === q.id))?.id ?? "choose";
  return (
    <nav aria-label="Contents" class={open ? "open" : ""}>
      <div class="strip"><a class="home" href="#page"><Mark /><span>microtome</span></a><button type="button" class="menu" aria-expanded={open} onClick={() => show(!open)}>Contents</button><Theme /></div>
      <ul>
        <li>{link("answer", "The answer")}</li>
        {m.questions.map((q) => {
          const parts = m.parts.filter((p) => p.question === q.id);
          const shown = unfolded[q.id] ?? (m.parts.length <= LONG || q.id === current);
          return (
            <li>
              <div class="question">{link(q.id, q.title)}{parts.length ? <button type="button" aria-expanded={shown} aria-label={`${q.title}: ${parts.length} sections`} onClick={() => unfold({ ...unfolded, [q.id]: !shown })}>{parts.length}<span aria-hidden="true">{shown ? "▾" : "▸"}</span></button> : null}</div>
              {shown ? <ul>{parts.map((p) => <li>{link(p.id, p.title, true)}</li>)}</ul> : null}
            </li>
          );
        })}
        <li>{link("left-out", "Skipped and failed")}</li>
      </ul>
    </nav>
  );
}
