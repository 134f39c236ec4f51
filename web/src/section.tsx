// One analysis: what it tells, a sentence for each specimen, its panels with a tab for each specimen, its sources.

import type { ComponentChildren } from "preact";
import { useContext, useRef, useState } from "preact/hooks";
import { keep, kept } from "./keep";
import type { Item, Part } from "./model";
import { PanelFigure, type Shown, TALLEST } from "./panel";
import { Provenance } from "./provenance";
import { Printing } from "./charts/lines";
import { prose, shorten } from "./format";

const ALL = "all specimens";
/** Panels that a section shows at once; the rest waits behind one line, so that the page stays a page. */
const FIRST = 2;

/** Tabs with arrow keys, Home and End, as the ARIA practices describe them. */
function Tabs({ id, label, tabs, chosen, choose }: { id: string; label: string; tabs: { name: string; untrained: boolean }[]; chosen: string; choose: (name: string) => void }) {
  const list = useRef<HTMLDivElement>(null);
  const key = (event: KeyboardEvent) => {
    const at = tabs.findIndex((t) => t.name === chosen);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    choose(tabs[next].name);
    list.current?.querySelectorAll<HTMLButtonElement>("[role=tab]")[next]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={key}>
      {tabs.map((t, k) => (
        <button type="button" role="tab" id={`${id}-tab-${k}`} aria-selected={t.name === chosen} aria-controls={`${id}-panel`} tabIndex={t.name === chosen ? 0 : -1} onClick={() => choose(t.name)} title={t.name}>
          {shorten(t.name, 34)}{t.untrained ? <span class="badge">untrained</span> : null}
        </button>
      ))}
    </div>
  );
}

/** What is drawn only when somebody asks for it, or prints; what was opened once stays open in this browser. */
function More({ id, said, children }: { id: string; said: string; children: () => ComponentChildren }) {
  const printing = useContext(Printing);
  const [open, show] = useState(kept(id) === "open");
  if (printing) return <>{children()}</>;
  return (
    <details class="more" open={open} onToggle={(e) => { const now = e.currentTarget.open; show(now); keep(id, now ? "open" : "shut"); }}>
      <summary>{said}</summary>
      {open ? children() : null}
    </details>
  );
}

/** Panels of several specimens, those of the same place and kind together; null when specimens have different panels. */
function together(items: Item[]): Shown[][] | null {
  const first = items[0].panels;
  const alike = items.every((i) => i.panels.length === first.length && i.panels.every((p, k) => p.kind === first[k].kind));
  return alike ? first.map((_, k) => items.map((i) => ({ ...i, panel: i.panels[k] }))) : null;
}

/** Each caveat once: first those of all specimens, then the others with the names of those they are about. */
function caveatsOf(items: Item[]): { caveat: string; who: string[] }[] {
  const about = new Map<string, string[]>();
  for (const { finding, name } of items) for (const caveat of new Set(finding.caveats)) about.set(caveat, [...(about.get(caveat) ?? []), name]);
  const told = [...about].map(([caveat, who]) => ({ caveat, who: who.length === items.length ? [] : who }));
  return told.sort((a, b) => Number(a.who.length > 0) - Number(b.who.length > 0));
}

/** The first panels, and the others behind one line that names them; one alone is not worth hiding. */
function Figures({ id, panels, bare }: { id: string; panels: Shown[][]; bare: string }) {
  const figures = (some: Shown[][], from: number) => some.map((row, k) => <PanelFigure key={row[0].finding.id + (from + k)} shown={row} bare={row[0].panel.title === bare} />);
  const at = panels.length > FIRST + 1 ? FIRST : panels.length;
  const rest = panels.slice(at);
  const titles = rest.map((row) => row[0].panel.title);
  const said = `${rest.length} more: ${titles.slice(0, 4).join(" · ")}${titles.length > 4 ? " · …" : ""}`;
  return <>{figures(panels.slice(0, at), 0)}{rest.length ? <More id={`more:${id}`} said={said}>{() => figures(rest, at)}</More> : null}</>;
}

export function Section({ part, live }: { part: Part; live: boolean }) {
  const printing = useContext(Printing);
  const { items } = part;
  const several = items.length > 1;
  // Tall kinds side by side make a page of a hundred screens, so those begin with one specimen.
  const small = innerWidth >= 640 && items.every((i) => i.panels.every((p) => !TALLEST.has(p.kind)));
  const remembered = kept(`tab:${part.id}`);
  const names = items.map((i) => i.name);
  const [choice, choose] = useState(remembered ?? (small ? ALL : names[0]));
  const chosen = several && (choice === ALL || names.includes(choice)) ? choice : several && small ? ALL : names[0];
  const shown = printing || chosen === ALL ? items : items.filter((i) => i.name === chosen);
  const rows = shown.length > 1 ? together(shown) : null;
  const caveats = caveatsOf(items);
  const sources = [...new Set(items.map((i) => i.finding.source).filter(Boolean))];
  const at = chosen === ALL ? 0 : names.indexOf(chosen) + 1;
  return (
    <section class="part" id={part.id} aria-labelledby={`${part.id}-title`}>
      <h3 id={`${part.id}-title`}>{part.title}</h3>
      {part.summary ? <p class="summary">{prose(part.summary)}{part.main ? null : <> Measured by <a href={part.analysis === "compare" ? "#answer" : `#${part.analysis}`}>{items[0].finding.title}</a>.</>}</p> : null}
      {part.main ? (
        <ul class="lines-said">{items.map((i) => (
          <li>{several || i.finding.origin.specimen?.name ? <span class="who"><span>{i.name}</span>{i.untrained ? <span class="badge">untrained</span> : null}</span> : null}<span class="said">{prose(i.finding.line) || "This analysis wrote no sentence."}</span></li>
        ))}</ul>
      ) : null}
      {several && !printing ? <Tabs id={part.id} label={`Specimens of ${part.title}`} tabs={[{ name: ALL, untrained: false }, ...items]} chosen={chosen} choose={(name) => { choose(name); keep(`tab:${part.id}`, name); }} /> : null}
      <div id={`${part.id}-panel`} {...(several && !printing ? { role: "tabpanel", "aria-labelledby": `${part.id}-tab-${at}` } : {})} class="panels">
        {rows ? <Figures id={part.id} panels={rows} bare={part.title} /> : shown.map((item) => (
          <>
            {shown.length > 1 ? <p class="who big"><span>{item.name}</span>{item.untrained ? <span class="badge">untrained</span> : null}</p> : null}
            <Figures id={`${part.id}:${item.name}`} panels={item.panels.map((panel) => [{ ...item, panel }])} bare={part.title} />
          </>
        ))}
      </div>
      {part.main ? (
        <footer>
          {caveats.length ? <ul class="caveats" aria-label="Caveats">{caveats.map((c) => <li>{c.who.length ? <span class="mono">{c.who.join(", ")}: </span> : null}{prose(c.caveat)}</li>)}</ul> : null}
          {sources.map((s) => <p class="source"><span>Source</span> {s}</p>)}
          {shown.length > 2
            ? <More id={`origins:${part.id}`} said={`Provenance and arrays of ${shown.length} findings`}>{() => shown.map((i) => <Provenance key={i.finding.id} finding={i.finding} name={i.name} live={live} />)}</More>
            : shown.map((i) => <Provenance key={i.finding.id} finding={i.finding} name={i.name} live={live} />)}
        </footer>
      ) : null}
    </section>
  );
}
