// The page: header, answer, four questions, what was left out; beside it the way around.

import { render } from "preact";
import "./style.css";
import { Answer } from "./answer";
import type { Bundle } from "./data";
import { Header } from "./header";
import { LeftOut } from "./leftout";
import { model } from "./model";
import { Nav } from "./nav";
import { Section } from "./section";
import { follow, load } from "./source";
import { applyTheme } from "./theme";
import { Tip } from "./tip";
import { Printing } from "./charts/lines";

function Page({ bundle, printing, lost }: { bundle: Bundle; printing: boolean; lost: boolean }) {
  const m = model(bundle), live = Boolean(bundle.live);
  return (
    <Printing.Provider value={printing}>
      <a class="skip" href="#main">Skip to the answer</a>
      <Nav m={m} />
      <div class="sheet">
        {lost ? <p class="lost" role="status">The server does not answer: this is what it last sent.</p> : null}
        <Header m={m} />
        <main id="main" tabIndex={-1}>
          <Answer model={m} />
          {m.questions.map((q) => {
            const parts = m.parts.filter((p) => p.question === q.id);
            return (
              <section class="group" id={q.id} aria-labelledby={`${q.id}-title`} key={q.id}>
                <div class="group-head"><h2 id={`${q.id}-title`}>{q.title}</h2><p>{q.asks}</p></div>
                {parts.length ? parts.map((p) => <Section key={p.id} part={p} live={live} preferred={m.recommended} />) : <p class="none">{q.none}</p>}
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
  const print = (on: boolean) => { if (on === state.printing) return; state.printing = on; applyTheme(on); draw(state); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  matchMedia("print").addEventListener("change", (event) => print(event.matches));
}

void start();
