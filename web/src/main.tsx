// The page: header, answer, four questions, what was left out; beside it the way around.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "./style.css";
import { Answer } from "./answer";
import type { Bundle, Reason } from "./data";
import { moment, number, plural, prose, seconds } from "./format";
import { keep, kept } from "./keep";
import { type Model, QUESTIONS, model } from "./model";
import { Section } from "./section";
import { follow, load } from "./source";
import { Tip } from "./tip";
import { Printing } from "./charts/lines";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => kept("theme") ?? (dark.matches ? "dark" : "light");
root.dataset.theme = theme();
dark.addEventListener("change", () => { root.dataset.theme = theme(); });

function Theme() {
  const [now, set] = useState(theme());
  const other = now === "dark" ? "light" : "dark";
  return (
    <button type="button" class="theme" aria-label={`Switch to ${other} colours`} onClick={() => { keep("theme", other); root.dataset.theme = other; set(other); }}>
      <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" stroke-width="1.6" /><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" /></svg>
    </button>
  );
}

/** Three slices coming off a block. */
const Mark = () => (
  <svg viewBox="0 0 34 28" width="34" height="28" aria-hidden="true" class="mark">
    <path d="M2 8l12-6 12 6-12 6z" fill="var(--c0)" /><path d="M5 14l12-6 12 6-12 6z" fill="var(--accent)" opacity=".82" /><path d="M8 20l12-6 12 6-12 6z" fill="var(--eosin)" opacity=".78" />
  </svg>
);

function Header({ m }: { m: Model }) {
  const { run, findings, title } = m.bundle;
  const images = run.images?.name ? run.images : findings.find((f) => f.origin.images?.name)?.origin.images;
  const notes = [...(run.notes ?? []), ...(run.images?.notes ?? [])];
  const devices = [...new Set(findings.map((f) => f.origin.device).filter(Boolean))];
  const when = run.started ?? findings.map((f) => f.origin.started).filter(Boolean).sort().pop();
  const versions = Object.entries(run.versions ?? {}).map(([k, v]) => `${k} ${v}`).join(", ") || [...new Set(findings.map((f) => f.origin.microtome).filter(Boolean))].map((v) => `microtome ${v}`).join(", ");
  const facts: [string, string][] = [
    ["Specimens", plural(m.specimens.length, "network")],
    ["Images", images ? `${images.count !== undefined ? `${number(images.count)} · ` : ""}${images.name ?? ""}` : "none: only weights were read"],
    ["Findings", `${findings.length}`],
    ["Measured", [moment(when), seconds(run.seconds) && `in ${seconds(run.seconds)}`].filter(Boolean).join(" ")],
    ["Device", devices.join(", ")], ["Versions", versions],
  ];
  return (
    <header class="top">
      <div class="brand"><Mark /><span>microtome</span></div>
      <h1>{title}</h1>
      <ul class="specimens" aria-label="Specimens">{m.specimens.map((name) => <li><span>{name}</span>{m.untrained.has(name) ? <span class="badge">untrained</span> : null}</li>)}</ul>
      <dl class="facts strip">{facts.filter(([, v]) => v).map(([k, v]) => <div><dt>{k}</dt><dd>{prose(v)}</dd></div>)}</dl>
      {run.command ? <p class="command"><code>{run.command}</code></p> : null}
      {notes.length ? <ul class="caveats" aria-label="Notes">{notes.map((n) => <li>{prose(n)}</li>)}</ul> : null}
    </header>
  );
}

function Nav({ m, left }: { m: Model; left: boolean }) {
  const [here, go] = useState("answer");
  const [open, show] = useState(false);
  useEffect(() => {
    const seen = () => {
      const passed = [...document.querySelectorAll<HTMLElement>("main section[id]")].filter((s) => s.getBoundingClientRect().top < 140);
      go(passed.length ? passed[passed.length - 1].id : "answer");
    };
    addEventListener("scroll", seen, { passive: true });
    seen();
    return () => removeEventListener("scroll", seen);
  }, [m]);
  const link = (id: string, text: string, minor = false) => <a href={`#${id}`} class={minor ? "minor" : ""} aria-current={here === id ? "true" : undefined} onClick={() => show(false)}>{text}</a>;
  return (
    <nav aria-label="Contents" class={open ? "open" : ""}>
      <div class="bar"><a class="home" href="#page"><Mark /><span>microtome</span></a><button type="button" class="menu" aria-expanded={open} onClick={() => show(!open)}>Contents</button><Theme /></div>
      <ul>
        <li>{link("answer", "The answer")}</li>
        {QUESTIONS.map((q) => (
          <li>{link(q.id, q.title)}<ul>{m.parts.filter((p) => p.question === q.id).map((p) => <li>{link(p.id, p.title, true)}</li>)}</ul></li>
        ))}
        {left ? <li>{link("left-out", "Skipped and failed")}</li> : null}
      </ul>
    </nav>
  );
}

