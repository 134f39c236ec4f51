// One analysis: one headline, one table of key numbers, the figures of the chosen network, then limits and sources.

import type { ComponentChildren } from "preact";
import { useContext, useState } from "preact/hooks";
import { headlineOf } from "./answer";
import { Caveats } from "./caveats";
import { ALL, Chooser, asTabs } from "./chooser";
import { keep, kept } from "./keep";
import { KeyNumbers } from "./keytable";
import type { Item, Part } from "./model";
import { PanelFigure, type Shown, isWide } from "./panel";
import { Provenance } from "./provenance";
import { Printing } from "./charts/lines";
import { plural, prose } from "./format";

/** Figures that a section shows at once: one row of them; the rest waits behind one line, so that the page stays a page. */
const atOnce = (): number => (innerWidth >= 2200 ? 4 : innerWidth >= 1500 ? 3 : 2);

/** What is drawn only when somebody asks for it; what was opened once stays open in this browser. */
function More({ id, label, children }: { id: string; label: string; children: () => ComponentChildren }) {
  const [open, show] = useState(kept(id) === "open");
  return (
    <details class="more" open={open} onToggle={(e) => { const now = e.currentTarget.open; show(now); keep(id, now ? "open" : "shut"); }}>
      <summary>{label}</summary>
      {open ? children() : null}
    </details>
  );
}

/** Panels of several networks, those of the same place and kind together; null when networks have different panels. */
function together(items: Item[]): Shown[][] | null {
  const first = items[0].panels;
  const alike = items.every((i) => i.panels.length === first.length && i.panels.every((p, k) => p.kind === first[k].kind));
  return alike ? first.map((_, k) => items.map((i) => ({ ...i, panel: i.panels[k] }))) : null;
}

/** The first figures, and the others behind one line that names them; one alone is not worth hiding. */
function Figures({ id, panels, bare }: { id: string; panels: Shown[][]; bare: string }) {
  const figures = (some: Shown[][], from: number) => {
    const lone = some.filter((row) => row.length === 1 && !isWide(row[0])).length === 1;
    return <div class="columns">{some.map((row, k) => <PanelFigure key={row[0].finding.id + (from + k)} shown={row} bare={row[0].panel.title === bare} lone={lone} />)}</div>;
  };
  const most = panels.findIndex((_, k) => panels.slice(0, k + 1).reduce((n, [one]) => n + (isWide(one) ? atOnce() / 2 : 1), 0) >= atOnce()) + 1 || panels.length;
  const at = panels.length > most + 1 ? most : panels.length;
  const rest = panels.slice(at);
  const titles = rest.map((row) => row[0].panel.title);
  const label = `${plural(rest.length, "more figure")}: ${titles.slice(0, 4).join(" · ")}${titles.length > 4 ? " · …" : ""}`;
  return <>{figures(panels.slice(0, at), 0)}{rest.length ? <More id={`more:${id}`} label={label}>{() => figures(rest, at)}</More> : null}</>;
}

/** The network whose figures a section shows, kept in this browser; at first the recommended one. */
function useChoice(part: Part, preferred: string | undefined): [string, (name: string) => void] {
  const names = part.items.map((i) => i.name);
  const valid = (name: string | null | undefined): name is string => Boolean(name) && (name === ALL || names.includes(name as string));
  const stored = kept(`network:${part.id}`);
  const [choice, set] = useState(stored);
  const chosen = names.length > 1 && valid(choice) ? choice : valid(preferred) ? preferred : names[0];
  return [chosen, (name) => { set(name); keep(`network:${part.id}`, name); }];
}

/** Over all networks where there are key numbers to compare, else that of the chosen one. */
function Headlines({ part, shown }: { part: Part; shown: Item[] }) {
  const overall = headlineOf(part);
  const one = shown.length === 1 ? shown[0] : part.items[0];
  const text = overall || one.finding.headline;
  const whose = !overall && part.items.length > 1;
  return (
    <>
      <p class="headline">{whose ? <span class="soft">{one.label}: </span> : null}{text ? prose(text) : <span class="soft">This analysis wrote no headline.</span>}</p>
      {part.summary ? <p class="summary">{prose(part.summary)}</p> : null}
    </>
  );
}

