// Loads shell.js without a browser and prints what it makes of addresses, as JSON.
import fs from "node:fs";

const [source] = process.argv.slice(2);
const said = { replaced: null, shown: [], fetched: [], gone: [] };
globalThis.localStorage = { getItem: () => null };
globalThis.document = { documentElement: { hasAttribute: () => false } };
const heard = {};
globalThis.addEventListener = (name, act) => (heard[name] = act);
globalThis.removeEventListener = (name, act) => act === heard[name] && delete heard[name];
globalThis.location = {
  href: "https://airflow.example/capillary/customer#1000042",
  origin: "https://airflow.example",
  replace: (url) => (said.login = url),
  assign: (url) => said.gone.push(["loads", url]),
};
globalThis.history = {
  state: { key: "k" },
  replaceState: (state, _title, url) => {
    said.replaced = [state, url];
    globalThis.history.state = state;
    globalThis.location.href = url;
  },
};
globalThis.fetch = async (url, options) => {
  said.fetched.push([String(url), options.headers["X-Badge-Place"] ?? null]);
  return { status: 401, headers: { get: () => null }, text: async () => "" };
};
const text = fs
  .readFileSync(source, "utf8")
  .replaceAll("import.meta.url", '"https://airflow.example/capillary/static/shell.js"');
const exposed = "\nglobalThis.shell = { View, withinAirflow, placeOfTheBar, whenNarrow };";
await import(`data:text/javascript,${encodeURIComponent(text + exposed)}`);
const { View, withinAirflow, placeOfTheBar, whenNarrow } = globalThis.shell;

const links = JSON.parse(process.argv[3]).map((href) => ({
  href,
  removeAttribute() {
    this.href = null;
  },
}));
const root = { addEventListener() {}, querySelector: () => null, querySelectorAll: (what) => (what === "a[href]" ? links : []) };
const navigated = [];
const view = new View(root, { scrolls: {}, navigate: (path) => navigated.push(path) });
clearInterval(view.clock);
view.wire();
said.wired = links.map((link) => link.href);
// What a person clicks is the address that the link has by now.
for (const href of said.wired) {
  if (href === null) {
    said.shown.push([true, null]); // a link without an address is none, and nothing follows it
    continue;
  }
  let prevented = false;
  const before = navigated.length;
  view.follow({ target: { closest: () => ({ href, hasAttribute: () => false }) }, button: 0, preventDefault: () => (prevented = true) });
  said.shown.push([prevented, navigated.length > before ? navigated.at(-1) : null]);
}
said.place = placeOfTheBar();
said.again = placeOfTheBar();
globalThis.location.href = "https://airflow.example/plugin/badges/customer#1000042";
await view.show("https://airflow.example/capillary/customer#1000042");
said.renewed = [[0, false], [1_000, true], [59_000, true], [61_000, true]].map(([late, aimed]) => {
  const list = { querySelector: (what) => (aimed && what === "[data-steady]:hover" ? {} : null), querySelectorAll: () => [] };
  let shown = false;
  const of = { root: { ...root, ...list }, renewAt: Date.now() - late, address: "x", show: () => (shown = true) };
  View.prototype.tick.call(Object.setPrototypeOf(of, View.prototype));
  return shown;
});
// Where an order leads, inside Airflow's UI and on a plain page: one that has made a run, and one that has not.
const then = "/capillary/runs/gold_tier/{run}";
for (const navigate of [(path) => said.gone.push(["navigates", path]), null]) {
  for (const answer of [{ dag_run_id: "manual__2026-11-27T06:49:00+00:00" }, { task_instances: [] }]) {
    globalThis.fetch = async () => ({ ok: true, json: async () => answer });
    const button = { disabled: false };
    const form = {
      method: "post",
      dataset: { post: "/api/v2/x", body: "{}", then: answer.dag_run_id ? then : then.replace("{run}", "r1") },
      hasAttribute: () => false,
      querySelector: (what) => (what.startsWith("button") ? button : what === "[role=alert]" ? {} : null),
      querySelectorAll: () => [],
    };
    const sender = new View({ ...root, querySelectorAll: () => [] }, { scrolls: {}, navigate });
    clearInterval(sender.clock);
    await sender.send({ target: form, preventDefault() {} });
  }
}
const kept = new View({ ...root, querySelectorAll: () => [], removeEventListener() {} }, { scrolls: {}, navigate() {} });
kept.address = "x";
kept.show = (address) => (said.back = [...(said.back ?? []), address]);
heard.pageshow({ persisted: false });
heard.pageshow({ persisted: true });
kept.close();
said.back.push(heard.pageshow === undefined);
const media = { matches: false, addEventListener: (_, act) => (media.act = act), removeEventListener: (_, act) => act === media.act && (media.act = null) };
globalThis.matchMedia = () => media;
let left = 0;
const end = whenNarrow(() => (left += 1));
const widths = [true, false, true].map((matches) => {
  media.matches = matches;
  media.act();
  return left;
});
end();
said.narrow = [widths, media.act];
console.log(JSON.stringify(said));
process.exit(0);