/** Each reason of an analysis once, with the specimens it holds for; in the order of the analyses. */
function grouped(list: Reason[]): { analysis: string; reason: string; who: string[] }[] {
  const rows = new Map<string, { analysis: string; reason: string; who: string[] }>();
  for (const { specimen, analysis, reason } of list) {
    const key = `${analysis ?? ""}\n${reason}`, row = rows.get(key) ?? { analysis: analysis ?? "", reason, who: [] };
    row.who.push(specimen || "all");
    rows.set(key, row);
  }
  return [...rows.values()].sort((a, b) => a.analysis.localeCompare(b.analysis));
}

function Reasons({ title, list }: { title: string; list: Reason[] | undefined }) {
  if (!list?.length) return null;
  return (
    <>
      <h3>{title}</h3>
      <div class="table" tabIndex={0} role="region" aria-label={title}>
        <table><thead><tr><th scope="col">Analysis</th><th scope="col">Specimens</th><th scope="col">Reason</th></tr></thead>
          <tbody>{grouped(list).map((r) => <tr><th scope="row">{r.analysis}</th><td class="names">{r.who.map((name) => <span>{name}</span>)}</td><td class="prose">{prose(r.reason)}</td></tr>)}</tbody></table>
      </div>
    </>
  );
}

function LeftOut({ bundle }: { bundle: Bundle }) {
  const { skipped, failed, images } = bundle.run;
  const pictures = images?.skipped ?? [];
  const damaged = bundle.damaged.map((d) => ({ specimen: d.folder, analysis: d.analysis, reason: d.reason }));
  const nothing = !skipped?.length && !failed?.length && !pictures.length && !damaged.length;
  return (
    <section class="group" id="left-out" aria-labelledby="left-out-title">
      <div class="group-head"><h2 id="left-out-title">Skipped and failed</h2><p>What is missing from this page, and why.</p></div>
      {nothing ? <p class="none">{bundle.run.started || bundle.run.command ? "Nothing was skipped and nothing failed." : "The folder has no run.json, so what was skipped is not known."}</p> : null}
      <Reasons title="Failed" list={failed} />
      <Reasons title="Damaged on disk" list={damaged} />
      <Reasons title="Skipped" list={skipped} />
      {pictures.length ? <><h3>{plural(images?.skipped_count ?? pictures.length, "image")} skipped</h3><ul class="plain">{pictures.map((p) => <li><span class="mono">{p.path}</span> {p.reason}</li>)}{(images?.skipped_count ?? 0) > pictures.length ? <li class="soft">… and {number((images?.skipped_count ?? 0) - pictures.length)} more.</li> : null}</ul></> : null}
    </section>
  );
}

function Page({ bundle, printing, lost }: { bundle: Bundle; printing: boolean; lost: boolean }) {
  const m = model(bundle), live = Boolean(bundle.live);
  return (
    <Printing.Provider value={printing}>
      <a class="skip" href="#main">Skip to the answer</a>
      <Nav m={m} left />
      <div class="sheet">
        {lost ? <p class="lost" role="status">The server does not answer: this is what it last sent.</p> : null}
        <Header m={m} />
        <main id="main" tabIndex={-1}>
          <Answer model={m} live={live} />
          {QUESTIONS.map((q) => {
            const parts = m.parts.filter((p) => p.question === q.id);
            return (
              <section class="group" id={q.id} aria-labelledby={`${q.id}-title`} key={q.id}>
                <div class="group-head"><h2 id={`${q.id}-title`}>{q.title}</h2><p>{q.asks}</p></div>
                {parts.length ? parts.map((p) => <Section key={p.id} part={p} live={live} />) : <p class="none">{q.none}</p>}
              </section>
            );
          })}
          <LeftOut bundle={bundle} />
        </main>
        <footer class="colophon">microtome {bundle.run.versions?.microtome ?? ""} · {live ? "read live from a folder of findings" : "one file, no network: all numbers on this page are inside it"}</footer>
      </div>
      <Tip />
    </Printing.Provider>
  );
}

function draw(state: { bundle?: Bundle; error?: string; printing: boolean; lost: boolean }): void {
  const place = document.getElementById("page") as HTMLElement;
  if (state.bundle) { document.title = state.bundle.title; render(<Page bundle={state.bundle} printing={state.printing} lost={state.lost} />, place); }
  else render(<div class="sheet"><main><h1>{state.error ? "Nothing to show" : "Reading findings…"}</h1>{state.error ? <p role="alert">{state.error}</p> : null}</main></div>, place);
}

async function start(): Promise<void> {
  const state: { bundle?: Bundle; error?: string; printing: boolean; lost: boolean } = { printing: false, lost: false };
  draw(state);
  const read = async () => {
    try { state.bundle = await load(); state.error = undefined; } catch (error) { state.error = error instanceof Error ? error.message : String(error); state.bundle = undefined; }
    draw(state);
  };
  await read();
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  if (!document.getElementById("bundle")) follow(state.bundle?.state, () => void read(), (gone) => { if (gone !== state.lost) { state.lost = gone; draw(state); } });
  // Rendering from the root is synchronous, so the whole page is drawn before the printer looks at it.
  const print = (on: boolean) => { if (on === state.printing) return; state.printing = on; root.dataset.theme = on ? "light" : theme(); draw(state); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
}

void start();
