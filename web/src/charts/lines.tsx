// A tall stack of lines of tiles of which only the visible ones are in the document; printing shows them all.

import { type ComponentChildren, createContext } from "preact";
import { useContext, useLayoutEffect, useRef, useState } from "preact/hooks";

export const Printing = createContext(false);
/** Width of A4 between its margins, in page pixels. */
export const PAPER = 660;
const TALLEST = 640;

export function Lines({ count, height, label, head, children }: { count: number; height: number; label: string; head?: ComponentChildren; children: (k: number) => ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const printing = useContext(Printing);
  const [top, scrolled] = useState(0);
  const all = printing || count * height <= TALLEST;
  const first = all ? 0 : Math.max(0, Math.floor(top / height) - 2);
  const last = all ? count : Math.min(count, Math.ceil((top + TALLEST) / height) + 2);
  return (
    <div class={all ? "lines" : "lines cut"} ref={box} tabIndex={0} role="region" aria-label={label} style={all ? undefined : { maxHeight: `${TALLEST}px` }}
      onScroll={() => { if (!all && box.current) scrolled(Math.floor(box.current.scrollTop / height) * height); }}>
      {head}
      <div class="stack" style={{ height: `${count * height}px` }}>
        {Array.from({ length: last - first }, (_, k) => (
          <div class="line" key={first + k} style={{ top: `${(first + k) * height}px`, height: `${height}px` }}>{children(first + k)}</div>
        ))}
      </div>
    </div>
  );
}

/** A canvas of `width` by `height` page pixels, drawn at the screen's own resolution whenever `keys` change. */
export function Sheet({ width, height, keys, draw, ...rest }: { width: number; height: number; keys: unknown[]; draw: (pen: CanvasRenderingContext2D) => void; [other: string]: unknown }) {
  const ref = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const pen = ref.current?.getContext("2d");
    if (!ref.current || !pen) return;
    const fine = Math.min(3, Math.max(1, devicePixelRatio || 1));
    ref.current.width = Math.round(width * fine);
    ref.current.height = Math.round(height * fine);
    pen.scale(fine, fine);
    draw(pen);
  }, [width, height, ...keys]);
  return <canvas ref={ref} style={{ width: `${width}px`, height: `${height}px` }} {...rest} />;
}
