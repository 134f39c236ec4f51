// Which network the figures are of: tabs for a few, a list for many or on narrow screens.

import { useRef } from "preact/hooks";

export const ALL = "all networks";
/** More tabs than this are a list. */
const MOST_TABS = 10;

export interface Choice { name: string; label: string; untrained: boolean }
interface Props { id: string; label: string; choices: Choice[]; chosen: string; choose: (name: string) => void }

export const asTabs = (choices: Choice[]): boolean => choices.length <= MOST_TABS && innerWidth >= 640;

export function Chooser(props: Props) {
  const { id, label, choices, chosen, choose } = props;
  if (asTabs(choices)) return <Tabs {...props} />;
  return (
    <label class="knobs chooser" htmlFor={`${id}-choice`}>Figures of <select id={`${id}-choice`} aria-label={label} value={chosen} onChange={(e) => choose(e.currentTarget.value)}>
      {choices.map((c) => <option value={c.name} selected={c.name === chosen}>{c.label}{c.untrained ? " (untrained)" : ""}</option>)}
    </select></label>
  );
}

/** Tabs with arrow keys, Home and End, as the ARIA practices describe them. */
function Tabs({ id, label, choices, chosen, choose }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const key = (event: KeyboardEvent) => {
    const at = choices.findIndex((c) => c.name === chosen);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: choices.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + choices.length) % choices.length;
    choose(choices[next].name);
    list.current?.querySelectorAll<HTMLButtonElement>("[role=tab]")[next]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={key}>
      {choices.map((c, k) => (
        <button type="button" role="tab" id={`${id}-tab-${k}`} aria-selected={c.name === chosen} aria-controls={`${id}-panel`} tabIndex={c.name === chosen ? 0 : -1} onClick={() => choose(c.name)} title={c.name}>
          {c.label}{c.untrained ? <span class="badge">untrained</span> : null}
        </button>
      ))}
    </div>
  );
}
