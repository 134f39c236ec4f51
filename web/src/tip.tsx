// One tooltip for the whole page.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Shown { x: number; y: number; content: ComponentChildren }
let show: (what: Shown | null) => void = () => undefined;

/** Show `content` beside the pointer; null hides it. */
export const tip = (event: { clientX: number; clientY: number } | null, content?: ComponentChildren): void =>
  show(event && content !== undefined && content !== null ? { x: event.clientX, y: event.clientY, content } : null);

export function Tip() {
  const [shown, set] = useState<Shown | null>(null);
  const box = useRef<HTMLDivElement>(null);
  show = set;
  useLayoutEffect(() => {
    const hide = () => set(null);
    addEventListener("scroll", hide, { passive: true, capture: true });
    const key = (event: KeyboardEvent) => { if (event.key === "Escape") hide(); };
    addEventListener("keydown", key);
    return () => { removeEventListener("scroll", hide, { capture: true }); removeEventListener("keydown", key); };
  }, []);
  useLayoutEffect(() => {
    if (!shown || !box.current) return;
    const { width, height } = box.current.getBoundingClientRect();
    const left = shown.x + 14 + width > innerWidth - 8 ? shown.x - width - 14 : shown.x + 14;
    const top = Math.min(shown.y + 14, innerHeight - height - 8);
    box.current.style.transform = `translate(${Math.max(8, Math.round(left))}px,${Math.max(8, Math.round(top))}px)`;
  });
  return shown ? <div class="tip" ref={box} aria-hidden="true">{shown.content}</div> : null;
}

/** Lines of a tooltip: a heading and pairs of name and value, each with its colour where it has one. */
export function Facts({ head, rows }: { head: string; rows: [string, string, string?][] }) {
  return (
    <>
      <b>{head}</b>
      <table>
        <tbody>{rows.map(([name, value, colour]) => (
          <tr><td>{colour ? <i style={{ background: colour }} /> : null}{name}</td><td>{value}</td></tr>
        ))}</tbody>
      </table>
    </>
  );
}
