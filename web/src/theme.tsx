// Light or dark: as the system prefers, unless somebody chose here.

import { useState } from "preact/hooks";
import { keep, kept } from "./keep";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = (): string => kept("theme") ?? (dark.matches ? "dark" : "light");

/** Put the page in its colours; paper is always light. */
export const applyTheme = (printing: boolean): void => { root.dataset.theme = printing ? "light" : theme(); };
applyTheme(false);
dark.addEventListener("change", () => applyTheme(false));

export function Theme() {
  const [now, set] = useState(theme());
  const other = now === "dark" ? "light" : "dark";
  return (
    <button type="button" class="theme" aria-label={`Switch to ${other} colours`} onClick={() => { keep("theme", other); root.dataset.theme = other; set(other); }}>
      <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" stroke-width="1.6" /><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" /></svg>
    </button>
  );
}
