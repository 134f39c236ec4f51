// Where a finding comes from, and its arrays to take away.

import { useContext } from "preact/hooks";
import { type Arr, type Finding, spoken, unit } from "./data";
import { moment, number, seconds, slug } from "./format";
import { Printing } from "./charts/lines";
import { csvOfArray, npy, save } from "./save";

const brief = (digest: string | undefined): string => (digest ? digest.slice(0, 12) : "");

function facts(f: Finding): [string, string][] {
  const { specimen = {}, specimens, images = {}, options = {}, ...o } = f.origin;
  const said = Object.entries(options).map(([k, v]) => `${k} = ${typeof v === "object" ? JSON.stringify(v) : String(v)}`).join(", ");
  const rows: [string, string | undefined][] = [
    ["specimen", specimen.name ?? specimens?.join(", ")],
    ["weights", specimen.weights], ["weights digest", brief(specimen.digest)],
    ["parameters", specimen.parameters ? number(specimen.parameters) : ""],
    ["family", specimen.family ? `${specimen.family}${specimen.family_reason ? ` (${specimen.family_reason})` : ""}` : ""],
    ["notes", specimen.notes?.join(" ")],
    ["images", images.name ? `${images.name}${images.count !== undefined ? ` (${images.count})` : ""}` : ""], ["images digest", brief(images.digest)],
    ["options", said || "all defaults"], ["seed", o.seed === undefined || o.seed === null ? "" : String(o.seed)],
    ["device", [o.device, o.dtype].filter(Boolean).join(", ")],
    ["versions", [o.microtome && `microtome ${o.microtome}`, o.torch && `torch ${o.torch}`].filter(Boolean).join(", ")],
    ["started", moment(o.started)], ["took", seconds(o.seconds)], ["folder", f.folder],
  ];
  return rows.filter((r): r is [string, string] => Boolean(r[1]));
}

const shape = (a: Arr): string => a.dims.map((d, k) => `${spoken(d)} ${a.shape[k]}`).join(" × ") || "one number";

export function Provenance({ finding, name, live }: { finding: Finding; name: string; live: boolean }) {
  const printing = useContext(Printing);
  const stem = `${slug(name)}_${finding.analysis}`;
  if (printing) return <p class="source"><span>Finding</span> <span class="mono">{finding.folder}</span></p>;
  return (
    <details>
      <summary>Provenance and arrays{name ? <>: <span class="mono">{name}</span></> : null}</summary>
      <dl class="facts">{facts(finding).map(([k, v]) => <div><dt>{k}</dt><dd class={k.includes("digest") || k === "folder" ? "mono" : ""}>{v}</dd></div>)}</dl>
      <div class="table" tabIndex={0} role="region" aria-label={`Arrays of ${finding.title}, ${name}`}>
        <table class="arrays">
          <thead><tr><th scope="col">Array</th><th scope="col">Shape</th><th scope="col">Unit</th><th scope="col">Download</th></tr></thead>
          <tbody>{Object.values(finding.arrays).map((a) => (
            <tr>
              <th scope="row" class="mono">{a.name}</th><td>{shape(a)}</td><td>{unit(a) || "–"}</td>
              <td>{a.omitted ? <span class="soft">{a.omitted}</span> : (
                <>
                  {a.text ? null : <button type="button" class="link" aria-label={`Download ${a.name} as npy`} onClick={() => save(`${stem}_${slug(a.name)}.npy`, npy(a), "application/octet-stream")}>.npy</button>}
                  <button type="button" class="link" aria-label={`Download ${a.name} as csv`} onClick={() => save(`${stem}_${slug(a.name)}.csv`, csvOfArray(a), "text/csv")}>.csv</button>
                  {a.rounded ? <span class="soft"> {a.rounded}</span> : null}
                </>
              )}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      {live ? <p><a href={`api/finding/${finding.id}/arrays.safetensors`} download>All arrays as safetensors</a></p> : null}
    </details>
  );
}