export function Section({ part, live, preferred }: { part: Part; live: boolean; preferred?: string }) {
  const { items } = part;
  const [chosen, choose] = useChoice(part, preferred);
  const several = items.length > 1;
  const shown = several && chosen === ALL ? items : items.filter((i) => i.name === chosen).slice(0, 1);
  const keyed = items.some((i) => i.finding.key_numbers.length);
  return (
    <section class="part" id={part.id} aria-labelledby={`${part.id}-title`}>
      <h3 id={`${part.id}-title`}>{part.title}</h3>
      {part.main
        ? part.analysis === "compare" ? <p class="summary">{prose(part.summary)}</p> : <Headlines part={part} shown={shown} />
        : <p class="summary">{prose(part.summary)} Measured by <a href={part.analysis === "compare" ? "#answer" : `#${part.analysis}`}>{items[0].finding.title}</a>.</p>}
      <div class={part.main && keyed ? "body keyed" : "body"}>
        {part.main && keyed ? <KeyNumbers items={items} label={`Key numbers of ${part.title}`} chosen={chosen} choose={several ? choose : null} /> : null}
        {items.some((i) => i.panels.length) ? <Panels part={part} shown={shown} chosen={chosen} choose={choose} keyed={keyed} /> : null}
        {part.main ? <Footer part={part} shown={shown} live={live} /> : null}
      </div>
    </section>
  );
}

function Panels({ part, shown, chosen, choose, keyed }: { part: Part; shown: Item[]; chosen: string; choose: (name: string) => void; keyed: boolean }) {
  const printing = useContext(Printing);
  const { items } = part;
  const several = items.length > 1;
  const choices = [...items, { name: ALL, label: ALL, untrained: false }];
  const tabbed = several && !printing && asTabs(choices);
  const rows = together(shown);
  const own = several && keyed && shown.length === 1 && part.main ? shown[0].finding.headline : "";
  return (
    <div class="figures">
      {several && !printing ? <Chooser id={part.id} label={`Figures of ${part.title}, by network`} choices={choices} chosen={chosen} choose={choose} /> : null}
      {several && printing ? <p class="who big">Figures of {shown.map((i) => i.label).join(", ")}</p> : null}
      <div id={`${part.id}-panel`} class="panels" {...(tabbed ? { role: "tabpanel", "aria-labelledby": `${part.id}-tab-${choices.findIndex((c) => c.name === chosen)}` } : {})}>
        {own ? <p class="own">{prose(own)}</p> : null}
        {rows ? <Figures id={part.id} panels={rows} bare={part.title} /> : shown.map((item) => (
          <>
            <p class="who big"><span>{item.label}</span>{item.untrained ? <span class="badge">untrained</span> : null}</p>
            <Figures id={`${part.id}:${item.name}`} panels={item.panels.map((panel) => [{ ...item, panel }])} bare={part.title} />
          </>
        ))}
      </div>
    </div>
  );
}

function Footer({ part, shown, live }: { part: Part; shown: Item[]; live: boolean }) {
  const { items } = part;
  const sources = [...new Set(items.map((i) => i.finding.source).filter(Boolean))];
  return (
    <footer>
      <Caveats items={items} shown={shown} />
      {sources.map((s) => <p class="source"><span>Source</span> {s}</p>)}
      {shown.length > 2
        ? <More id={`origins:${part.id}`} label={`Provenance and arrays of ${shown.length} findings`}>{() => shown.map((i) => <Provenance key={i.finding.id} finding={i.finding} name={i.name} live={live} />)}</More>
        : shown.map((i) => <Provenance key={i.finding.id} finding={i.finding} name={items.length > 1 ? i.name : ""} live={live} />)}
    </footer>
  );
}
